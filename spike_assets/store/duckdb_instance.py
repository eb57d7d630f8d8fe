"""A DuckDB instance that stays, and has a file attached only while somebody uses it.

Making an instance takes 15 ms, whatever is in the file; attaching one takes 2.
"""

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

FORMAT = "v1.2.0"
"""What new files are written for: DuckDB 1.2 and newer can read them. Attaching one takes a third of the default's."""

_log = logging.getLogger(__name__)


@dataclass
class _Instance:
    """A DuckDB instance, and how many use the file in it."""

    database: duckdb.DuckDBPyConnection
    users: int = 0


class AttachedFile:
    """A database file; those that read at once share it.

    Whoever writes is alone: that is the caller's business, and its lock file's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._instance: _Instance | None = None
        self._turn = threading.Lock()
        _FILES.add(self)

    @contextmanager
    def used(self, *, write: bool, is_short: Callable[[], bool]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection to the file, and let go of the file behind the block.

        The log is written into the file then, unless it `is_short`. Whatever goes wrong, the next one starts with a new
        instance.
        """
        instance = self._enter(write=write)
        well = False
        try:
            connection = instance.database.cursor()
            try:
                connection.execute("USE file")
                connection.execute("SET TimeZone = 'UTC'")
                yield connection
            finally:
                connection.close()
            well = True
        finally:
            self._leave(instance, well=well, keeps_log=lambda: write and is_short())

    def forget(self) -> None:
        """Leave the instance to the process that this one was forked off: closing it would write into its file."""
        if self._instance is not None:
            _OF_PARENTS.append(self._instance)
        self._instance, self._turn = None, threading.Lock()

    def _enter(self, *, write: bool) -> _Instance:
        with self._turn:
            if self._instance is None:
                self._instance = _Instance(duckdb.connect(":memory:", config=_config(self._path)))
            instance = self._instance
            try:
                if not instance.users:
                    instance.database.execute(_attach(self._path, write=write))
                instance.users += 1
            except BaseException:
                self._drop(instance)
                raise
            return instance

    def _leave(self, instance: _Instance, *, well: bool, keeps_log: Callable[[], bool]) -> None:
        with self._turn:
            instance.users -= 1
            try:
                if not instance.users:
                    how = "disable" if keeps_log() else "enable"
                    instance.database.execute(f"PRAGMA {how}_checkpoint_on_shutdown")
                    instance.database.execute("DETACH file")
            except duckdb.Error as error:  # what was committed is safe in the log, and no less so on a full disk
                well = False
                _log.info("the log of %s stays beside it, the next writer comes to it: %s", self._path, error)
            except BaseException:
                well = False
                raise
            finally:
                if not well or self._instance is not instance:
                    self._drop(instance)

    def _drop(self, instance: _Instance) -> None:
        """Have nobody use an instance any more; the last one who still does closes it."""
        if self._instance is instance:
            self._instance = None
        if not instance.users:
            instance.database.close()


def _config(path: Path) -> dict[str, str | bool | int | float | list[str]]:
    return {
        # Statements here touch few rows: threads that wait for one another cost more than they save.
        "threads": 1,
        # Objects are text, whatever a sample of them says: of a column that is almost all NULL it says another thing.
        "pandas_analyze_sample": 0,
        # What does not fit into memory goes beside the file, and each process has a place of its own there.
        "temp_directory": f"{path}.{os.getpid()}.tmp",
    }


def _attach(path: Path, *, write: bool) -> str:
    how = "READ_ONLY" if not write else "READ_WRITE" if path.exists() else f"STORAGE_VERSION '{FORMAT}'"
    return f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS file ({how})"


_FILES: "weakref.WeakSet[AttachedFile]" = weakref.WeakSet()
_OF_PARENTS: list[_Instance] = []


def _forget() -> None:
    for file in _FILES:
        file.forget()


os.register_at_fork(after_in_child=_forget)
