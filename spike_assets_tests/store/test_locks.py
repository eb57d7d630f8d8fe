"""Lock files between real processes: who holds them, who is next, and that the dead hold nothing."""

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError, StoreLockedError, TransientError
from spike_assets.store.locks import LockFile
from spike_assets_tests.processes import CONTEXT, PATIENCE, die, finished, start
from spike_assets_tests.support import FOREVER

AT_ONCE = Deadline.after(timedelta(0))


def hold(end: Connection, path: Path, purpose: str, shared: bool) -> None:
    """Hold a lock, say so, and keep it until told otherwise."""
    with LockFile(path).held(FOREVER, purpose, shared=shared):
        end.send(os.getpid())
        if end.recv() == "die":
            die()


@contextmanager
def held_elsewhere(
    path: Path, purpose: str = "a backfill", *, shared: bool = False, killed: bool = False
) -> Iterator[int]:
    """Hold a lock in another process; give its id."""
    here, there = CONTEXT.Pipe()
    process = start(hold, there, path, purpose, shared)
    assert here.poll(PATIENCE)
    yield here.recv()
    here.send("die" if killed else "done")
    assert finished(process) == (-9 if killed else 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spike.duckdb.lock"


def can_take(path: Path, *, shared: bool = False) -> bool:
    """Tell whether a lock can be had at once."""
    try:
        with LockFile(path).held(AT_ONCE, "a try", shared=shared):
            return True
    except StoreLockedError:
        return False


@pytest.mark.parametrize(
    ("theirs", "ours", "free"), [(True, True, True), (True, False, False), (False, True, False), (False, False, False)]
)
def test_shared_to_read_alone_to_write(path: Path, theirs: bool, ours: bool, free: bool) -> None:
    with held_elsewhere(path, shared=theirs):
        assert can_take(path, shared=ours) is free
    assert can_take(path, shared=ours)


def test_the_error_names_the_holder(path: Path) -> None:
    with (
        held_elsewhere(path, "a pass over H1") as pid,
        pytest.raises(StoreLockedError) as raised,
        LockFile(path).held(AT_ONCE, "a try"),
    ):
        raise AssertionError
    text = str(raised.value)
    holder = f"spike.duckdb is in use by a pass over H1 (process {pid} on {socket.gethostname()}, since "
    assert text.startswith(holder)
    assert text.endswith(" UTC); it was not released in time, try again later")
    assert "\n" not in text
    assert isinstance(raised.value, TransientError)


def test_a_short_name_leaves_nothing_of_a_long_one(path: Path) -> None:
    with LockFile(path).held(AT_ONCE, "somebody with an uncommonly long purpose to do very much"):
        pass
    with (
        held_elsewhere(path, "x"),
        pytest.raises(StoreLockedError, match=r"in use by x \(process"),
        LockFile(path).held(AT_ONCE, "y"),
    ):
        raise AssertionError
    assert "uncommonly" not in path.read_text()


def test_a_killed_process_holds_nothing(path: Path) -> None:
    with held_elsewhere(path, killed=True):
        assert not can_take(path)
    assert can_take(path)


def test_an_exception_releases(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), LockFile(path).held(AT_ONCE, "a try"):
        _ = 1 / 0
    with held_elsewhere(path):
        pass


def test_threads_exclude_each_other_as_processes_do(path: Path) -> None:
    with LockFile(path).held(AT_ONCE, "one"):
        free: list[bool] = []
        thread = threading.Thread(target=lambda: free.append(can_take(path)))
        thread.start()
        thread.join()
        assert free == [False]


def take_when_free(end: Connection, path: Path) -> None:
    """Wait for the lock and say when it is there."""
    with LockFile(path).held(FOREVER, "the next one"):
        end.send("mine")
        end.recv()


def test_whoever_waits_is_next(path: Path) -> None:
    """A holder that comes back at once lines up behind, so a backfill never starves a pass."""
    here, there = CONTEXT.Pipe()
    with LockFile(path).held(AT_ONCE, "a backfill"):
        process = start(take_when_free, there, path)
        until_somebody_queues(path)
    assert not can_take(path)
    assert here.poll(PATIENCE)
    assert here.recv() == "mine"
    here.send("done")
    assert finished(process) == 0
    assert can_take(path)


def until_somebody_queues(path: Path) -> None:
    """Wait for somebody else to wait for the lock."""
    queue = os.open(path.with_name(path.name + ".queue"), os.O_RDWR | os.O_CREAT)
    give_up = Deadline.after(timedelta(seconds=PATIENCE))
    while _is_free(queue):
        give_up.check("somebody queued")
    os.close(queue)


def _is_free(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(handle, fcntl.LOCK_UN)
    return True


def test_readers_queue_behind_a_writer_that_waits(path: Path) -> None:
    """Else readers, one after the other, would keep writers out for good."""
    here, there = CONTEXT.Pipe()
    with LockFile(path).held(AT_ONCE, "a reader", shared=True):
        process = start(take_when_free, there, path)
        until_somebody_queues(path)
        assert not can_take(path, shared=True)
    assert here.poll(PATIENCE)
    here.send("done")
    assert finished(process) == 0


class Clock:
    """A clock that goes on whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def test_waiting_ends_with_the_deadline(path: Path) -> None:
    clock = Clock()
    deadline = Deadline.after(timedelta(seconds=3), clock)
    with held_elsewhere(path), pytest.raises(StoreLockedError), LockFile(path).held(deadline, "a try"):
        raise AssertionError
    assert 3 <= clock.now < 10


def test_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "data" / "of" / "spike.duckdb.lock"
    assert can_take(path)
    assert path.exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    lock = LockFile(tmp_path / "data" / "spike.duckdb.lock")
    with (
        pytest.raises(StoreError, match=r"^cannot create .*; set SPIKE_DATABASE to a folder that can be written$"),
        lock.held(AT_ONCE, "a try"),
    ):
        raise AssertionError
