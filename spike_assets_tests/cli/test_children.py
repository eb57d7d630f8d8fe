"""Children: waited for, watched, and always taken down with all that they started."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spike_assets.cli import children as module
from spike_assets.cli.children import Children, require_free, run_to_end, stop_requested
from spike_assets.errors import PermanentError
from spike_assets_tests.cli.running import PATIENCE

STUBBORN = "spike_assets_tests.cli.stubborn"


@pytest.fixture
def port() -> int:
    return free_port()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2])])}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(module, "_LAST_SECONDS", 0.2)


def alive(group: int) -> list[str]:
    """Give the processes of a group that still do something."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def require_gone(group: int) -> None:
    """Wait until nothing of a group is left; a kill takes effect a moment later."""
    end = time.monotonic() + PATIENCE
    while left := alive(group):
        assert time.monotonic() < end, left


def test_a_child_that_will_not_end_is_killed_with_what_it_started(tmp_path: Path, port: int) -> None:
    with Children(environment(), tmp_path) as children:
        children.start("the stubborn one", "x.log", STUBBORN, str(port))
        assert children.wait_for("/ready", port, threading.Event())
        group = children._running[0].process.pid
        assert len(alive(group)) == 2
    require_gone(group)


def test_a_stop_while_waiting_is_no_answer(tmp_path: Path, port: int) -> None:
    requested = threading.Event()
    requested.set()
    with Children(environment(), tmp_path) as children:
        children.start("the stubborn one", "x.log", STUBBORN, str(port))
        assert not children.wait_for("/ready", port, requested)
        children.watch(requested)


@pytest.mark.parametrize("waiting", [True, False])
def test_a_child_that_ends_is_told_with_its_last_words(tmp_path: Path, port: int, waiting: bool) -> None:
    says = r"^the poor one ended \(exit code 1\): the wheels came off; its output is in .*x\.log$"
    with Children(environment(), tmp_path) as children:
        children.start("the poor one", "x.log", STUBBORN, "dies")
        never = threading.Event()
        with pytest.raises(PermanentError, match=says):
            children.wait_for("/ready", port, never) if waiting else children.watch(never)


def test_a_child_that_is_killed_takes_the_others_with_it(tmp_path: Path, port: int) -> None:
    says = r"^the first ended \(killed by signal 9\): it said nothing; its output is in .*a\.log$"
    with Children(environment(), tmp_path) as children:
        children.start("the first", "a.log", STUBBORN, str(port))
        children.start("the second", "b.log", STUBBORN, str(free_port()))
        assert children.wait_for("/ready", port, threading.Event())
        groups = [child.process.pid for child in children._running]
        os.kill(groups[0], signal.SIGKILL)
        with pytest.raises(PermanentError, match=says):
            children.watch(threading.Event())
    for group in groups:
        require_gone(group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_request_a_stop_and_mean_what_they_did_behind_it(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requested() as requested:
        os.kill(os.getpid(), number)
        assert requested.wait(10)
    assert signal.getsignal(number) == before


def test_what_is_run_to_its_end_is_heard_line_by_line(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    lines = list(run_to_end("it", [STUBBORN, "prints", ""], environment(), tmp_path / "log"))
    assert lines[:2] == ["one", "two"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_fails_on_the_way_says_why(tmp_path: Path) -> None:
    says = r"^it failed: no more ink \(its output is in .*log\)$"
    with pytest.raises(PermanentError, match=says):
        list(run_to_end("it", [STUBBORN, "prints", "error: no more ink"], environment(), tmp_path / "log"))


def test_who_stops_listening_stops_what_runs(tmp_path: Path) -> None:
    heard: Iterator[str] = run_to_end("it", [STUBBORN, "prints", "x"], environment(), tmp_path / "log")
    assert next(heard) == "one"
    group = next(line for line in heard if line.startswith("group ")).split()[1]
    heard.close()  # type: ignore[attr-defined]
    require_gone(int(group))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        says = rf"^port {number} of 127\.0\.0\.1 cannot be had \(Address already in use\); choose another with --port$"
        with pytest.raises(PermanentError, match=says):
            require_free(number)
    require_free(number)
