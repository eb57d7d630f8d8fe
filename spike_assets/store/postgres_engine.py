"""Postgres behind the store: many writers on many machines, told apart by advisory locks.

A reader sees one state of the database from its first statement to its last. A writer sees what others have committed
before each of its statements; what must not change under it, it keeps to itself by a granularity's lock, or by a claim.
A writer that holds a lock works on the connection that holds it: when that is lost, so is its work.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError, StoreLockedError
from spike_assets.store.engine import Connection
from spike_assets.store.postgres_address import Address
from spike_assets.store.postgres_errors import told_plainly
from spike_assets.store.postgres_links import Link, Links
from spike_assets.store.postgres_sql import ddl, translated, words
from spike_assets.store.postgres_values import Packed, pack, unpacked
from spike_assets.store.rows import plain, typed
from spike_assets.store.tables import SQL_TYPES, Column

_HOLDER = (
    "SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = %s"
)
_VISIBLE = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END"
"""A replica does not tell of all that it sees."""
_GLANCE = timedelta(seconds=2)
_REST = 5.0
"""Seconds for which a server that could not be asked for its stamp is left alone."""


def key_of(name: str) -> int:
    """Give the number by which Postgres knows a lock: the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"spike {name}".encode()).digest()[:8], "big", signed=True)


@dataclass(frozen=True)
class _Loaded:
    """A frame that statements may name as a relation: an array per column."""

    columns: tuple[Column, ...]
    arrays: tuple[Packed, ...]

    def relation(self, name: str) -> str:
        """Give what stands before a statement that names it; a place per array."""
        names = ", ".join(column.name for column in self.columns)
        types = ["text" if column.kind == "uuid" else SQL_TYPES[column.kind] for column in self.columns]
        arrays = ", ".join(f"%s::{one}[]" for one in types)
        return f"{name}({names}) AS (SELECT * FROM unnest({arrays}))"  # noqa: S608


class PostgresConnection:
    """A connection to a Postgres database."""

    natural_keys = True

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loaded: dict[str, _Loaded] = {}
        self._kept: list[tuple[int, bool]] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run statements that give nothing back."""
        self._run(sql, parameters, binary=False)

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one UPDATE or DELETE, and give how many rows it touched."""
        return self._run(sql, parameters, binary=False).command_tuples or 0

    def frame(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Run a query and give its result typed."""
        return typed(columns, unpacked(self._run(sql, parameters, binary=True), columns))

    def rows(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query for a few rows, and give them as plain values."""
        return plain(columns, unpacked(self._run(sql, parameters, binary=True), columns))

    def load(self, name: str, columns: Sequence[Column], frame: pd.DataFrame) -> None:
        """Make a frame readable as `name`: it goes along with each statement that names it."""
        self._loaded[name] = _Loaded(tuple(columns), tuple(pack(column, frame[column.name]) for column in columns))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does when it ends, and undo it when it raises."""
        with self._link.raw.transaction():
            yield

    def claim(self, name: str) -> None:
        """Keep others who claim the same out until the transaction ends."""
        if self._link.raw.info.transaction_status is not TransactionStatus.INTRANS:
            raise StoreError(f"{name} was claimed outside a transaction; report this")
        self._run("SELECT pg_advisory_xact_lock(?)", [key_of(f"claim {name}")], binary=False)

    def keep(self, name: str, *, shared: bool = False) -> bool:
        """Keep others who keep the same out until the connection closes; sharers stay together."""
        held = (key_of(f"keep {name}"), shared)
        if held not in self._kept:
            self._link.check()
            self._link.lock(held[0], shared=shared)
            self._kept.append(held)
        return True

    def close(self) -> None:
        """Leave the connection to the next one as it was found."""
        raw = self._link.raw
        with suppress(psycopg.Error):  # a connection that is lost has undone it all
            if raw.info.transaction_status is not TransactionStatus.IDLE:
                raw.rollback()
        for key, shared in self._kept:
            self._link.unlock(key, shared=shared)

    def _run(self, sql: str, parameters: Sequence[Any], *, binary: bool) -> PGresult:
        self._link.check()
        named = [name for name in self._loaded if name in words(sql)]
        if not (parameters or named or binary):
            # Without parameters: several statements may come at once.
            result = self._link.raw.execute(sql.encode()).pgresult
        else:
            relations = ", ".join(self._loaded[name].relation(name) for name in named)
            text = f"WITH {relations} {translated(sql)}" if named else translated(sql)
            values = [array for name in named for array in self._loaded[name].arrays] + list(parameters)
            result = self._link.raw.execute(text.encode(), values, binary=binary).pgresult
        if result is None:
            raise StoreError("a statement gave no result; report this")
        return result


class PostgresEngine:
    """A Postgres database."""

    natural_keys = True

    def __init__(self, url: str) -> None:
        self._address = Address(url)
        self._links = Links(self._address)
        self._thread = threading.local()
        self._glances = Links(self._address)
        self._again = 0.0

    @property
    def url(self) -> str:
        """The URL, without the password."""
        return self._address.shown

    def exists(self) -> bool:
        """Whether there may be something to read: the database has to be there."""
        return True

    def ddl(self, sql: str) -> str:
        """Give a migration as Postgres is to run it."""
        return ddl(sql)

    def stamp(self) -> str | None:
        """Give which transactions can be seen; None where that is not to be had.

        Two readers with the same stamp see the same; the server's log would not do, it moves before a commit can be
        seen. Every transaction that has written and ends, undone ones and those of other databases and of the server
        itself too, changes it: whoever looks may look in vain, and misses nothing.
        """
        if time.monotonic() < self._again:
            return None
        try:
            with self._glances.one(Deadline.after(_GLANCE), "a glance") as link:
                row = link.raw.execute(_VISIBLE).fetchone()
                return None if row is None or row[0] is None else str(row[0])
        except psycopg.Error:
            self._again = time.monotonic() + _REST
            return None

    @contextmanager
    def connect(
        self,
        deadline: Deadline,
        purpose: str,
        *,
        write: bool,
    ) -> Iterator[Connection]:
        """Open a connection: to write as it comes, to read one state of everything."""
        with told_plainly(self._address), self._link(deadline, purpose) as link:
            if not write:
                _begin_reading(link)
            connection = PostgresConnection(link)
            try:
                yield connection
            finally:
                connection.close()
                if not write:
                    _end_reading(link)

    def snapshot(
        self,
        deadline: Deadline,
        purpose: str,
        folder: Path,  # noqa: ARG002 - the server keeps what we still see
    ) -> AbstractContextManager[Connection]:
        """Read: that is one state of everything already, and nobody waits for it."""
        return self.connect(deadline, purpose, write=False)

    @contextmanager
    def _link(self, deadline: Deadline, purpose: str) -> Iterator[Link]:
        """Give the connection that holds this thread's lock, where there is one; else any."""
        held: Link | None = getattr(self._thread, "link", None)
        if held is None or held.busy:
            with self._links.one(deadline, purpose) as link:
                yield link
            return
        held.busy = True
        try:
            held.prepare(deadline)
            yield held
        finally:
            held.busy = False

    @contextmanager
    def lock(self, name: str, deadline: Deadline, purpose: str) -> Iterator[None]:
        """Hold the advisory lock of that name; the server releases it when the connection is gone."""
        with told_plainly(self._address):
            held: Link | None = getattr(self._thread, "link", None)
            if held is not None and not held.busy:
                with self._locked(held, name, deadline):
                    yield
                return
            with self._links.one(deadline, purpose) as link, self._locked(link, name, deadline):
                self._thread.link = link
                try:
                    yield
                finally:
                    self._thread.link = held

    @contextmanager
    def _locked(self, link: Link, name: str, deadline: Deadline) -> Iterator[None]:
        key = key_of(f"lock {name}")
        self._take(link, key, name, deadline)
        try:
            yield
        finally:
            link.unlock(key)

    def _take(self, link: Link, key: int, name: str, deadline: Deadline) -> None:
        if link.try_lock(key):
            return
        if deadline.remaining() > 0:
            # Waiting is fair: Postgres serves in the order of arrival.
            link.wait_until(deadline)
            with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
                link.lock(key)
                return
        found = link.raw.execute(_HOLDER, [key]).fetchone()
        holder = found[0] if found else "another process"
        raise StoreLockedError(
            f"{name} of {self.url} is in use by {holder}; it was not released in time, try again later"
        )

    def tidy(self, deadline: Deadline) -> None:
        """Nothing: the server does that by itself."""

    def checkpoint(self, connection: Connection) -> None:
        """Nothing: a migration is as safe as any other commit."""


def _begin_reading(link: Link) -> None:
    link.raw.autocommit = False
    link.raw.isolation_level = IsolationLevel.REPEATABLE_READ
    link.raw.read_only = True


def _end_reading(link: Link) -> None:
    if link.raw.info.transaction_status is not TransactionStatus.IDLE:
        link.raw.close()
        return
    link.raw.read_only = None
    link.raw.isolation_level = None
    link.raw.autocommit = True
