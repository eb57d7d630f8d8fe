"""Ten instruments and 2,000 hours of real candles, and years of simulated ones, whichever way they come."""

import pickle
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from threading import Timer

import pytest

from spike_assets.granularity import GRANULARITIES
from spike_assets.market_hours import Window
from spike_assets.pipeline import process
from spike_assets.store.store import Store
from spike_assets_tests.invariants.runs import (
    AFTER_CLOSE,
    COMMITS,
    LATER,
    Market,
    captured_market,
    killed_everywhere,
    killed_pass,
    late_and_corrected,
    newest_half_first,
    simulated_market,
    tick_by_tick,
)
from spike_assets_tests.processes import finished, start
from spike_assets_tests.shared_data import SHARED
from spike_assets_tests.support import run_window

pytestmark = pytest.mark.soak

Tell = Callable[[str, object], None]

WINTER_2019 = Window(datetime(2018, 12, 31, tzinfo=UTC), datetime(2019, 4, 30, tzinfo=UTC))
"""2,016 hours in which the market was open; clocks change in New York on 10 March, in Europe on 31 March."""
TEN = (
    "AUD_CAD",
    "CAD_CHF",
    "EUR_NOK",
    "EUR_NZD",
    "EUR_USD",
    "GBP_AUD",
    "GBP_JPY",
    "NZD_JPY",
    "USD_HKD",
    "USD_TRY",
)
SPANS = {"H1": timedelta(days=12), "H4": timedelta(days=45), "D": timedelta(days=280), "W": timedelta(days=1400)}
"""About 200 candles of each; the captured market is the long one."""


def market_of(name: str) -> Market:
    if name == "captured":
        if not SHARED.is_dir():
            pytest.skip(f"captured market data is not at {SHARED}")
        return captured_market(TEN, WINTER_2019)
    start_ = datetime(2025, 2, 1, tzinfo=UTC)
    names = ("EUR_USD", "GBP_JPY", "USD_TRY")
    return simulated_market(GRANULARITIES[name], names, Window(start_, start_ + SPANS[name]))


@pytest.fixture(scope="module", params=["captured", *GRANULARITIES])
def market(request: pytest.FixtureRequest) -> Market:
    return market_of(request.param)


def test_size(market: Market, record_property: Tell) -> None:
    record_property("instruments", len(market.instruments))
    record_property("candle times", len(market.closes))
    record_property("candles", len(market.candles))
    for table, digest in market.expected.items():
        record_property(f"{table} SHA-256", digest[:16])


def test_tick_by_tick(market: Market, database: str, record_property: Tell) -> None:
    """(a)"""
    assert tick_by_tick(market, database) == market.expected
    record_property("passes", len(market.closes))


@pytest.mark.skipif(find_spec("spike_assets_tests.defs.running") is None, reason="there is no Dagster here yet")
@pytest.mark.parametrize("name", ["captured", "D"])
def test_dagster_range_runs(name: str, tmp_path: Path, database: str, record_property: Tell) -> None:
    """(b)"""
    from spike_assets_tests.defs import running

    market = market_of(name)
    pipeline = market.pipeline(database)
    keys = running.keys_of(market.granularity, market.window)
    runs = [keys[i : i + 500] for i in range(0, len(keys), 500)]
    with running.persistent(tmp_path) as instance:
        for part in runs:
            assert running.run(pipeline, part, instance, granularity=market.granularity).success
    assert market.ends_in(pipeline) == market.expected
    record_property("partitions", len(keys))
    record_property("range runs", len(runs))


def test_newest_half_first(market: Market, database: str) -> None:
    """(c)"""
    assert newest_half_first(market, database) == market.expected


@pytest.mark.parametrize("seed", range(5))
def test_late_and_corrected(market: Market, seed: int, store: Store, record_property: Tell) -> None:
    """(d)"""
    assert late_and_corrected(market, store, seed) == market.expected
    record_property("seed", seed)


@pytest.mark.parametrize("name", ["captured", "H1", "W"])
def test_killed_at_every_commit(name: str, tmp_path: Path, database: str, record_property: Tell) -> None:
    """(e)"""
    market = market_of(name)
    kills: list[int] = []
    stride = max(1, len(market.closes) // 200)
    assert killed_everywhere(market, database, tmp_path, kills.append, stride) == market.expected
    assert kills[0] >= 2 * COMMITS
    record_property("kill -9", kills[0])


@pytest.mark.parametrize("name", ["captured", "H1"])
def test_killed_at_any_moment(name: str, tmp_path: Path, database: str, record_property: Tell) -> None:
    """(e), wherever the process happens to be, checkpoints and openings included."""
    market = market_of(name)
    pipeline = market.pipeline(database)
    file = tmp_path / "market"
    file.write_bytes(pickle.dumps(market))
    chance = random.Random(5)
    killed = 0
    stride = max(1, len(market.closes) // 150)
    for close in [*market.closes[::stride], market.closes[-1]]:
        now = close + AFTER_CLOSE
        process_ = start(killed_pass, database, file, now, -1, True)
        killer = Timer(chance.uniform(0.05, 0.9), process_.kill)
        killer.start()
        code = finished(process_)
        killer.cancel()
        assert code in {0, -signal.SIGKILL}
        killed += code != 0
    process(pipeline, market.granularity, now=market.closes[-1] + 2 * AFTER_CLOSE)
    run_window(pipeline, market.granularity, market.window, LATER)
    assert market.ends_in(pipeline) == market.expected
    record_property("kill -9", killed)
