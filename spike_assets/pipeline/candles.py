"""The first stage: which candles to ask for, and storing what came.

Fetching holds no lock. What comes is validated; the rest goes into quarantine, and nothing is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from spike_assets import market_hours
from spike_assets.core.quality import validate
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import records
from spike_assets.pipeline.context import Pipeline, Watch
from spike_assets.pipeline.stages import STAGES
from spike_assets.pipeline.summary import Summary
from spike_assets.sources.base import Fetched, no_candles
from spike_assets.store.data import Changes, Span
from spike_assets.store.store import Session

_LATELY = 100
"""How many candles back an instrument's newest one is looked for first: over a weekend, for H1."""

ASK_AGAIN = timedelta(days=1)
"""How long an instrument that the source does not know is left alone."""


@dataclass(frozen=True)
class Received:
    """What a source gave.

    Attributes
    ----------
    now
        When it was asked; by then candles had to have closed.
    fetched_at
        When the whole of it was there.
    came_at
        Per instrument, when its answer came, if before.
    exact
        Whether what is stored where candles were asked for, and did not come, is to go.
    """

    asked: Mapping[str, Window]
    fetched: Fetched
    now: datetime
    fetched_at: datetime
    came_at: Mapping[str, datetime] = field(default_factory=dict)
    exact: bool = False

    @property
    def unavailable(self) -> tuple[str, ...]:
        """Instruments that the source does not know."""
        return tuple(sorted(self.fetched.unavailable))


def willing(pipeline: Pipeline, session: Session, granularity: Granularity, now: datetime) -> list[str]:
    """Give the instruments to ask for: all but those that the source did not know less than a day ago."""
    known = session.ops.unavailable(granularity)
    resting = set(known["instrument"][known["asked_at"] > now - ASK_AGAIN])
    return [instrument for instrument in pipeline.instruments if instrument not in resting]


def windows(
    pipeline: Pipeline, session: Session, granularity: Granularity, window: Window, now: datetime
) -> dict[str, Window]:
    """Give what is to be asked for: per instrument from its last stored candle, or from the window's start.

    An instrument without any candle is asked for its warm-up as well. Nothing is asked of an instrument that has
    every candle up to the window's end, and once a day only of one that the source does not know. Before the first
    pass, what lies between a backfill's candles and the warm-up is the backfill's business.
    """
    first = records.last_processed(session, granularity) is None
    asked = willing(pipeline, session, granularity, now)
    newest = session.data.newest(granularity, asked, window.start - _LATELY * granularity.step)
    starts = {i: _start(pipeline, granularity, window, newest.get(i), first=first) for i in asked}
    return {i: Window(start, window.end) for i, start in starts.items() if start < window.end}


def _start(
    pipeline: Pipeline, granularity: Granularity, window: Window, newest: datetime | None, *, first: bool
) -> datetime:
    if newest is not None and newest >= window.start:
        return window.start
    behind = None if newest is None else market_hours.close_of(granularity, newest)
    if behind is not None and not first:
        return behind
    warm = window.start
    if pipeline.warmup:
        warm = market_hours.nth_candle_before(granularity, window.start, pipeline.warmup)
    return warm if behind is None else max(warm, behind)


def fetch(
    pipeline: Pipeline, granularity: Granularity, asked: Mapping[str, Window], watch: Watch, deadline: Deadline
) -> Received:
    """Ask the source."""
    fetched = Fetched(no_candles())
    if asked:
        fetched = pipeline.source.fetch(granularity, asked, now=watch.started, deadline=deadline)
    came_at = {instrument: watch.at(moment) for instrument, moment in fetched.came_at.items()}
    return Received(asked, fetched, watch.started, watch.now(), came_at)


def store(session: Session, granularity: Granularity, received: Received) -> Summary:
    """Store what came, in one transaction, and mark the changed range for every stage downstream."""
    summary = Summary("candles", unavailable=received.unavailable)
    with summary.timing(), session.transaction():
        told_apart = validate(received.fetched.candles, granularity, received.now)
        came_at = dict.fromkeys(told_apart.candles["instrument"], received.fetched_at) | dict(received.came_at)
        changes = session.data.write_candles(granularity, told_apart.candles, came_at)
        session.pending.mark(granularity, [stage.name for stage in STAGES], changes.ranges())
        if received.exact:
            summary.take(_remove_omitted(session, granularity, received))
        rejected = session.data.write_quarantine(granularity, told_apart.rejected, received.fetched_at)
        _note_unavailable(session, granularity, received)
        if received.fetched.pip_locations:
            session.ops.write_pips(received.fetched.pip_locations)
        summary.take(changes)
        summary.quarantined = rejected.added
        summary.missing = _missing(granularity, received, told_apart.candles)
    return summary


def _remove_omitted(session: Session, granularity: Granularity, received: Received) -> Changes:
    """Remove what the source no longer has; everything behind it is marked, for nobody sees where it lay."""
    answered = {name: window for name, window in received.asked.items() if name not in received.fetched.unavailable}
    spans = [Span(name, window.start, window.end) for name, window in answered.items()]
    came_at = dict.fromkeys(answered, received.fetched_at) | dict(received.came_at)
    changes = session.data.remove_omitted(granularity, spans, received.fetched.candles, came_at)
    newest = session.data.newest(granularity, list(answered), received.now - granularity.lookback)
    marks = [
        mark._replace(to_time=max(mark.to_time, newest.get(mark.instrument, mark.to_time))) for mark in changes.ranges()
    ]
    session.pending.mark(granularity, [stage.name for stage in STAGES], marks)
    return changes


def _note_unavailable(session: Session, granularity: Granularity, received: Received) -> None:
    resting = set(session.ops.unavailable(granularity)["instrument"])
    for instrument, reason in received.fetched.unavailable.items():
        session.ops.write_unavailable(granularity, instrument, reason, received.now)
    for instrument in sorted(resting & set(received.asked) - set(received.fetched.unavailable)):
        session.ops.write_available(granularity, instrument)


def _missing(granularity: Granularity, received: Received, valid: pd.DataFrame) -> tuple[str, ...]:
    """Give the instruments that were asked for the newest candle and did not have it."""
    if not received.asked:
        return ()
    end = max(window.end for window in received.asked.values())
    newest = market_hours.last_closed(granularity, end).start
    have = set(valid["instrument"][valid["time"] == newest])
    asked = {i for i, window in received.asked.items() if window.start <= newest}
    return tuple(sorted(asked - have - set(received.unavailable)))
