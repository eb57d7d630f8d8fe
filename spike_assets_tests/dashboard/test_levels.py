"""Levels against a look at every candle: which stand, which are the nearest, and what broke the others."""

from datetime import UTC, datetime
from typing import Any

import pytest

from spike_assets.dashboard import levels
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.pipeline.markets import memory
from spike_assets_tests.support import FOREVER, plain, stored_candles, tables

NAME = "USD_ZAR"
START, END = datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 2, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    found = memory(SimulatedSource(), ("EUR_USD", NAME), clock=lambda: END)
    backfill(found, H1, Window(START, END))
    return found


def slowly(pipeline: Pipeline, start: datetime, end: datetime, nearest: int) -> list[tuple[Any, ...]]:
    """Give time, level, pattern and what broke it, of all that a chart shows."""
    candles = [row for row in plain(stored_candles(pipeline, H1)) if row["instrument"] == NAME]
    rows = tables(pipeline, H1)
    patterns = {row["time"]: row["pattern"] for row in plain(rows["features"]) if row["instrument"] == NAME}
    found = []
    for event in plain(rows["events"]):
        if event["instrument"] == NAME:
            above = [one["time"] for one in candles if one["time"] > event["time"] and one["close"] > event["level"]]
            found.append((event["time"], event["level"], patterns[event["time"]], above[0] if above else None))
    close = candles[-1]["close"]
    older = [one for one in found if one[0] < start and one[3] is None]
    near = sorted(older, key=lambda one: abs(one[1] - close))[:nearest]
    return [one for one in found if start <= one[0] < end or one in near]


@pytest.mark.parametrize(
    "start", [START, datetime(2025, 1, 20, tzinfo=UTC), datetime(2025, 1, 31, 20, tzinfo=UTC), END]
)
@pytest.mark.parametrize("end", [datetime(2025, 1, 25, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize(("nearest", "span"), [(levels.NEAREST, levels.SPAN), (levels.NEAREST, 24), (2, 24)])
def test_levels(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, start: datetime, end: datetime, nearest: int, span: int
) -> None:
    monkeypatch.setattr(levels, "NEAREST", nearest)
    monkeypatch.setattr(levels, "SPAN", span)
    told = levels.levels(H1, NAME, start, end).ask(pipeline.store, FOREVER, "a test")["levels"]
    expected = slowly(pipeline, start, end, nearest)
    assert expected
    read = datetime.fromisoformat
    assert [
        (read(one["time"]), one["level"], one["pattern"], one["broken_at"] and read(one["broken_at"])) for one in told
    ] == expected


def test_of_too_many_the_newest_are_given(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    every = levels.levels(H1, NAME, START).ask(pipeline.store, FOREVER, "a test")["levels"]
    monkeypatch.setattr(levels, "MOST", 7)
    assert levels.levels(H1, NAME, START).ask(pipeline.store, FOREVER, "a test")["levels"] == every[-7:]


def test_an_instrument_without_candles_has_none(pipeline: Pipeline) -> None:
    assert levels.levels(H1, "USD_JPY", START).ask(pipeline.store, FOREVER, "a test") == {"levels": []}
