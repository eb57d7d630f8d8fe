"""DuckDB behind the store: one file, one writer, lock files beside it.

DuckDB lets one process in to write and then nobody else, even to read. So a lock file is taken first, shared to
read and alone to write, and connections are short.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.store.engine import Connection
from spike_assets.store.locks import LockFile
from spike_assets.store.rows import plain, typed
from spike_assets.store.tables import Column

_SHORT_LOG = 100_000
"""Bytes of write-ahead log that a writer leaves behind: a handful of passes. Commits are safe in it. Writing it into
the file takes 50 ms or more, three times as long as opening and closing; whoever opens next reads it in a few."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 1}
"""Statements here touch few rows; threads that wait for one another cost more than they save."""


def _changed(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        return "-"
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be looked at ({error.strerror}); see to its folder") from error
    return f"{found.st_mtime_ns}/{found.st_size}"


def _readable(columns: Sequence[Column], frame: pd.DataFrame) -> dict[str, npt.NDArray[Any]] | pd.DataFrame:
    """Give a frame as DuckDB takes it in least time: as plain arrays, where no NULL has to be told but NaN."""
    if any(column.nullable and column.kind != "float" for column in columns):
        # Of objects without a frame DuckDB guesses the type by samples, and fails where they are all None.
        return pd.DataFrame({column.name: _series(column, frame[column.name]) for column in columns}, copy=False)
    return {column.name: _array(column, frame[column.name]) for column in columns}


def _series(column: Column, values: "pd.Series[Any]") -> "pd.Series[Any]":
    if column.kind in ("text", "uuid"):
        text = values.to_numpy(dtype=object, copy=True)
        text[pd.isna(text)] = None
        return pd.Series(text, dtype=object)
    return values.reset_index(drop=True)


def _array(column: Column, values: "pd.Series[Any]") -> npt.NDArray[Any]:
    if column.kind == "time":
        return values.to_numpy(dtype="datetime64[us]")  # UTC, and so is the session
    if column.kind == "float":
        return values.to_numpy(dtype="float64", na_value=np.nan)
    return values.to_numpy(dtype=object if column.kind in ("text", "uuid") else None)


class DuckDBConnection:
    """A connection to a DuckDB file. Whoever writes is alone with it: there is nobody to claim anything from."""

    natural_keys = False

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run statements that give nothing back."""
        self._connection.execute(sql, list(parameters))

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one UPDATE or DELETE, and give how many rows it touched."""
        ((touched,),) = self._connection.execute(sql, list(parameters)).fetchall()
        return int(touched)

    def frame(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Run a query and give its result typed."""
        arrays: dict[str, Any] = self._connection.execute(sql, list(parameters)).fetchnumpy()
        return typed(columns, arrays)

    def rows(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query for a few rows, and give them as plain values."""
        arrays: dict[str, Any] = self._connection.execute(sql, list(parameters)).fetchnumpy()
        return plain(columns, arrays)

    def load(self, name: str, columns: Sequence[Column], frame: pd.DataFrame) -> None:
        """Make a frame readable as `name`."""
        self._connection.register(name, _readable(columns, frame))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does when it ends, and undo it when it raises."""
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def claim(self, name: str) -> None:
        """Nothing: there is no other writer."""

    def keep(self, name: str, *, shared: bool = False) -> bool:  # noqa: ARG002
        """Nothing: there is no other writer."""
        return False


class DuckDBEngine:
    """A DuckDB database file."""

    natural_keys = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path.with_name(path.name + ".wal")
        self._lock = LockFile(path.with_name(path.name + ".lock"))

    @property
    def url(self) -> str:
        """The file's path."""
        return str(self.path)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def ddl(self, sql: str) -> str:
        """Give a migration as it is: `schema.sql` is written for DuckDB."""
        return sql

    def stamp(self) -> str | None:
        """Give size and time of change of the file and of its log."""
        return " ".join(_changed(path) for path in (self.path, self._log))

    @contextmanager
    def connect(self, deadline: Deadline, purpose: str, *, write: bool) -> Iterator[Connection]:
        """Open the file under its lock file, and close it behind the block; a short log is left to `tidy`."""
        with self._lock.held(deadline, purpose, shared=not write), self._told_plainly():
            connection = self._open(write=write)
            try:
                connection.execute("SET TimeZone = 'UTC'")
                yield DuckDBConnection(connection)
            finally:
                if write and self._log_bytes() < _SHORT_LOG:
                    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
                connection.close()

    def tidy(self, deadline: Deadline) -> None:
        """Write the log into the file."""
        if self._log_bytes():
            with self._lock.held(deadline, "tidying up"), self._told_plainly():
                self._open(write=True).close()

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def snapshot(self, deadline: Deadline, purpose: str, folder: Path) -> Iterator[Connection]:
        """Copy the file and its log, which is all that writers wait for, and open the copy."""
        copied = folder / "snapshot.duckdb"
        files = {self.path.with_name(self.path.name + log): copied.with_name(copied.name + log) for log in ("", ".wal")}
        try:
            with self._lock.held(deadline, purpose, shared=True):
                for ours, theirs in files.items():
                    if ours.exists():
                        shutil.copyfile(ours, theirs)
            with self._told_plainly(), duckdb.connect(str(copied), read_only=True) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                yield DuckDBConnection(connection)
        finally:
            for theirs in files.values():
                theirs.unlink(missing_ok=True)

    def _open(self, *, write: bool) -> duckdb.DuckDBPyConnection:
        existed = self.exists()
        if not existed and self._log_bytes():
            raise StoreError(
                f"{self.path} is not there, its log {self._log.name} is, and has what was written last; put the file"
                " back beside it, or move the log away too, to where the file went"
            )
        try:
            return duckdb.connect(str(self.path), read_only=not write, config=_CONFIG)
        except duckdb.Error:
            if not existed:
                # Half a file, for want of space: it would be taken for a damaged database from now on.
                self.path.unlink(missing_ok=True)
            raise

    @contextmanager
    def lock(self, name: str, deadline: Deadline, purpose: str) -> Iterator[None]:
        """Hold the lock file of that name."""
        with LockFile(self.path.with_name(f"{self.path.name}.{name}.lock")).held(deadline, purpose):
            yield

    def checkpoint(self, connection: Connection) -> None:
        """Empty the write-ahead log."""
        connection.execute("CHECKPOINT")

    @contextmanager
    def _told_plainly(self) -> Iterator[None]:
        """Say in one line what DuckDB says in several."""
        try:
            yield
        except duckdb.Error as error:
            raise self._translated(error) from error
        except RuntimeError as error:
            if isinstance(error.__cause__, BaseException) and str(error) == "Query interrupted":
                raise error.__cause__ from None  # a signal's exception (Ctrl-C), which DuckDB wraps
            raise

    def _translated(self, error: duckdb.Error) -> SpikeError:
        text = " ".join(str(error).split())
        if "Conflicting lock" in text or "Could not set lock" in text:
            return StoreLockedError(
                f"{self.path} is open in a program that does not take spike's lock file ({text}); close it there"
            )
        if "No space left" in text or "File too large" in text:
            return StoreUnavailableError(f"no space left for {self.path}; nothing was changed, free some and try again")
        if "Permission denied" in text or "read-only" in text.lower():
            return StoreError(f"{self.path} cannot be written: {text}; set SPIKE_DATABASE to a file that can be")
        if "Could not read enough bytes" in text:
            return StoreError(f"{self.path} is cut short; restore it, or set SPIKE_DATABASE to another path")
        if "not a valid DuckDB database" in text:
            return StoreError(f"{self.path} is not a DuckDB database; set SPIKE_DATABASE to another path")
        return StoreError(f"{self.path}: {text}")
