"""Real and simulated candles, whichever way they come: bit for bit what the pure functions make of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window
from spike_assets.store.store import Store
from spike_assets.store.tables import TABLES
from spike_assets_tests.engines import on_both
from spike_assets_tests.invariants.runs import (
    COMMITS,
    Market,
    captured_market,
    killed_everywhere,
    late_and_corrected,
    newest_half_first,
    simulated_market,
    tick_by_tick,
)
from spike_assets_tests.shared_data import SHARED
from spike_assets_tests.support import MemoryEngine

MARCH_2019 = Window(datetime(2019, 3, 4, tzinfo=UTC), datetime(2019, 3, 19, tzinfo=UTC))
"""New York puts its clocks forward on the 10th; 264 hours in which the market was open."""

CLOCK_CHANGE = Window(datetime(2019, 3, 7, tzinfo=UTC), datetime(2019, 3, 12, tzinfo=UTC))
"""The days around it, for what takes a pass for each hour."""

SPANS = {"H1": timedelta(days=9), "H4": timedelta(days=35), "D": timedelta(days=170), "W": timedelta(days=800)}
NAMES = ("EUR_USD", "USD_JPY", "USD_TRY")


def market_of(name: str, part: float = 1) -> Market:
    if name == "captured":
        if not SHARED.is_dir():
            pytest.skip(f"captured market data is not at {SHARED}")
        return captured_market(("EUR_USD", "GBP_AUD", "NZD_JPY"), MARCH_2019 if part == 1 else CLOCK_CHANGE)
    granularity: Granularity = GRANULARITIES[name]
    start = datetime(2025, 2, 26, tzinfo=UTC)
    return simulated_market(granularity, NAMES, Window(start, start + SPANS[name] * part))


@pytest.fixture(scope="module", params=["captured", *GRANULARITIES])
def market(request: pytest.FixtureRequest) -> Market:
    return market_of(request.param)


def test_there_is_something_to_compare(market: Market) -> None:
    assert len(market.closes) > 100
    assert list(market.expected) == ["candles", "atr", "events", "features", "alerts"]
    assert set(market.expected) < set(TABLES)


@pytest.mark.parametrize(
    ("engine", "name", "part"), on_both(("captured", 0.3), ("H1", 0.4), ("W", 0.4), suite=[("W", 0.4)])
)
def test_tick_by_tick(name: str, part: float, store: Store) -> None:
    market = market_of(name, part)
    assert tick_by_tick(market, store) == market.expected


def test_newest_half_first(market: Market, store: Store) -> None:
    assert newest_half_first(market, store) == market.expected


def test_late_and_corrected_candles(market: Market, store: Store) -> None:
    assert late_and_corrected(market, store) == market.expected


def test_late_and_corrected_candles_where_keys_are_declared() -> None:
    market = market_of("H1")
    assert late_and_corrected(market, Store(MemoryEngine(natural_keys=True))) == market.expected


def test_killed_at_every_commit(database: str, tmp_path: Path) -> None:
    market = market_of("H1")
    kills: list[int] = []
    stride = len(market.closes) // (2 * COMMITS) + 1
    assert killed_everywhere(market, database, tmp_path, kills.append, stride) == market.expected
    assert kills[0] >= 2 * (COMMITS - 1)
