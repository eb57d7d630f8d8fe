"""Round numbers of instruments that none are declared for: those of the oldest stored close, whichever way it came."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from spike_assets.granularity import H1
from spike_assets.instruments import GRIDS, Grid, grid_at
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.rebuild import rebuild
from spike_assets.pipeline.round_numbers import RoundNumbers
from spike_assets.sources.base import Fetched
from spike_assets.store.ops import Priced
from spike_assets.store.store import Store
from spike_assets.store.tables import CANDLES, DERIVED
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import (
    FOREVER,
    FrameSource,
    MemoryEngine,
    candle_frame,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    plain,
    run_window,
    tables,
)

NAMES = ("EUR_USD", "USD_JPY")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
RISES, FALLS = (-0.2, 0.0, -0.3, -0.05), (-0.05, 0.0, -0.4, -0.3)


def turns(n: int, price: float, *, since: int = 0) -> list[Candle]:
    """Give candles that rise and fall by turns about a price; every second one makes an event at it."""
    made = []
    for i in range(since, since + n):
        body = FALLS if i % 2 else RISES
        # Higher by turns, so that no pattern remembers how it began.
        here = price * (1 + i // 2 % 2 / 300)
        open_, high, low, close = (round(here * (1 + part / 100), 3) for part in body)
        made.append(Candle(hour(i), open_, high, low, close, 100 + i))
    return made


def market(*prices: float, first: int = 30) -> FrameSource:
    """Give hours of yen at these prices, the first thirty at the first one, and of euros beside them: ninety hours."""
    yen = [candle for k, price in enumerate(prices) for candle in turns(90 if k else first, price, since=first * k)]
    euros = turns(first + 90 * (len(prices) - 1), 1.1)
    return FrameSource(pd.concat([candle_frame("USD_JPY", yen), candle_frame("EUR_USD", euros)], ignore_index=True))


def pipeline_over(source: FrameSource) -> Pipeline:
    return make_pipeline(source, Store(MemoryEngine()), NAMES, atr_period=2)


def grids(pipeline: Pipeline) -> dict[str, Priced]:
    with pipeline.store.reading(FOREVER) as session:
        return session.ops.grids(H1)


def numbers(pipeline: Pipeline) -> list[str]:
    rows = plain(tables(pipeline, H1)["alerts"])
    return [row["reasons"] for row in rows if row["instrument"] == "USD_JPY" and "number" in row["reasons"]]


def test_declared_ones_are_not_written_down() -> None:
    pipeline = pipeline_over(market(150.0))
    run_window(pipeline, H1, Window(hour(0), hour(30)), LATER)
    first = pipeline.source.candles  # type: ignore[attr-defined]
    close = first[first["instrument"] == "USD_JPY"]["close"].iloc[0]
    assert grids(pipeline) == {"USD_JPY": Priced(hour(0), -2, grid_at(close, -2))}
    with pipeline.store.reading(FOREVER) as session:
        known = RoundNumbers.of(session, H1, [*NAMES, "USD_NOK"]).by_instrument
    assert known.keys() == {"EUR_USD", "USD_JPY"}
    assert known["EUR_USD"].grid == GRIDS["EUR_USD"]
    assert known["USD_JPY"].grid == Grid(500, 1000, 10000)


def test_they_follow_the_oldest_close_and_not_the_newest() -> None:
    """At 10 yen, a hundredth of the price is another step than at 150."""
    pipeline = pipeline_over(market(10.0, 150.0))
    run_window(pipeline, H1, Window(hour(0), hour(60)), LATER)
    old = grids(pipeline)["USD_JPY"].grid
    assert old == grid_at(10.0, -2)
    assert old != grid_at(150.0, -2)


@pytest.mark.parametrize("pieces", [[(10, 100), (0, 10)], [(80, 100), (20, 80), (5, 20), (0, 5)], [(45, 100), (0, 45)]])
def test_older_candles_that_change_them_change_all_alerts(pieces: list[tuple[int, int]]) -> None:
    """Those too that lie so far behind them that nothing else of them changes."""
    source = market(10.0, 150.0, first=10)
    pipeline = pipeline_over(source)
    seen = []
    for i, (first, last) in enumerate(pieces):
        run_window(pipeline, H1, Window(hour(first), hour(last)), LATER + timedelta(hours=i))
        seen.append(numbers(pipeline))
        assert pending_marks(pipeline, H1) == 0
        so_far = source.candles[source.candles["time"] >= hour(first)]
        assert hashes(pipeline, H1) == computed_hashes(so_far, H1, LATER, 2)
    assert grids(pipeline)["USD_JPY"] == Priced(hour(0), -2, grid_at(10.0, -2))
    assert not set(seen[0]) <= set(seen[-1]), "the numbers of the first alerts are others now"


def test_older_candles_that_do_not_change_them_are_remembered_all_the_same() -> None:
    pipeline = pipeline_over(market(150.0, 151.0))
    run_window(pipeline, H1, Window(hour(30), hour(60)), LATER)
    before = grids(pipeline)["USD_JPY"]
    run_window(pipeline, H1, Window(hour(0), hour(30)), LATER + timedelta(hours=1))
    assert (before.priced_at, grids(pipeline)["USD_JPY"]) == (hour(30), Priced(hour(0), -2, before.grid))


def test_a_corrected_oldest_close_changes_them() -> None:
    source = market(150.0)
    pipeline = pipeline_over(source)
    run_window(pipeline, H1, Window(hour(0), hour(30)), LATER)
    first = (source.candles["instrument"] == "USD_JPY") & (source.candles["time"] == hour(0))
    source.candles.loc[first, ["open", "high", "low", "close"]] = [10.0, 10.1, 9.9, 10.0]
    run_window(pipeline, H1, Window(hour(0), hour(1)), LATER + timedelta(hours=1))
    assert grids(pipeline)["USD_JPY"].grid == grid_at(10.0, -2)
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, LATER, 2)


def test_candles_that_are_discarded_take_their_numbers_with_them() -> None:
    """What comes then may begin later, and at another price."""
    source = market(10.0, 150.0)
    pipeline = pipeline_over(source)
    run_window(pipeline, H1, Window(hour(0), hour(60)), LATER)
    rebuild(pipeline, discard_candles=True)
    assert grids(pipeline) == {}
    run_window(pipeline, H1, Window(hour(40), hour(120)), LATER)
    assert grids(pipeline)["USD_JPY"].priced_at == hour(40)
    here = source.candles[source.candles["time"] >= hour(40)]
    assert hashes(pipeline, H1) == computed_hashes(here, H1, LATER, 2)


def test_an_oldest_candle_that_is_no_more_is_followed_by_a_later_one() -> None:
    pipeline = pipeline_over(market(10.0, 150.0))
    run_window(pipeline, H1, Window(hour(0), hour(60)), LATER)
    with pipeline.changing(H1, FOREVER, "a test") as session:
        for table in (CANDLES, *DERIVED):
            session.data.clear(H1, table)
    assert grids(pipeline)["USD_JPY"].priced_at == hour(0)
    run_window(pipeline, H1, Window(hour(40), hour(60)), LATER + timedelta(hours=1))
    assert grids(pipeline)["USD_JPY"].priced_at == hour(40)


class Listed(FrameSource):
    """A source that says what a pip is."""

    def fetch(self, *args: Any, **how: Any) -> Fetched:
        return Fetched(super().fetch(*args, **how).candles, {}, pip_locations={"USD_JPY": -4})


def test_pips_are_what_the_broker_says() -> None:
    source = Listed(market(1.5).candles)
    pipeline = pipeline_over(source)
    run_window(pipeline, H1, Window(hour(0), hour(30)), LATER)
    assert grids(pipeline)["USD_JPY"].pip_location == -4
    first = source.candles[source.candles["instrument"] == "USD_JPY"]["close"].iloc[0]
    assert grids(pipeline)["USD_JPY"].grid == grid_at(first, -4)
    assert all('"number":"1.' in reasons for reasons in numbers(pipeline))
    assert numbers(pipeline)
