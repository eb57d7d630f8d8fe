"""Histories that are longer than what stages look back on and recompute at first."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window
from spike_assets.store.store import Store
from spike_assets_tests.engines import on_both
from spike_assets_tests.invariants.runs import LATER
from spike_assets_tests.support import (
    FrameSource,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    run_window,
    simulated,
)

CANDLES = 1_600
SPANS = {"H1": timedelta(days=98), "H4": timedelta(days=390), "D": timedelta(days=2250), "W": timedelta(weeks=1610)}

Correct = Callable[[pd.DataFrame, int], pd.DataFrame]


def price(candles: pd.DataFrame, at: int) -> pd.DataFrame:
    return candles.assign(high=candles["high"].where(candles.index != at, candles["high"] * 1.02))


def volume(candles: pd.DataFrame, at: int) -> pd.DataFrame:
    return candles.assign(volume=candles["volume"].where(candles.index != at, candles["volume"] + 1_000_000))


def candles_of(granularity: Granularity) -> pd.DataFrame:
    end = datetime(2035, 1, 1, tzinfo=UTC)
    return simulated(granularity, ("EUR_USD", "USD_TRY"), Window(end - SPANS[granularity.name], end))


@pytest.mark.parametrize(("engine", "name"), on_both(*GRANULARITIES, suite={"W"}))
def test_changes_reach_as_far_as_they_must(name: str, store: Store) -> None:
    """Corrections far back, late candles in the midst, and two such at once, far apart."""
    granularity = GRANULARITIES[name]
    candles = candles_of(granularity)
    first, last = candles["time"].min().to_pydatetime(), candles["time"].max().to_pydatetime()
    assert len(candles) > 2 * CANDLES
    late = {5, 700, len(candles) - 40}
    source = FrameSource(candles.drop(index=list(late)))
    pipeline = make_pipeline(source, store, ("EUR_USD", "USD_TRY"))
    corrections: list[tuple[Correct, int]] = [
        (volume, 40),
        (price, 60),
        (volume, 800),
        (price, CANDLES + 20),
        (price, 3),
    ]
    hours = 0

    def fetch(*rows: int) -> None:
        nonlocal hours
        for row in rows:
            hours += 1
            at = candles["time"][row].to_pydatetime()
            run_window(pipeline, granularity, Window(at, at + timedelta(hours=1)), LATER + timedelta(hours=hours))
        assert pending_marks(pipeline, granularity) == 0
        expected = computed_hashes(source.candles, granularity, LATER)
        assert hashes(pipeline, granularity) == expected

    run_window(pipeline, granularity, Window(first, last + granularity.step), LATER)
    fetch()
    for correct, row in corrections:
        source.candles = correct(
            source.candles, source.candles.index[source.candles["time"] == candles["time"][row]][0]
        )
        fetch(row)
    source.candles = candles
    fetch(*late, *(row for _, row in corrections))
