"""Running `spike`: in this process, or as the real thing."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner, Result

from spike_assets.cli import spike
from spike_assets_tests.support import tidied

PATIENCE = 300
"""Seconds after which a process that should have ended is a failure; nothing waits for it to pass."""

HISTORY = ("--from", "2025-01-01", "--to", "2025-03-01")


def run(*arguments: str, **how: Any) -> Result:
    """Run a command in this process; an exception that is a bug comes through."""
    result = CliRunner().invoke(spike, arguments, prog_name="spike", **how)
    tidied()  # as the end of a process waits for it
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ok(*arguments: str, **how: Any) -> str:
    """Run a command that goes well, and give what it prints to stdout."""
    result = run(*arguments, **how)
    assert result.exit_code == 0, result.output
    return result.stdout


def error(*arguments: str, code: int = 1, **how: Any) -> str:
    """Run a command that fails, and give its one line."""
    result = run(*arguments, **how)
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    if code == 1:
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], result.stderr
    return lines[-1].removeprefix("error: ").removeprefix("Error: ")


_STARTED: list["subprocess.Popen[str]"] = []


def stop_leftovers() -> None:
    """End what a failed test left running; `up` and `demo` take their own children with them."""
    for process in _STARTED:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    _STARTED.clear()


def start(*arguments: str, environment: Mapping[str, str] | None = None, **how: Any) -> "subprocess.Popen[str]":
    """Start the real thing, in a process group of its own."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    code = "from spike_assets.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        **(pipes | how),
    )
    _STARTED.append(process)
    return process


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for the end; give exit code, stdout and stderr."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()  # `with` would wait for it for ever, and it would go on for as long
            raise
    return process.returncode, out, err


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """Read stderr up to a line that holds `text`, and give that line."""
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said, but {''.join(seen)!r}")
