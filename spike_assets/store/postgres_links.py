"""Connections to a Postgres server: opened in time, kept for the next one, and each with its limits.

A warm connection has its plans made; a new one costs twenty times as much. What a process leaves behind when it dies,
the server undoes and releases at once; where the whole machine is gone, within a minute.
"""

import math
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from spike_assets.deadline import Deadline
from spike_assets.store.postgres_address import Address
from spike_assets.store.postgres_values import teach

_LEAST_STATEMENT = 10.0
_LEAST_WAIT = 1.0
"""Seconds that a statement, and a wait for somebody else's row, may take though the deadline is past: what was begun
in time is finished."""
_LEAST_CONNECT = 2
"""Seconds; the library takes no fewer."""
_MOST_IDLE = 3
_NAME = 63
"""Postgres cuts the name of a connection behind so many characters."""

_SETTINGS = {
    "TimeZone": "UTC",
    "jit": "off",  # compiling takes longer than our queries do
    "max_parallel_workers_per_gather": "0",  # starting helpers as well, and other passes want those processors
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "4",
    "idle_in_transaction_session_timeout": "0",
}
_OURS = "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(_SETTINGS))
_LIMITS = "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)"
_PREPARE = f"{_LIMITS}, set_config('application_name', %s, false)"


class Link:
    """A connection to the server, and how long its statements may take."""

    def __init__(self, raw: "psycopg.Connection[Any]") -> None:
        self.raw = raw
        self.busy = False
        self.locks = 0
        self._deadline: Deadline | None = None
        self._limit = 0.0

    def prepare(self, deadline: Deadline, name: str | None = None) -> None:
        """Set the limits of all statements from here on, and under which name others see the connection."""
        self._deadline, self._limit = deadline, deadline.remaining()
        limits = _limits(self._limit)
        if name is None:
            self.raw.execute(_LIMITS, limits)
        else:
            self.raw.execute(_PREPARE, [*limits, name])

    def wait_until(self, deadline: Deadline) -> None:
        """Let the next statement wait for a lock until the deadline, and not a second longer."""
        milliseconds = max(1, int(deadline.remaining() * 1000))
        self.raw.execute(_LIMITS, [str(milliseconds + 1000), str(milliseconds)])

    def check(self) -> None:
        """Lower the limits when half of the time is gone: a statement in time is no longer than what is left, twice."""
        if self._deadline is not None and self._limit > _LEAST_WAIT:
            left = self._deadline.remaining()
            if left < self._limit / 2:
                self.prepare(self._deadline)

    def lock(self, key: int, *, shared: bool = False) -> None:
        """Take an advisory lock, when it is free."""
        self.raw.execute(f"SELECT pg_advisory_lock{'_shared' * shared}(%s)", [key])
        self.locks += 1

    def try_lock(self, key: int) -> bool:
        """Take an advisory lock, if it is free and nobody waits for it."""
        row = self.raw.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        taken = row is not None and bool(row[0])
        self.locks += taken
        return taken

    def unlock(self, key: int, *, shared: bool = False) -> None:
        """Release a lock; where that is not to be had, the connection is closed, and the server releases it."""
        try:
            self.raw.execute(f"SELECT pg_advisory_unlock{'_shared' * shared}(%s)", [key])
        except psycopg.Error:
            self.raw.close()
        self.locks -= 1

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it, and nothing held."""
        is_open = not self.raw.closed and self.raw.info.transaction_status is TransactionStatus.IDLE
        return is_open and not self.locks


def _limits(seconds: float) -> list[str]:
    return [f"{max(seconds, least) * 1000:.0f}" for least in (_LEAST_STATEMENT, _LEAST_WAIT)]


class Links:
    """The connections of one engine in one process."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._idle, self._process)

    @contextmanager
    def one(self, deadline: Deadline, purpose: str) -> Iterator[Link]:
        """Give a connection for a while, ready to be used."""
        link = self._ready(deadline, name_of(purpose))
        try:
            yield link
        finally:
            self._back(link)

    def _ready(self, deadline: Deadline, name: str) -> Link:
        while (link := self._taken()) is not None:
            try:
                link.prepare(deadline, name)
            except psycopg.OperationalError:  # the server has been away since: it is no use any more
                link.raw.close()
            else:
                return link
        return self._opened(deadline, name)

    def _taken(self) -> Link | None:
        with self._lock:
            if self._process != os.getpid():
                # Forked: those connections are the parent's, who goes on to use them.
                self._idle, self._process = [], os.getpid()
                weakref.finalize(self, _close, self._idle, self._process)
            return self._idle.pop() if self._idle else None

    def _opened(self, deadline: Deadline, name: str) -> Link:
        patience = max(_LEAST_CONNECT, math.ceil(deadline.remaining()))
        own = {
            "connect_timeout": str(min(patience, int(self._address.parts.get("connect_timeout", patience)))),
            "client_encoding": "utf8",
            "application_name": name,
            "keepalives_idle": "20",
            "keepalives_interval": "10",
            "keepalives_count": "4",
            "tcp_user_timeout": "15000",
        }
        raw = psycopg.connect(autocommit=True, **(self._address.parts | own))  # type: ignore[arg-type]  # all are text
        try:
            teach(raw)
            raw.execute(_OURS, [text for setting in _SETTINGS.items() for text in setting])
            link = Link(raw)
            link.prepare(deadline)
        except BaseException:
            raw.close()
            raise
        return link

    def _back(self, link: Link) -> None:
        with self._lock:
            if link.idle and len(self._idle) < _MOST_IDLE and self._process == os.getpid():
                self._idle.append(link)
                return
        link.raw.close()


def _close(idle: list[Link], process: int) -> None:
    if process == os.getpid():
        for link in idle:
            with suppress(psycopg.Error):
                link.raw.close()


def name_of(purpose: str) -> str:
    """Give the name of a connection: what for, where, and since when. It is for whoever waits in vain."""
    who = f"{socket.gethostname()[:14]}/{os.getpid()} since {datetime.now(UTC):%H:%M:%S} UTC"
    return f"{purpose[: _NAME - len(who) - 3]} ({who})"
