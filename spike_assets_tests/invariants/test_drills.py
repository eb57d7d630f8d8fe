"""What an operator practises, on both engines: losing the database and getting it back, and going back in time."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from spike_assets.alerts.channels.webhook import WebhookChannel
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.wants import Wants
from spike_assets.granularity import H1
from spike_assets.instruments import GRIDS
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import PassResult, Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.backup import backup, restore
from spike_assets.pipeline.rollback import rollback
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.copy import copy
from spike_assets.store.store import Store
from spike_assets_tests.invariants.runs import AFTER_CLOSE, KillPlan, Market, engine_of, simulated_market
from spike_assets_tests.invariants.test_postgres import BEGIN, SECRET
from spike_assets_tests.postgres import Server
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, run, start
from spike_assets_tests.receiver import Received, Receiver
from spike_assets_tests.support import FOREVER, CrashingEngine, MemoryEngine, hashes, make_pipeline

CLOSES = [close_of(H1, at) for at in candle_times(H1, Window(BEGIN, BEGIN + timedelta(days=2))).to_pydatetime()][:6]
WATCHED = tuple(GRIDS)[:7]
BEFORE = 2
"""After so many ticks the backup is begun, the others go on meanwhile."""
SCHEMAS = ("h1", "h4", "d", "w", "ops")


@dataclass(frozen=True)
class Place:
    """A database, and what a disaster does to it."""

    name: str
    database: Path | str
    destroy: Callable[[], None]

    @property
    def store(self) -> Store:
        return open_store(str(self.database))


def duckdb_at(path: Path) -> Place:
    def destroy() -> None:
        for file in path.parent.glob(path.name + "*"):
            file.unlink()

    return Place("DuckDB", path, destroy)


def postgres_at(url: str) -> Place:
    def destroy() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("; ".join(f"DROP SCHEMA {name} CASCADE" for name in SCHEMAS).encode())

    return Place("Postgres", url, destroy)


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "duckdb":
        yield duckdb_at(tmp_path / "spike.duckdb")
        return
    server: Server = request.getfixturevalue("server")
    with server.database() as url:
        yield postgres_at(url)


def live(store: Store, address: str, now: datetime) -> Pipeline:
    """Give a pipeline whose alerts go to a receiver, at a time of day."""
    channel = WebhookChannel("desk", address, SecretStr(SECRET), Wants(), allow_private=True)
    policy = Policy(channels=(channel,), max_age=timedelta(days=9))
    pipeline = make_pipeline(SimulatedSource(), store, WATCHED, warmup=80, policy=policy)
    return replace(pipeline, clock=partial(_at, now))


def _at(now: datetime) -> datetime:
    return now


def tick(store: Store, address: str, close: datetime) -> PassResult:
    pipeline = live(store, address, close + AFTER_CLOSE)
    result = process(pipeline, H1, deadline=FOREVER)
    pipeline.sender.deliver(FOREVER)
    return result


def run_ticks(end: Pipe, database: Path | str, address: str) -> None:
    """Run ticks in this process; say when so many are done, and do not wait for an answer."""
    try:
        for n, close in enumerate(CLOSES[:-1]):
            if n == BEFORE:
                end.send("backup")
            tick(open_store(str(database)), address, close)
    except BaseException:
        end.send(traceback.format_exc())
        raise
    end.send("done")


def heard(end: Pipe) -> str:
    return str(end.recv()) if end.poll(PATIENCE) else "silence"


def alerts_in(messages: Sequence[Received]) -> list[str]:
    """Give the ids of the alerts that messages tell of."""
    digests = [Digest.model_validate_json(message.body) for message in messages]
    return [one.alert_id for digest in digests for one in (*digest.entries, digest.group) if one is not None]


def told(store: Store, *, sent: bool = False) -> set[str]:
    """Give the alerts that were told of, or only those whose message has arrived."""
    with store.reading(FOREVER) as session:
        items = session.outbox.items(H1, Window(BEGIN, CLOSES[-1]))
        arrived = {message.delivery_id for message in session.outbox.newest(1000, status="sent")}
    return {item.alert_id for item in items if item.status == "told" and (not sent or item.delivery_id in arrived)}


def test_a_database_that_is_lost_comes_back(
    place: Place, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One backup is made while passes run, one in the quiet behind them; what comes back goes on as the lost one."""

    def timed(what: str, work: Callable[[], object]) -> None:
        since = time.perf_counter()
        work()
        record_property(f"{what} on {place.name}, s", round(time.perf_counter() - since, 3))

    with Receiver() as receiver, ExitStack() as stack:
        here, there = CONTEXT.Pipe()
        passes = start(run_ticks, there, place.database, receiver.url)
        stack.callback(passes.kill)
        assert heard(here) == "backup"
        timed("backup while passes run", lambda: backup(place.store, tmp_path / "busy", CLOSES[0]))
        assert heard(here) == "done"
        assert finished(passes) == 0
        control = Store(MemoryEngine())
        copy(place.store, control, FOREVER)
        backup(place.store, tmp_path / "quiet", CLOSES[0])
        at_the_end = hashes(live(control, receiver.url, CLOSES[-2]), H1)

        # It is lost; what was saved while passes ran goes on from where it was.
        place.destroy()
        timed("restore", lambda: restore(tmp_path / "busy", place.store, CLOSES[-1]))
        known, before = told(place.store, sent=True), len(receiver.received)
        with place.store.reading(FOREVER) as session:
            state = session.ops.state(H1)
        assert state is not None
        assert state.last_processed is not None
        assert state.last_processed >= CLOSES[BEFORE - 1]
        for close in CLOSES[:-1]:
            if close > state.last_processed:
                tick(place.store, receiver.url, close)
        tick(place.store, receiver.url, CLOSES[-2])
        assert hashes(live(place.store, receiver.url, CLOSES[-2]), H1) == at_the_end
        assert known
        assert not known & set(alerts_in(receiver.received[before:])), "what it knows of is not told again"
        assert told(place.store) == told(control), "and nothing is forgotten"

        # What was saved in the quiet does what the lost one would have done.
        place.destroy()
        restore(tmp_path / "quiet", place.store, CLOSES[-1])
        assert hashes(live(place.store, receiver.url, CLOSES[-2]), H1) == at_the_end
        said = []
        for store in (place.store, control):
            before = len(receiver.received)
            done = tick(store, receiver.url, CLOSES[-1])
            assert done.status == "success"
            said.append(
                (
                    done.processed(),
                    alerts_in(receiver.received[before:]),
                    hashes(live(store, receiver.url, CLOSES[-1]), H1),
                )
            )
        assert said[0] == said[1]
        assert verify(live(place.store, receiver.url, CLOSES[-1] + AFTER_CLOSE), H1).difference is None


# --- going back -------------------------------------------------------------------------------------------------------

MARKET = simulated_market(H1, WATCHED[:2], Window(BEGIN, BEGIN + timedelta(days=7)))
MIDDLE = MARKET.closes[len(MARKET.closes) // 2]


def spoil(database: str) -> None:
    """Have all that was derived of late wrong."""
    with engine_of(database).connect(FOREVER, "a test", write=True) as connection:
        for sql in (
            "UPDATE h1.atr SET atr = atr * 2 WHERE time >= ?",
            "DELETE FROM h1.events WHERE time >= ? AND instrument = 'EUR_USD'",
            "UPDATE h1.features SET pattern_run = 99 WHERE time >= ?",
            "UPDATE h1.alerts SET rules = 'none' WHERE time >= ?",
        ):
            connection.execute(sql, [MIDDLE])


def killed_rollback(database: str, at: int) -> None:
    """Go back in this process, which is killed behind a commit."""
    plan = KillPlan(at, before=False)
    rollback(MARKET.pipeline(Store(CrashingEngine(engine_of(database), plan))), H1, MIDDLE)


def test_going_back_ends_in_what_a_clean_backfill_makes(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    pipeline = MARKET.pipeline(place.store)
    backfill(pipeline, H1, MARKET.window)
    spoil(str(place.database))
    assert run(killed_rollback, str(place.database), 0) == -9
    assert hashes(pipeline, H1) != MARKET.expected
    process(pipeline, H1, deadline=FOREVER)
    assert MARKET.ends_in(pipeline) == MARKET.expected
    spoil(str(place.database))
    assert run(killed_rollback, str(place.database), 2) == -9
    since = time.perf_counter()
    rollback(pipeline, H1, MIDDLE)
    record_property(f"rollback on {place.name}, s", round(time.perf_counter() - since, 3))
    assert MARKET.ends_in(pipeline) == MARKET.expected


def run_passes(end: Pipe, database: Path | str, market: Market) -> None:
    end.send("ready")
    try:
        for close in market.closes[-6:]:
            process(market.pipeline(open_store(str(database))), H1, now=close + AFTER_CLOSE, deadline=FOREVER)
    except BaseException:
        end.send(traceback.format_exc())
        raise
    end.send("done")


def test_going_back_while_passes_run(place: Place) -> None:
    pipeline = MARKET.pipeline(place.store)
    backfill(pipeline, H1, Window(MARKET.window.start, MARKET.closes[-7]))
    here, there = CONTEXT.Pipe()
    passes = start(run_passes, there, place.database, MARKET)
    try:
        assert heard(here) == "ready"
        for _ in range(2):
            rollback(pipeline, H1, MIDDLE)
        said = heard(here)
    finally:
        passes.join(PATIENCE)
        passes.kill()
    assert said == "done"
    assert MARKET.ends_in(pipeline) == MARKET.expected
