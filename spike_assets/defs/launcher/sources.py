"""The files that a process was loaded from, as they were: a run is never started from code or settings of yesterday."""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_Mark = tuple[int, int, int] | None
"""A file's time of change, size and number; None where there is none."""

_TICK = 10_000_000
"""The kernel's slowest clock, nanoseconds."""


@dataclass(frozen=True)
class Sources:
    """What was loaded since `began` (nanoseconds of the wall clock): each file with its mark."""

    began: int
    marks: Mapping[str, _Mark]

    @classmethod
    def loaded(cls, began: int, besides: Iterable[str]) -> "Sources":
        """Look at the files of all modules that are imported, and at others, which need not be there."""
        files = {file for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
        return cls(began, {os.path.abspath(file): _mark(file) for file in {*files, *besides}})  # noqa: PTH100

    def changed(self) -> str | None:
        """Give a file that is not what was loaded, or that was written while it was; None while all are the same.

        The time of change counts, not that of modification: no tool sets it back.
        """
        for file, mark in self.marks.items():
            if _mark(file) != mark or (mark is not None and mark[0] >= self.began):
                return file
        return None


def now() -> int:
    """Give a time, nanoseconds, that no file is stamped before which is written from now on: stamps lag by a tick."""
    return time.time_ns() - _TICK


def _mark(file: str) -> _Mark:
    try:
        found = os.stat(file)  # noqa: PTH116 - thousands of them before every run
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ctime_ns, found.st_size, found.st_ino
