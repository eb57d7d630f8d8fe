"""A small market that tests of passes change at will: H1 candles of March 2025, one price, one volume."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window, candle_times
from spike_assets.pipeline import Pipeline
from spike_assets.store.ops import State
from spike_assets.store.store import Store
from spike_assets_tests.oracle import Candle
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, candle_frame, make_pipeline, stored_candles

MONDAY = datetime(2025, 3, 10, 0, tzinfo=UTC)
NAMES = ("EUR_USD", "USD_JPY")
SOON = timedelta(minutes=5)


def hour(n: float) -> datetime:
    """Give the time n hours into Monday, 10 March 2025, UTC."""
    return MONDAY + timedelta(hours=n)


def flat(time: datetime, volume: int = 7) -> Candle:
    return Candle(time, 1.0, 1.5, 0.5, 1.25, volume)


def market(hours: Iterable[int] = range(48), names: tuple[str, ...] = NAMES) -> FrameSource:
    """Give a source with a candle at each of these hours."""
    times = [hour(n) for n in hours]
    return FrameSource(pd.concat([candle_frame(name, [flat(time) for time in times]) for name in names]))


def without(source: FrameSource, name: str, *hours: int) -> pd.DataFrame:
    """Give a source's candles but for some of an instrument."""
    rows = source.candles
    gone = (rows["instrument"] == name) & rows["time"].isin([hour(n) for n in hours])
    return rows[~gone].reset_index(drop=True)


def changed(source: FrameSource, name: str, n: int, **values: float) -> pd.DataFrame:
    """Give a source's candles with other values at one hour of an instrument."""
    rows = source.candles.copy()
    here = np.asarray((rows["instrument"] == name) & (rows["time"] == hour(n)))
    assert here.sum() == 1
    for column, value in values.items():
        rows[column] = rows[column].where(~here, value)
    return rows


def memory(source: object, names: tuple[str, ...] = NAMES, **settings: object) -> Pipeline:
    """Give a pipeline on a store in memory."""
    return make_pipeline(source, Store(MemoryEngine()), names, **settings)


def hours_stored(pipeline: Pipeline, name: str, granularity: Granularity = H1) -> list[int]:
    """Give the hours of an instrument that are stored."""
    rows = stored_candles(pipeline, granularity)
    return [int((time - MONDAY) / timedelta(hours=1)) for time in rows["time"][rows["instrument"] == name]]


def asked(source: FrameSource) -> dict[str, tuple[float, float]]:
    """Give what the source was asked for last, in hours."""
    return {
        name: ((w.start - MONDAY) / timedelta(hours=1), (w.end - MONDAY) / timedelta(hours=1))
        for name, w in source.asked[-1].items()
    }


def state(pipeline: Pipeline, granularity: Granularity = H1) -> State:
    with pipeline.store.reading(FOREVER) as session:
        found = session.ops.state(granularity)
    assert found is not None
    return found


def lose_state(pipeline: Pipeline, granularity: Granularity = H1) -> None:
    with pipeline.store.writing(FOREVER, "a test") as session:
        session.ops.forget(granularity)


def hours_of(granularity: Granularity, window: Window) -> list[datetime]:
    return [time.astimezone(UTC) for time in candle_times(granularity, window).to_pydatetime()]
