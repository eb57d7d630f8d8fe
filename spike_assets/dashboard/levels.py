"""Levels that stand against an instrument, and the candles that broke them."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from spike_assets.core.grouped import Bools, Floats, Ints, floats, micros
from spike_assets.dashboard.site import Finish, Question
from spike_assets.dashboard.views import Record, iso, records
from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.store.store import Session
from spike_assets.store.tables import EVENTS, FEATURES

NEAREST = 10
"""So many levels from before the chart that no candle has closed above are drawn."""

SPAN = 6000
"""So many candles' lengths back from the chart its nearest levels are looked for first."""

FARTHER = 5
"""So many times as far they are looked for then, before all that is left."""

MOST = 2000
"""So many levels at most."""

_COLUMNS = (
    *(column for column in EVENTS.columns if column.name in ("time", "event_id", "closed_at", "level", "suspect")),
    *(column for column in FEATURES.columns if column.name == "pattern"),
)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def levels(granularity: Granularity, instrument: str, start: datetime, end: datetime | None = None) -> Question:
    """Ask for the levels of events whose candle opens in `[start, end)`, and for the nearest unbroken older ones."""
    reading = _Reading(granularity, instrument, start, end or _LATEST)
    return Question(
        (reading.closes, reading.inside, reading.older, reading.farther, reading.oldest), lambda _: reading.told()
    )


class _Reading:
    """Reads levels step by step; each step uses what the ones before it have read.

    Of what lies before the chart only little is read. A level that a later candle closed above is broken; so no level
    that still stands is lower than the highest close since. Going back in time that only rises: where the nearest ones
    found lie no higher, there is nothing nearer further back.
    """

    def __init__(self, granularity: Granularity, instrument: str, start: datetime, end: datetime) -> None:
        self._granularity = granularity
        self._instrument = instrument
        self._start = start
        self._end = end
        self._back = max(start - SPAN * granularity.step, EARLIEST)
        self._closes = self._inside = self._older = self._before = pd.DataFrame()

    def closes(self, session: Session) -> Finish:
        """Read the closes of the chart."""
        self._closes = session.queries.closes(self._granularity, self._instrument, since=self._start)
        return _later

    def inside(self, session: Session) -> Finish:
        """Read the levels of the chart."""
        rows = session.queries.levels(self._granularity, self._instrument, since=self._start, before=self._end)
        self._inside = self._with_patterns(session, rows.tail(MOST))
        return _later

    def older(self, session: Session) -> Finish:
        """Read the nearest levels that stand from right before the chart."""
        self._before = session.queries.closes(self._granularity, self._instrument, since=self._back, before=self._start)
        self._older = self._standing(session, self._back, self._start, self._before)
        return _later

    def farther(self, session: Session) -> Finish:
        """Read on, several times as far, where nearer ones may lie."""
        if self._may_be_nearer():
            queries, what = session.queries, (self._granularity, self._instrument)
            since = max(self._start - FARTHER * SPAN * self._granularity.step, EARLIEST)
            rows = queries.levels(*what, since=since, before=self._back, least=self._least())
            closes = queries.closes(*what, since=since, before=self._back)
            self._older = pd.concat([rows[Broken(closes, rows).unbroken], self._older], ignore_index=True)
            self._before = pd.concat([closes, self._before], ignore_index=True)
            self._back = since
        return _later

    def oldest(self, session: Session) -> Finish:
        """Read those from before all that, where they may be nearer."""
        if self._may_be_nearer():
            rows = session.queries.levels(self._granularity, self._instrument, before=self._back, least=self._least())
            if not rows.empty:
                closes = session.queries.closes(
                    self._granularity,
                    self._instrument,
                    since=rows["time"].iloc[0],
                    before=self._back,
                    above=float(rows["level"].min()),
                )
                self._older = pd.concat([rows[Broken(closes, rows).unbroken], self._older], ignore_index=True)
        if not self._older.empty:
            nearest = _nearest(self._older, self._newest(session))
            self._older = self._with_patterns(session, nearest)
        return _later

    def _standing(self, session: Session, since: datetime, before: datetime, closes: pd.DataFrame) -> pd.DataFrame:
        """Read the levels of events in `[since, before)` that neither these closes nor the chart's have broken."""
        least = float(self._closes["close"].max()) if len(self._closes) else None
        rows = session.queries.levels(self._granularity, self._instrument, since=since, before=before, least=least)
        return rows[Broken(closes, rows).unbroken]

    def _least(self) -> float | None:
        """Give the highest close that was read: what stands from before is no lower. None where none was read."""
        return max((float(rows["close"].max()) for rows in (self._closes, self._before) if len(rows)), default=None)

    def _may_be_nearer(self) -> bool:
        """Tell whether further back there may be levels that are nearer than those found."""
        least = self._least()
        return least is None or int((floats(self._older, "level") <= least).sum()) < NEAREST

    def _newest(self, session: Session) -> float:
        """Give the newest close."""
        for rows in (self._closes, self._before):
            if len(rows):
                return float(rows["close"].iloc[-1])
        return float(session.queries.closes(self._granularity, self._instrument)["close"].iloc[-1])

    def _with_patterns(self, session: Session, rows: pd.DataFrame) -> pd.DataFrame:
        times = [time.to_pydatetime() for time in rows["time"]]
        return rows.merge(session.queries.patterns(self._granularity, self._instrument, times), how="left", on="time")

    def told(self) -> Record:
        """Give what was read, oldest first; of too many the newest."""
        broken = Broken(self._closes, self._inside)
        found = [one | {"broken_at": iso(broken.broken_at(i))} for i, one in enumerate(records(self._inside, _COLUMNS))]
        older = [] if self._older.empty else records(self._older, _COLUMNS)
        return {"levels": [*(one | {"broken_at": None} for one in older), *found][-MOST:]}


def _later() -> None:
    """Say nothing: the answer is made of all steps together."""


class Broken:
    """Which levels a later candle has closed above.

    Parameters
    ----------
    closes
        time, close of an instrument's candles, oldest first; those that close above none of the levels may be missing.
    events
        time, level of its events.
    """

    def __init__(self, closes: pd.DataFrame, events: pd.DataFrame) -> None:
        self._times = closes["time"]
        self._closes = floats(closes, "close")
        self._levels = floats(events, "level")
        self._behind: Ints = np.searchsorted(micros(closes["time"]), micros(events["time"]), side="right")
        highest = np.full(len(self._closes) + 1, -np.inf)
        highest[:-1] = np.maximum.accumulate(self._closes[::-1])[::-1]
        self.unbroken: Bools = highest[self._behind] <= self._levels

    def broken_at(self, i: int) -> datetime | None:
        """Give the open of the first later candle that closed above the i-th level; None when none has."""
        if self.unbroken[i]:
            return None
        start, length = int(self._behind[i]), 64
        while not (above := self._closes[start : start + length] > self._levels[i]).any():
            start, length = start + length, 2 * length
        found: datetime = self._times.iloc[start + int(np.argmax(above))].to_pydatetime()
        return found


def _nearest(rows: pd.DataFrame, close: float) -> pd.DataFrame:
    """Choose those nearest to a close, oldest first."""
    away: Floats = np.abs(floats(rows, "level") - close)
    return rows.iloc[np.sort(np.argsort(away, kind="stable")[:NEAREST])]
