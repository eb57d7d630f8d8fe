"""A DuckDB instance that stays, and has a file attached only while somebody uses it.

Making an instance takes 15 ms, whatever is in the file; attaching one takes 2.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

FORMAT = "v1.2.0"
"""What files are written for: DuckDB 1.2 and newer can read them. Attaching one takes a third of the older default."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "pandas_analyze_sample": 0}
"""Statements here touch few rows: threads that wait for one another cost more than they save. And objects are text,
whatever a sample of them says: of a column that is almost all NULL it says another thing."""


@dataclass
class _Instance:
    """A DuckDB instance of one process, and how many use the file in it."""

    database: duckdb.DuckDBPyConnection
    process: int
    users: int = 0


class AttachedFile:
    """A database file; those that read at once share it.

    Whoever writes is alone: that is the caller's business, and its lock file's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._instance: _Instance | None = None
        self._turn = threading.Lock()

    @contextmanager
    def used(self, *, write: bool, is_short: Callable[[], bool]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection to the file, and let go of the file behind the block.

        The log is written into the file then, unless it `is_short`. Whatever goes wrong inside, the next one starts
        with a new instance.
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
            self._leave(instance, well=well, keep_log=write and is_short())

    def _enter(self, *, write: bool) -> _Instance:
        with self._turn:
            # A fork has its parent's, which it must not touch, nor close.
            if self._instance is None or self._instance.process != os.getpid():
                self._instance = _Instance(duckdb.connect(":memory:", config=_CONFIG), os.getpid())
            instance = self._instance
            if not instance.users:
                path = str(self._path).replace("'", "''")
                how = f"STORAGE_VERSION '{FORMAT}'" if write else "READ_ONLY"
                instance.database.execute(f"ATTACH '{path}' AS file ({how})")
            instance.users += 1
            return instance

    def _leave(self, instance: _Instance, *, well: bool, keep_log: bool) -> None:
        with self._turn:
            instance.users -= 1
            if not well and self._instance is instance:
                self._instance = None
            if instance.users:
                return
            instance.database.execute(f"PRAGMA {'disable' if keep_log else 'enable'}_checkpoint_on_shutdown")
            if self._instance is instance:
                instance.database.execute("DETACH file")
            else:
                instance.database.close()
