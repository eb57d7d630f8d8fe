"""The derived stages: what each reads around its stretches, and from where on it may trust what is stored.

The last one, which looks at all instruments at once, stands in `alerts`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core import atr as atr_core
from spike_assets.core import events as events_core
from spike_assets.core import features as features_core
from spike_assets.core.grouped import Bools, Ints, micros, stretches
from spike_assets.granularity import Granularity
from spike_assets.pipeline.settle import Recompute, Stage, Stretch, Work
from spike_assets.store.data import Span
from spike_assets.store.rows import no_rows
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, ATR, CANDLES, EVENTS, FEATURES

ATR_STAGE = Stage(ATR, downstream=("events", "features"))
EVENTS_STAGE = Stage(EVENTS, downstream=("features", "alerts"))
FEATURES_STAGE = Stage(FEATURES, downstream=("alerts",))
ALERTS_STAGE = Stage(ALERTS, downstream=())

STAGES: tuple[Stage, ...] = (ATR_STAGE, EVENTS_STAGE, FEATURES_STAGE, ALERTS_STAGE)
"""The derived stages, upstream first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_CANDLES_BEFORE = 2
"""How many candles before a stretch are read at first: where none is missing, one would do."""
_FARTHER = 100
"""How many candles are read at least where that was too few."""

_BLIND_AFTER_EVENTS = features_core.LOOKBACK_EVENTS + 2
"""Behind how many events no feature can see a change before them."""


def recompute(stage: Stage, atr_period: int) -> Recompute:
    """Give the function that recomputes the rows of a stage that works instrument by instrument."""
    if stage is ATR_STAGE:
        return lambda session, granularity, todo: _atr(session, granularity, todo, atr_period)
    return {"events": _events, "features": _features}[stage.name]


def _atr(session: Session, granularity: Granularity, todo: Sequence[Stretch], period: int) -> Work:
    """Go on from the last known row; where that has no ATR yet, from the instrument's first candle."""

    def read(reach: Sequence[Span]) -> _Read:
        before = [Span(span.instrument, span.start, s.start) for span, s in zip(reach, todo, strict=True)]
        return _Read(
            session.data.read(granularity, CANDLES, reach, ["instrument", "time", "open", "high", "low", "close"]),
            session.data.read(granularity, ATR, before, ["instrument", "time", "true_range", "atr"]),
        )

    def short(found: _Read) -> set[str]:
        warm = found.other["instrument"][found.other["atr"].notna()]
        return {s.instrument for s in todo} - set(warm)

    found = _read_around(session, granularity, todo, read, short, _previous(granularity))
    rows = atr_core.atr(found.candles, period, found.other)
    rows = rows[_inside(rows, todo)]
    # While there is no ATR, equal rows do not mean an equal sum of true ranges.
    return Work(rows, _last_behind(rows[rows["atr"].notna()], todo))


def _events(session: Session, granularity: Granularity, todo: Sequence[Stretch]) -> Work:
    """Look at each candle and the one before, and at both their ATR rows."""

    def read(reach: Sequence[Span]) -> _Read:
        columns = ["instrument", "time", "open", "high", "low", "close", "volume"]
        return _Read(
            session.data.read(granularity, CANDLES, reach, columns),
            session.data.read(granularity, ATR, reach, ["instrument", "time", "atr", "suspect"]),
        )

    def short(found: _Read) -> set[str]:
        before = ~_inside(found.candles, todo)
        return {s.instrument for s in todo} - set(found.candles["instrument"][before])

    found = _read_around(session, granularity, todo, read, short, _previous(granularity))
    rows = events_core.events(found.candles, _row_for_row(found.candles, found.other), granularity)
    return Work(rows[_inside(rows, todo)], _last_behind(found.candles, todo))


def _features(session: Session, granularity: Granularity, todo: Sequence[Stretch]) -> Work:
    """Look at the events before, at the last 50 candles, and at 20 candles of the event's slot."""
    present = set(session.data.read(granularity, EVENTS, [s.span for s in todo], ["instrument"])["instrument"])
    busy = [s for s in todo if s.instrument in present]
    if not busy:
        return Work(no_rows(FEATURES), {})

    def read(reach: Sequence[Span]) -> _Read:
        columns = ["instrument", "time", "closed_at", "level", "atr", "volume"]
        return _Read(
            session.data.read(granularity, CANDLES, reach, ["instrument", "time", "volume"]),
            session.data.read(granularity, EVENTS, reach, columns),
        )

    def short(found: _Read) -> set[str]:
        histories = _histories(granularity, found, busy)
        return {s.instrument for s in busy if not _has_its_history(s, histories[s.instrument])}

    found = _read_around(session, granularity, busy, read, short, lambda _: granularity.lookback)
    histories = _histories(granularity, found, busy)
    last_runs = [Span(s.instrument, histories[s.instrument].last_event_before(s.start), s.start) for s in busy]
    known = session.data.read(granularity, FEATURES, last_runs, ["instrument", "time", "pattern_run"])
    rows = features_core.features(found.other, found.candles, granularity, known)
    return Work(rows[_inside(rows, busy)], _blind(session, granularity, busy, histories))


class _Read(NamedTuple):
    """Candles, and rows of another table, from before the stretches to their end."""

    candles: pd.DataFrame
    other: pd.DataFrame


def _read_around(
    session: Session,
    granularity: Granularity,
    todo: Sequence[Stretch],
    read: Callable[[Sequence[Span]], _Read],
    short: Callable[[_Read], set[str]],
    guess: Callable[[datetime], timedelta],
) -> _Read:
    """Read from before the stretches to their end; further back for those that come out short, while there is more."""
    guesses = {start: guess(start) for start in {s.start for s in todo}}
    back = {s.instrument: guesses[s.start] for s in todo}
    while True:
        reach = [Span(s.instrument, s.start - back[s.instrument], s.end) for s in todo]
        found = read(reach)
        wanting = short(found)
        if wanting:
            oldest = session.data.oldest(granularity)
            # One whose candles were all removed has no oldest.
            wanting = {
                s.instrument for s in reach if s.instrument in wanting and oldest.get(s.instrument, s.start) < s.start
            }
        if not wanting:
            return found
        back |= {instrument: max(back[instrument] * 4, _FARTHER * granularity.step) for instrument in wanting}


def _previous(granularity: Granularity) -> Callable[[datetime], timedelta]:
    """Give a guess of how far back of a time an instrument's previous candle lies."""
    return lambda start: start - market_hours.nth_candle_before(granularity, start, _CANDLES_BEFORE)


def _row_for_row(candles: pd.DataFrame, atr: pd.DataFrame) -> pd.DataFrame:
    """Give the ATR row of each candle. The ATR stage ran before, so each has one."""
    if len(candles) == len(atr) and np.array_equal(micros(candles["time"]), micros(atr["time"])):
        return atr
    # All but a candle that came between the stages: once it has, its mark brings this stage back.
    joined = candles[["instrument", "time"]].merge(atr, how="left", on=["instrument", "time"])
    joined["suspect"] = joined["suspect"].eq(True)
    return joined


def _since(rows: pd.DataFrame, times: dict[str, datetime]) -> Bools:
    """Tell which rows are at or behind their instrument's time; those of other instruments are not."""
    inside = np.zeros(len(rows), dtype=bool)
    at = micros(rows["time"])
    for instrument, where in stretches(rows).items():
        if instrument in times:
            inside[where] = at[where] >= _micros(times[instrument])
    return inside


def _inside(rows: pd.DataFrame, todo: Sequence[Stretch]) -> Bools:
    """Tell which rows are to be recomputed."""
    return _since(rows, {s.instrument: s.start for s in todo})


def _last_behind(rows: pd.DataFrame, todo: Sequence[Stretch]) -> dict[str, datetime]:
    """Give the time of each instrument's last row behind its mark."""
    at = micros(rows["time"])
    last = {name: _moment(at[where.stop - 1]) for name, where in stretches(rows).items()}
    return {s.instrument: last[s.instrument] for s in todo if last.get(s.instrument, s.to_time) > s.to_time}


class _History(NamedTuple):
    """What was read of one instrument: candle times and slots, event times (microseconds)."""

    candles: Ints
    slots: Ints
    events: Ints

    def last_event_before(self, time: datetime) -> datetime:
        """Give the last event before `time`, or `time`."""
        at = int(np.searchsorted(self.events, _micros(time)))
        return _moment(self.events[at - 1]) if at else time


def _histories(granularity: Granularity, found: _Read, todo: Sequence[Stretch]) -> dict[str, _History]:
    candles, events = micros(found.candles["time"]), micros(found.other["time"])
    slots = market_hours.slot(granularity, pd.DatetimeIndex(found.candles["time"]))
    of_candles, of_events = stretches(found.candles), stretches(found.other)
    nothing = slice(0, 0)
    return {
        s.instrument: _History(
            candles[of_candles.get(s.instrument, nothing)],
            slots[of_candles.get(s.instrument, nothing)],
            events[of_events.get(s.instrument, nothing)],
        )
        for s in todo
    }


def _has_its_history(stretch: Stretch, history: _History) -> bool:
    """Tell whether every event of the stretch has before it what features look at, as far as the stretch's start."""
    start = _micros(stretch.start)
    candles = int(np.searchsorted(history.candles, start))
    events = int(np.searchsorted(history.events, start))
    samples = np.bincount(history.slots[:candles], minlength=24)
    wanted = history.slots[np.searchsorted(history.candles, history.events[events:])]
    return (
        events >= features_core.LOOKBACK_EVENTS
        and candles >= features_core.LOOKBACK_CANDLES
        and bool((samples[wanted] >= features_core.VOLUME_SAMPLES).all())
    )


def _blind(
    session: Session, granularity: Granularity, todo: Sequence[Stretch], histories: dict[str, _History]
) -> dict[str, datetime]:
    """Give the last event of each instrument, where no feature from it on sees what changed."""
    behind = [s for s in todo if histories[s.instrument].candles[-1] > _micros(s.to_time)]
    # What changed may lie far before what was read: a mark that is the rest of a longer one remembers where it began.
    marked = [Span(s.instrument, s.began, s.to_time + timedelta(microseconds=1)) for s in behind]
    changed = session.data.read(granularity, CANDLES, marked, ["instrument", "time"])
    slots, of_changed = market_hours.slot(granularity, pd.DatetimeIndex(changed["time"])), stretches(changed)
    nothing = slice(0, 0)
    anchors = {
        s.instrument: _blind_from(s, histories[s.instrument], slots[of_changed.get(s.instrument, nothing)])
        for s in behind
    }
    return {instrument: anchor for instrument, anchor in anchors.items() if anchor is not None}


def _blind_from(stretch: Stretch, history: _History, changed_slots: Ints) -> datetime | None:
    """Give the last event, if all that it looks at lies behind the mark."""
    to_time = _micros(stretch.to_time)
    candles = history.candles[history.candles > to_time]
    slots = history.slots[len(history.candles) - len(candles) :]
    events = history.events[history.events > to_time]
    if len(candles) <= features_core.LOOKBACK_CANDLES or len(events) < _BLIND_AFTER_EVENTS:
        return None
    horizon = max(candles[features_core.LOOKBACK_CANDLES], events[_BLIND_AFTER_EVENTS - 1])
    for slot in np.unique(changed_slots):
        refilled = candles[slots == slot][features_core.VOLUME_SAMPLES - 1 :]
        if not len(refilled):
            return None
        horizon = max(horizon, refilled[0])
    return _moment(events[-1]) if events[-1] >= horizon else None


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(at))
