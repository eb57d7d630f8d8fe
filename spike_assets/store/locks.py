"""Lock files: who may open the database, and who may change a granularity.

The kernel releases a lock when its process dies, however it dies. The file's text names the holder, for
the error message of whoever waited in vain; it is never read to decide anything.
"""

import fcntl
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError, StoreLockedError

_POLL_SECONDS = (0.001, 0.008)


class LockFile:
    """A lock that processes and threads share to read and hold alone to write.

    Waiting is fair: whoever waits holds the *queue* file meanwhile, so a holder that comes back at once (a backfill,
    between two chunks) lines up behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self, deadline: Deadline, purpose: str, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock inside the block; `StoreLockedError` when the deadline comes first."""
        with ExitStack() as stack:
            with ExitStack() as queue:
                self._take(queue, self.path.with_name(self.path.name + ".queue"), deadline, shared=False)
                handle = self._take(stack, self.path, deadline, shared=shared)
            _sign(handle, purpose)
            yield

    def _take(self, stack: ExitStack, path: Path, deadline: Deadline, *, shared: bool) -> int:
        handle = _open(path)
        stack.callback(os.close, handle)
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError:
                left = deadline.remaining()
                if left <= 0:
                    raise StoreLockedError(self._held_by()) from None
                time.sleep(min(left, random.uniform(*_POLL_SECONDS)))  # noqa: S311 - jitter, not a secret
            else:
                return handle

    def _held_by(self) -> str:
        holder = self.path.read_text(encoding="utf-8").strip() or "another process"
        return f"{self.path.with_suffix('').name} is in use by {holder}; it was not released in time, try again later"


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"cannot create {path}: {error.strerror}; set SPIKE_DATABASE to a folder that can be written"
        ) from error


def _sign(handle: int, purpose: str) -> None:
    since = datetime.now(UTC).strftime("%H:%M:%S UTC")
    text = f"{purpose} (process {os.getpid()} on {socket.gethostname()}, since {since})".encode()
    # The name is for an error message only; on a full disk the lock holds without it.
    with suppress(OSError):
        os.pwrite(handle, text.ljust(160) + b"\n", 0)
