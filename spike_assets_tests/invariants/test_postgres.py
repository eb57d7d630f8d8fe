"""On Postgres everything ends as on DuckDB, bit for bit; and there several may be at it at once."""

import base64
import random
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest
from pydantic import SecretStr

from spike_assets.alerts.channels.webhook import WebhookChannel
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.instruments import GRIDS
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import reconcile
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.copy import copy
from spike_assets.store.data import content_hash
from spike_assets.store.store import Store
from spike_assets.store.tables import ALERTS, TABLES
from spike_assets.store.whole import PLACES
from spike_assets_tests.invariants.runs import AFTER_CLOSE, Market, with_defects
from spike_assets_tests.invariants.test_ways import market_of
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start
from spike_assets_tests.receiver import Receiver
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, hashes, make_pipeline, pending_marks

NAMES = ("EUR_USD", "USD_JPY", "USD_TRY")
BEGIN = datetime(2025, 2, 26, tzinfo=UTC)


# --- the same tables --------------------------------------------------------------------------------------------------


def everything(store: Store, granularity: Granularity) -> dict[str, str]:
    """Give the content hash of each table of a granularity."""
    with store.reading(FOREVER) as session:
        return {name: content_hash(table, session.data.read(granularity, table)) for name, table in TABLES.items()}


def a_clean_backfill_passes_and_corrections(market: Market, store: Store) -> dict[str, str]:
    source = FrameSource(with_defects(market.candles, random.Random(7)))
    pipeline = market.pipeline(store, source)
    middle = market.closes[-6]
    pipeline = replace(pipeline, clock=lambda: middle + AFTER_CLOSE)
    backfill(pipeline, market.granularity, Window(market.window.start, middle))
    for close in market.closes[-5:-2]:
        process(pipeline, market.granularity, now=close + AFTER_CLOSE)
    source.candles = market.candles
    later = replace(pipeline, clock=lambda: market.closes[-1] + AFTER_CLOSE)
    backfill(later, market.granularity, market.window)
    reconcile(later, market.granularity, now=market.closes[-1] + 2 * AFTER_CLOSE)
    process(later, market.granularity, now=market.closes[-1] + 3 * AFTER_CLOSE)
    assert pending_marks(later, market.granularity) == 0
    return hashes(later, market.granularity)


@pytest.mark.parametrize("name", ["captured", *GRANULARITIES])
def test_tables_are_equal_bit_for_bit_on_both_engines(name: str, postgres: str) -> None:
    """Real candles and simulated ones; what is quarantined too."""
    market = market_of(name)
    duck, elephant = Store(MemoryEngine()), open_store(postgres)
    found = [a_clean_backfill_passes_and_corrections(market, store) for store in (duck, elephant)]
    assert found[0] == found[1] == market.expected
    assert everything(duck, market.granularity) == everything(elephant, market.granularity)
    assert verify(market.pipeline(elephant), market.granularity).difference is None


# --- several at once --------------------------------------------------------------------------------------------------

CLOSES = [close_of(H1, time) for time in candle_times(H1, Window(BEGIN, BEGIN + timedelta(days=2))).to_pydatetime()][:8]
WATCHED = tuple(GRIDS)[:16]
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def live(url: str, address: str) -> Pipeline:
    """Give a pipeline whose alerts go to a receiver."""
    channel = WebhookChannel("desk", address, SecretStr(SECRET), Wants(), allow_private=True)
    policy = Policy(channels=(channel,), max_age=timedelta(days=9))
    return make_pipeline(SimulatedSource(), open_store(url), WATCHED, warmup=300, policy=policy)


def _at(now: datetime) -> datetime:
    return now


def run_ticks(end: Pipe, url: str, address: str) -> None:
    end.send("ready")
    end.recv()
    try:
        for close in CLOSES:
            now = close + AFTER_CLOSE
            pipeline = replace(live(url, address), clock=partial(_at, now))
            # The other one may be hours ahead; it shall not take this one for crashed.
            process(pipeline, H1, now=now, deadline=FOREVER)
            pipeline.sender.deliver(Deadline.after(timedelta(seconds=PATIENCE)))
    except BaseException:
        end.send(traceback.format_exc())
        raise
    end.send("done")


def test_two_passes_of_a_granularity_and_two_senders_at_once(postgres: str) -> None:
    """Each of two processes runs every tick and sends what is due: candles once, messages once and in their order."""
    with Receiver() as receiver, ExitStack() as stack:
        pipes = [CONTEXT.Pipe() for _ in range(2)]
        processes = [start(run_ticks, there, postgres, receiver.url) for _, there in pipes]
        for one in processes:
            stack.callback(one.kill)
        for here, _ in pipes:
            assert here.poll(PATIENCE)
            here.recv()
        for here, _ in pipes:
            here.send("go")
        assert [here.recv() if here.poll(PATIENCE) else "silence" for here, _ in pipes] == ["done"] * 2
        assert [finished(one) for one in processes] == [0, 0]
        received = [one.headers["webhook-id"] for one in receiver.received]
    pipeline = replace(live(postgres, "http://127.0.0.1:1"), clock=lambda: CLOSES[-1] + AFTER_CLOSE)
    assert verify(pipeline, H1).difference is None
    alone = replace(pipeline, store=Store(MemoryEngine()), policy=Policy())
    for close in CLOSES:
        process(alone, H1, now=close + AFTER_CLOSE)
    assert hashes(pipeline, H1) == hashes(alone, H1)
    with pipeline.store.reading(FOREVER) as session:
        state = session.ops.state(H1)
        assert state is not None
        assert (state.last_processed, state.consecutive_failures, state.running) == (CLOSES[-1], 0, None)
        passes = session.queries.passes(H1, 100)
        assert Counter(passes["status"]).keys() <= {"success", "no_new_data"}
        assert len(passes) == 2 * len(CLOSES)
        messages = sorted(session.outbox.newest(1000), key=lambda one: one.number)
        assert [one.number for one in messages] == list(range(1, len(messages) + 1))
        assert {one.status for one in messages} == {"sent"}
        assert received == [one.delivery_id for one in messages], "each once, and in order"
        told = session.data.read(H1, ALERTS, Window(CLOSES[0] - H1.step, CLOSES[-1]))
        items = session.outbox.items(H1, Window(BEGIN - timedelta(days=30), CLOSES[-1]))
        assert {item.alert_id for item in items if item.status == "told"} == set(told["alert_id"])
    assert len(messages) > 2


def take_another_meaning(end: Pipe, url: str, period: int, granularity: str) -> None:
    pipeline = make_pipeline(SimulatedSource(), open_store(url), NAMES, warmup=50, atr_period=period)
    now = CLOSES[0] + timedelta(days=14)
    end.send("ready")
    end.recv()
    try:
        process(pipeline, GRANULARITIES[granularity], now=now, deadline=Deadline.after(timedelta(seconds=PATIENCE)))
        end.send(period)
    except Exception as error:  # noqa: BLE001 - its words are what the test looks at
        end.send(f"{type(error).__name__} {error}")


def test_an_empty_store_takes_one_meaning_of_two(postgres: str) -> None:
    pipes = [CONTEXT.Pipe() for _ in range(4)]
    wanted = [(7, "H1"), (14, "H4"), (7, "D"), (14, "W")]
    processes = [
        start(take_another_meaning, there, postgres, *one) for (_, there), one in zip(pipes, wanted, strict=True)
    ]
    for here, _ in pipes:
        assert here.poll(PATIENCE)
        here.recv()
    for here, _ in pipes:
        here.send("go")
    said = [here.recv() if here.poll(PATIENCE) else "silence" for here, _ in pipes]
    for one in processes:
        finished(one)
    with open_store(postgres).reading(FOREVER) as session:
        stored = session.ops.provenance()
        assert stored is not None
        there = [name for name, g in GRANULARITIES.items() if session.data.last_time(g) is not None]
    assert there
    for (period, name), answer in zip(wanted, said, strict=True):
        assert (name in there) == (answer == period)
        if answer == period:
            assert period == stored.atr_period
        else:  # refused for good; or told to come again, where the meaning changed hands at that moment
            assert str(answer).startswith("StoreLocked" if period == stored.atr_period else ("Settings", "StoreLocked"))


# --- there and back ---------------------------------------------------------------------------------------------------


def test_a_copy_there_and_back(postgres: str, tmp_path: Path) -> None:
    market = market_of("H1")
    first, there = Store(MemoryEngine()), open_store(postgres)
    a_clean_backfill_passes_and_corrections(market, first)
    sent = copy(first, there, FOREVER)
    back = open_store(str(tmp_path / "back.duckdb"))
    assert copy(there, back, FOREVER) == sent
    assert [one.name for one in sent] == [place.name for place in PLACES]
    assert sum(one.rows for one in sent) > 1000
    for store in (there, back):
        assert hashes(market.pipeline(store), H1) == market.expected
        assert verify(market.pipeline(store), H1).difference is None
