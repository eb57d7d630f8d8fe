"""What a chart is drawn from: candles, and the levels that stood against them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.features import against_slot
from spike_assets.core.grouped import Bools, Floats, Ints, floats, micros
from spike_assets.dashboard.site import Finish
from spike_assets.dashboard.views import Record, chosen, iso, records
from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.store.queries import CANDLE_COLUMNS
from spike_assets.store.store import Session
from spike_assets.store.tables import EVENTS, FEATURES, Column

NEAREST = 10
"""So many levels from before the chart that no candle has closed above are drawn."""

MOST = 2000
"""So many levels at most."""

_LEVEL = (
    *(column for column in EVENTS.columns if column.name in ("time", "event_id", "closed_at", "level", "suspect")),
    *(column for column in FEATURES.columns if column.name == "pattern"),
)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_SHOWN = ("time", "open", "high", "low", "close", "volume", "atr", "relative_volume", "suspect")
_COLUMNS = (*CANDLE_COLUMNS, Column("relative_volume", "float", "…", "below 10 samples"))


def candles(
    session: Session, granularity: Granularity, instrument: str, *, limit: int, before: datetime | None = None
) -> Finish:
    """Read the newest candles of an instrument that open before a time, for `GET /api/candles`."""
    newest = session.data.last_time(granularity)
    end = before or (_LATEST if newest is None else newest + timedelta(microseconds=1))
    decimals = session.ops.decimals([instrument])[instrument]
    # One more than is asked for tells whether there are older ones; relative_volume looks back further still.
    start = market_hours.nth_candle_before(granularity, end, limit + 1) - 2 * granularity.lookback
    rows = session.queries.candles(granularity, max(start, EARLIEST), end, [instrument])
    if len(rows) <= limit and newest is not None:  # holes, or no more than that at all
        rows = session.queries.candles(granularity, EARLIEST, end, [instrument])

    def finish() -> Record:
        return {
            "instrument": instrument,
            "granularity": granularity.name,
            "decimals": decimals,
            "candles": [candle for _, candle in shown(with_volume(granularity, rows).tail(limit))],
            "more": len(rows) > limit,
        }

    return finish


def with_volume(granularity: Granularity, rows: pd.DataFrame) -> pd.DataFrame:
    """Give candles, sorted by (instrument, time), with `relative_volume` against those before them."""
    relative, _ = against_slot(rows, rows, granularity)
    return rows.assign(relative_volume=relative)


def shown(rows: pd.DataFrame) -> list[tuple[str, Record]]:
    """Give candles as the page knows them, each with its instrument; without an ATR row none is suspect."""
    return [
        (one["instrument"], chosen(one, *_SHOWN) | {"suspect": bool(one["suspect"])}) for one in records(rows, _COLUMNS)
    ]


def levels(
    session: Session, granularity: Granularity, instrument: str, start: datetime, end: datetime | None = None
) -> Finish:
    """Read the levels of events whose candle opens in `[start, end)`, and unbroken older ones."""
    closes = session.queries.closes(granularity, instrument)
    events = session.queries.levels(granularity, instrument)
    patterns = session.queries.patterns(granularity, instrument)

    def finish() -> Record:
        times = micros(events["time"])
        inside = (times >= _micros(start)) & (times < _micros(end or _LATEST))
        broken = Broken(closes, events)
        chosen_ = inside | _nearest(closes, events, broken.unbroken & (times < _micros(start)))
        # The newest ones, where somebody asks for decades.
        shown_ = events.iloc[np.flatnonzero(chosen_)[-MOST:]]
        found = records(shown_.merge(patterns, how="left", on="time"), _LEVEL)
        at = shown_.index.tolist()
        return {"levels": [one | {"broken_at": iso(broken.broken_at(i))} for i, one in zip(at, found, strict=True)]}

    return finish


class Broken:
    """Which levels a later candle has closed above.

    Parameters
    ----------
    closes
        time, close of all candles of an instrument, oldest first.
    events
        time, level of events at some of these.
    """

    def __init__(self, closes: pd.DataFrame, events: pd.DataFrame) -> None:
        self._times = closes["time"]
        self._closes = floats(closes, "close")
        self._levels = floats(events, "level")
        self._at: Ints = np.searchsorted(micros(closes["time"]), micros(events["time"]))
        highest = np.full(len(self._closes) + 2, -np.inf)
        highest[: len(self._closes)] = np.maximum.accumulate(self._closes[::-1])[::-1]
        self.unbroken: Bools = highest[self._at + 1] <= self._levels

    def broken_at(self, i: int) -> datetime | None:
        """Give the open of the first later candle that closed above the i-th level; None when none has."""
        if self.unbroken[i]:
            return None
        start, length = int(self._at[i]) + 1, 64
        while not (above := self._closes[start : start + length] > self._levels[i]).any():
            start, length = start + length, 2 * length
        found: datetime = self._times.iloc[start + int(np.argmax(above))].to_pydatetime()
        return found


def _nearest(closes: pd.DataFrame, events: pd.DataFrame, among: Bools) -> Bools:
    """Choose those nearest to the newest close."""
    near = np.zeros(len(events), dtype=bool)
    if among.any():
        away: Floats = np.abs(floats(events, "level") - float(closes["close"].iloc[-1]))
        away[~among] = np.inf
        near[np.argsort(away, kind="stable")[: min(NEAREST, int(among.sum()))]] = True
    return near


def _micros(time: datetime) -> int:
    return int((time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
