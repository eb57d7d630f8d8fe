"""How often OANDA may be asked: the limits of its development guide, held on our side of the wire.

They count per address, so all processes of this machine share one count, in a small file that is locked while it is
looked at. A token is taken before the thing that it stands for is done.
"""

import fcntl
import os
import random
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SourceError

REQUESTS_PER_SECOND = 120
CONNECTIONS_PER_SECOND = 2

_SECOND = 1.1
"""What we call a second: what leaves us evenly may bunch on its way."""

_BUSY = 0.001
"""Seconds until a file that somebody else holds is looked at again."""

_ENTRY = struct.Struct("=d")


class RateLimit:
    """At most `most` times in any second, over all threads and processes that name the same file."""

    def __init__(self, file: Path, most: int, what: str = "requests") -> None:
        self.file = file
        self.most = most
        self.what = what

    @classmethod
    def shared(cls, what: str, most: int) -> "RateLimit":
        """Give the limit that everybody on this machine shares who runs as this user."""
        return cls(
            Path(tempfile.gettempdir()) / f"spike-{os.getuid()}-oanda-{what.replace(' ', '-')}.limit", most, what
        )

    def take(self, deadline: Deadline) -> None:
        """Wait for a turn; `DeadlineError` where there is none in time."""
        while (wait := self._turn()) > 0:
            if wait > deadline.remaining():
                raise DeadlineError(
                    f"OANDA allows {self.most} {self.what} a second; there is no time left to wait for a turn"
                )
            time.sleep(wait * random.uniform(1.0, 1.1))  # noqa: S311 - jitter, not a secret

    def _turn(self) -> float:
        """Take a turn and give 0, or give how long to wait before trying again."""
        with self._locked() as handle:
            if handle is None:
                return _BUSY
            now = time.monotonic()
            # What lies ahead of now was written before the machine started anew.
            recent = [at for at in _read(handle) if now - _SECOND < at <= now]
            if len(recent) >= self.most:
                return recent[-self.most] + _SECOND - now
            _write(handle, [*recent, now])
            return 0.0

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the file; None while somebody else does, which is for microseconds unless that one was stopped."""
        try:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SourceError(f"cannot open {self.file}: {error.strerror}; set TMPDIR to a folder of yours") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield handle
        finally:
            os.close(handle)


def _read(handle: int) -> list[float]:
    text = os.pread(handle, 64 * 1024, 0)
    whole = len(text) - len(text) % _ENTRY.size
    return [at for (at,) in _ENTRY.iter_unpack(text[:whole])]


def _write(handle: int, times: list[float]) -> None:
    try:
        os.pwrite(handle, b"".join(_ENTRY.pack(at) for at in times), 0)
        os.ftruncate(handle, len(times) * _ENTRY.size)
    except OSError as error:
        raise SourceError(f"cannot write to {tempfile.gettempdir()}: {error.strerror}; free some space") from error
