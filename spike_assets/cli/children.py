"""Processes that the command line starts and always takes down again: each in a group of its own, no orphans."""

import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Self

from spike_assets.errors import PermanentError

HOST = "127.0.0.1"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 15
"""How long a child may take to end before it is killed."""
_LAST_SECONDS = 3
"""How long those that it started may take, once it has ended."""


class Child:
    """A Python module that runs in a process group of its own, its output in a log file."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def require_alive(self) -> None:
        """Raise when it has ended: it was not meant to."""
        code = self.process.poll()
        if code is not None:
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            raise PermanentError(f"{self.name} ended ({how}): {self.last_words()}; its output is in {self.log}")

    def last_words(self) -> str:
        """Give the last line that it printed."""
        return last_line(self.log)

    def ask_to_stop(self) -> None:
        """Ask it to end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end, wait, and kill whatever is left of its group."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE_SECONDS)
        if self._signal_group(signal.SIGTERM):
            self._wait_for_group(time.monotonic() + _LAST_SECONDS)
            self._signal_group(signal.SIGKILL)
            self._wait_for_group(time.monotonic() + _LAST_SECONDS)
        self.process.wait()

    def _wait_for_group(self, until: float) -> None:
        while self._signal_group(0) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS / 4)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True


def run_to_end(name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run a Python module to its end and give what it prints, line by line, as it comes; stderr goes to the log.

    Raises
    ------
    PermanentError
        It ended with another exit code than 0.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # either signal ends it and us
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout, "it was asked for"  # noqa: S101
            yield from (line.rstrip("\n") for line in process.stdout)
            process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            _interrupt(process)
    if process.returncode:
        raise PermanentError(f"{name} failed: {last_line(log).removeprefix('error: ')} (its output is in {log})")


def _interrupt(process: "subprocess.Popen[str]") -> None:
    """End a process that is still at work: it may say so in its books first."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def last_line(log: Path) -> str:
    """Give the last line of a log file, without colours."""
    lines = _COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace")).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class Children:
    """Those that run together: when one ends, that is an error, and behind the block all are stopped."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self._environment = environment
        self._logs = logs
        self._running: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._running:
            child.ask_to_stop()
        for child in self._running:
            child.stop()

    def start(self, name: str, log: str, *arguments: str) -> None:
        """Start a Python module, by a name for people and one for its log file."""
        self._running.append(Child(name, arguments, self._environment, self._logs / log))

    def wait_for(self, path: str, port: int, requested: threading.Event, host: str = HOST) -> bool:
        """Wait until a page answers; False when a stop was requested first."""
        while not requested.wait(_POLL_SECONDS):
            self._require_alive()
            if _answers(path, host, port):
                return True
        return False

    def watch(self, requested: threading.Event) -> None:
        """Wait until a stop is requested."""
        self.pause(requested, math.inf)

    def pause(self, requested: threading.Event, seconds: float) -> bool:
        """Wait for so long, or until a stop is requested; tell whether it is."""
        until = time.monotonic() + seconds
        while not requested.wait(min(_POLL_SECONDS, max(0.0, until - time.monotonic()))):
            self._require_alive()
            if time.monotonic() >= until:
                return False
        return True

    def _require_alive(self) -> None:
        for child in self._running:
            child.require_alive()


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set while the block runs."""
    requested = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        requested.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(path: str, host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def require_free(port: int, host: str = HOST, otherwise: str = "choose another with --port") -> None:
    """Raise when somebody listens on the port already; the error ends in what to do."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PermanentError(f"port {port} of {host} cannot be had ({error.strerror}); {otherwise}") from error
