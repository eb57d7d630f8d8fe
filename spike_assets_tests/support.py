"""Test doubles and helpers that several test modules share."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.sources.base import CANDLE_COLUMNS, Fetched, no_candles
from spike_assets.store import open_store
from spike_assets.store.tables import ATR, EVENTS, FEATURES, TABLES

INVARIANT = ("candles", "atr", "events", "features")


class FrameSource:
    """A source over a frame of candles that a test may change while it runs."""

    name = "frame"
    price = "mid"

    def __init__(self, candles: pd.DataFrame) -> None:
        self.candles = candles.reset_index(drop=True)
        self.asked: list[Mapping[str, Window]] = []

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        deadline.check("asking")
        self.asked.append(windows)
        known = set(self.candles["instrument"])
        parts = [self._part(granularity, name, window, now) for name, window in windows.items() if name in known]
        unavailable = {name: "not in the frame" for name in windows if name not in known}
        return Fetched(pd.concat([no_candles(), *parts]) if parts else no_candles(), unavailable)

    def _part(self, granularity: Granularity, name: str, window: Window, now: datetime) -> pd.DataFrame:
        rows = self.candles[self.candles["instrument"] == name]
        rows = rows[(rows["time"] >= window.start) & (rows["time"] < window.end)]
        closed = market_hours.candle_close(granularity, market_hours.utc_index(rows["time"])) <= pd.Timestamp(now)
        return rows.loc[np.asarray(closed), list(CANDLE_COLUMNS)]


def make_pipeline(source: object, database: Path, instruments: tuple[str, ...], **settings: object) -> Pipeline:
    """Give a pipeline on a database file; no warm-up unless asked for."""
    defaults: dict[str, object] = {"history_start": datetime(2020, 1, 1, tzinfo=UTC), "warmup": 0}
    return Pipeline(
        source=source,  # type: ignore[arg-type]
        store=open_store(str(database)),
        instruments=instruments,
        **(defaults | settings),  # type: ignore[arg-type]
    )


def hashes(pipeline: Pipeline, granularity: Granularity) -> dict[str, str]:
    """Give the content hash of every table that the invariant is about."""
    with pipeline.store.reading(Deadline.after(timedelta(seconds=30))) as session:
        return {name: session.data.content_hash(granularity, TABLES[name]) for name in INVARIANT}


def tables(pipeline: Pipeline, granularity: Granularity) -> dict[str, pd.DataFrame]:
    """Give the rows of the derived tables."""
    with pipeline.store.reading(Deadline.after(timedelta(seconds=30))) as session:
        return {table.name: session.data.read(granularity, table) for table in (ATR, EVENTS, FEATURES)}
