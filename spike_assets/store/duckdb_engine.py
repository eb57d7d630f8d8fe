"""DuckDB behind the store: one file, one writer, lock files beside it.

DuckDB lets one process in to write and then nobody else, even to read. So a lock file is taken first, shared to
read and alone to write, and connections are short.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.store.duckdb_instance import AttachedFile
from spike_assets.store.engine import Connection
from spike_assets.store.locks import LockFile
from spike_assets.store.rows import plain, typed
from spike_assets.store.tables import Column

_SHORT_LOG = 100_000
"""Bytes of write-ahead log that a writer leaves behind: a handful of passes. Commits are safe in it. Writing it into
the file takes 50 ms or more, a third of a pass; whoever opens next reads it in a few."""

_EXACT = 2.0**53
"""The first of the whole numbers that a float does not tell from its neighbours."""


def _changed(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        return "-"
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be looked at ({error.strerror}); see to its folder") from error
    return f"{found.st_mtime_ns}/{found.st_size}"


def _array(column: Column, values: "pd.Series[Any]") -> npt.NDArray[Any]:
    """Give a column as DuckDB reads it in least time: a plain array, NULL being NaN, NaT or None.

    What may be NULL comes as another type, of which DuckDB makes the table's own again.
    """
    if column.kind == "time":
        return values.to_numpy(dtype="datetime64[us]")  # UTC, and so is the session
    if column.kind in ("text", "uuid"):
        return _text(values) if column.nullable else values.to_numpy(dtype=object)
    if column.kind != "float" and not column.nullable:
        return values.to_numpy()
    numbers: npt.NDArray[Any] = values.to_numpy(dtype="float64", na_value=np.nan)
    if column.kind == "int" and (np.abs(numbers) >= _EXACT).any():
        return _text(values.astype(object).map(str, na_action="ignore"))
    return numbers


def _text(values: "pd.Series[Any]") -> npt.NDArray[np.object_]:
    text = values.to_numpy(dtype=object, copy=True)
    text[pd.isna(text)] = None
    return text


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
        self._connection.register(name, {column.name: _array(column, frame[column.name]) for column in columns})

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
        self._file = AttachedFile(path)

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
        with (
            self._lock.held(deadline, purpose, shared=not write),
            self._told_plainly(),
            self._opened(write=write, is_short=lambda: self._log_bytes() < _SHORT_LOG) as connection,
        ):
            yield DuckDBConnection(connection)

    def tidy(self, deadline: Deadline) -> None:
        """Write the log into the file."""
        if self._log_bytes():
            with (
                self._lock.held(deadline, "tidying up"),
                self._told_plainly(),
                self._opened(write=True, is_short=lambda: False),
            ):
                pass

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

    @contextmanager
    def _opened(self, *, write: bool, is_short: Callable[[], bool]) -> Iterator[duckdb.DuckDBPyConnection]:
        existed = self.exists()
        if not existed and self._log_bytes():
            raise StoreError(
                f"{self.path} is not there, its log {self._log.name} is, and has what was written last; put the file"
                " back beside it, or move the log away too, to where the file went"
            )
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self._file.used(write=write, is_short=is_short))
            except duckdb.Error:
                if not existed:
                    # Half a file, for want of space: it would be taken for a damaged database from now on.
                    self.path.unlink(missing_ok=True)
                raise
            yield connection

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
        if "Could not read enough bytes" in text and str(self.path) in text:
            return StoreError(f"{self.path} is cut short; restore it, or set SPIKE_DATABASE to another path")
        if "not a valid DuckDB database" in text:
            return StoreError(f"{self.path} is not a DuckDB database; set SPIKE_DATABASE to another path")
        return StoreError(f"{self.path}: {text}")
