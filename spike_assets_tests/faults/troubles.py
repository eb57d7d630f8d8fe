"""A Postgres that fails in the midst of a pass: at one of its statements or commits, in one of many ways."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import TransientError
from spike_assets.pipeline import process
from spike_assets.pipeline.verify import verify
from spike_assets.store.engine import Connection, Engine
from spike_assets.store.store import Store
from spike_assets.store.tables import Column
from spike_assets_tests.invariants.runs import AFTER_CLOSE, Market
from spike_assets_tests.postgres import Server

_PID = (Column("pid", "int", "the server's process"),)

Trouble = Callable[[Connection, Server], None]


def killed(connection: Connection, server: Server) -> None:
    """End the server's process that works for this connection, as an operator or a failover does."""
    pid = connection.frame("SELECT pg_backend_pid() AS pid", _PID)["pid"].iloc[0]
    server.command(f"SELECT pg_terminate_backend({pid}, 60000)")


def restarted(connection: Connection, server: Server) -> None:  # noqa: ARG001
    """Let the whole server break off, and come back."""
    server.stop()
    server.start()


def timed_out(connection: Connection, server: Server) -> None:  # noqa: ARG001
    """Run a statement that takes longer than it may."""
    connection.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)")


def says(state: str, text: str) -> Trouble:
    """Give what the server does when it refuses a statement for a reason that is its own."""

    def refuse(connection: Connection, server: Server) -> None:  # noqa: ARG001
        connection.execute(f"DO $$ BEGIN RAISE '{text}' USING ERRCODE = '{state}'; END $$")

    return refuse


TROUBLES: dict[str, Trouble] = {
    "killed": killed,
    "restarted": restarted,
    "timed out": timed_out,
    "disk full": says("53100", "could not extend file: No space left on device"),
    "out of memory": says("53200", "out of memory"),
    "i/o error": says("58030", "could not read block 7: Input/output error"),
    "deadlock": says("40P01", "deadlock detected"),
    "conflict": says("40001", "could not serialize access"),
    "cancelled": says("57014", "canceling statement due to user request"),
    "switched off": says("57P01", "terminating connection due to administrator command"),
    "starting": says("57P03", "the database system is starting up"),
}


@dataclass
class Plan:
    """At which step of what is done on any connection something goes wrong: a statement, or a commit's two sides."""

    server: Server
    trouble: Trouble
    at: int = -1
    steps: int = 0

    def arm(self, at: int) -> None:
        """Count from here; never is -1."""
        self.at, self.steps = at, 0

    def step(self, connection: Connection) -> None:
        """Count, and make trouble when it is time."""
        self.steps += 1
        if self.steps == self.at + 1:
            self.trouble(connection, self.server)

    @property
    def hit(self) -> bool:
        """Whether there was trouble."""
        return self.steps > self.at


class TroubledConnection:
    """Another connection, of which each step is counted."""

    def __init__(self, inner: Connection, plan: Plan) -> None:
        self._inner, self._plan = inner, plan
        self.natural_keys = inner.natural_keys
        self.load, self.claim, self.keep = inner.load, inner.claim, inner.keep

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._plan.step(self._inner)
        self._inner.execute(sql, parameters)

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self._plan.step(self._inner)
        return self._inner.change(sql, parameters)

    def rows(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._plan.step(self._inner)
        return self._inner.rows(sql, columns, parameters)

    def frame(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> pd.DataFrame:
        self._plan.step(self._inner)
        return self._inner.frame(sql, columns, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._inner.transaction():
            yield
            self._plan.step(self._inner)
        self._plan.step(self._inner)


class TroubledEngine:
    """Another engine, in whose connections something goes wrong as planned."""

    def __init__(self, inner: Engine, plan: Plan) -> None:
        self._inner, self._plan = inner, plan
        self.url, self.natural_keys = inner.url, inner.natural_keys
        self.exists, self.lock, self.checkpoint, self.stamp = inner.exists, inner.lock, inner.checkpoint, inner.stamp
        self.ddl, self.snapshot, self.tidy = inner.ddl, inner.snapshot, inner.tidy

    @contextmanager
    def connect(self, deadline: Deadline, purpose: str, *, write: bool) -> Iterator[Connection]:
        with self._inner.connect(deadline, purpose, write=write) as connection:
            yield TroubledConnection(connection, self._plan)


def troubled(market: Market, engine: Engine, plan: Plan, moments: Iterable[int]) -> tuple[int, int]:
    """Run pass after pass, trouble at another step in each; another one goes on. Give how many failed, and of how many.

    It ends with the moments, or with the first pass that has fewer steps.
    """
    pipeline = market.pipeline(Store(TroubledEngine(engine, plan)))
    process(pipeline, market.granularity, now=market.closes[0] + AFTER_CLOSE)
    failed = passes = 0
    for close, at in zip(market.closes[1:], moments, strict=False):
        plan.arm(at)
        try:
            process(pipeline, market.granularity, now=close + AFTER_CLOSE)
        except TransientError:
            failed += 1
        hit = plan.hit
        passes += hit
        plan.arm(-1)
        process(pipeline, market.granularity, now=close + AFTER_CLOSE + timedelta(seconds=1))
        if not hit:
            break
    process(pipeline, market.granularity, now=market.closes[-1] + AFTER_CLOSE)
    assert market.ends_in(pipeline) == market.expected
    assert verify(pipeline, market.granularity).difference is None
    return failed, passes
