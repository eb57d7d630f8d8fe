"""How every derived stage works off what is pending: the mechanism, not the formulas.

A mark says: rows of this instrument from `from_time` to `to_time` may be stale. The stage recomputes from there. It may
stop behind `to_time` once its rows, and the state that they hand on, are what is stored; else it goes on, mark by mark,
commit by commit. Each commit stores the rows, marks the stages downstream with what changed, and moves its own mark.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.pipeline.summary import Summary
from spike_assets.store.data import Changes, Span
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session
from spike_assets.store.tables import Table

TAIL_CANDLES = 600
"""How far behind a mark's end is recomputed at first: a Wilder ATR of 14 forgets a change in about 500 candles."""
CHUNK_CANDLES = 6_000
"""How many candles per instrument one commit recomputes, at most."""

_OPEN_SHARE = 5 / 7
"""The part of all time in which the market is open."""


class Stretch(NamedTuple):
    """What a stage recomputes of one instrument: rows with `start <= time < end`.

    `to_time` ends the mark; what changed lies between `began` and there, `began` perhaps before `start`.
    """

    instrument: str
    start: datetime
    to_time: datetime
    end: datetime
    began: datetime

    @property
    def span(self) -> Span:
        """The rows to recompute."""
        return Span(self.instrument, self.start, self.end)


@dataclass(frozen=True)
class Work:
    """What a stage computed for its stretches.

    Attributes
    ----------
    rows
        The rows of its table in the stretches, all of them.
    anchors
        Per instrument the newest candle behind the mark with this property: had it and all rows from it on been stored
        as they are now, then everything behind it is right as it is stored.
    """

    rows: pd.DataFrame
    anchors: dict[str, datetime]


Recompute = Callable[[Session, Granularity, Sequence[Stretch]], Work]
"""Recomputes the rows in stretches, one per instrument."""

Step = Callable[[Session, list[Mark]], tuple[Changes, bool]]
"""Works off, or shortens, marks of a stage, inside a transaction; gives what changed, and whether marks are left."""


@dataclass(frozen=True)
class Stage:
    """A derived stage; `downstream` names the stages that read its table."""

    table: Table
    downstream: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stage is called like its table."""
        return self.table.name


def settle(
    session: Session,
    granularity: Granularity,
    stage: Stage,
    step: Step,
    deadline: Deadline,
    steps: int | None = None,
) -> Summary:
    """Work off everything that is pending for a stage, or no more than so many commits of it."""
    summary = Summary(stage.name)
    with summary.timing():
        left = True
        for done in itertools.count():
            if not left or done == steps:
                break
            deadline.check(f"{granularity}/{stage.name}")
            with session.transaction():
                session.pending.hold(granularity)
                marks = session.pending.of(granularity, stage.name)
                if not marks:
                    break
                changes, left = step(session, marks)
                summary.take(changes)
    return summary


def instrument_by_instrument(granularity: Granularity, stage: Stage, recompute: Recompute) -> Step:
    """Give the step of a stage whose rows depend on their own instrument only: the first mark of every instrument."""

    def step(session: Session, marks: list[Mark]) -> tuple[Changes, bool]:
        first = list({mark.instrument: mark for mark in reversed(marks)}.values())
        stretches = [_stretch(granularity, mark) for mark in first]
        work = recompute(session, granularity, stretches)
        changes = session.data.replace(granularity, stage.table, [s.span for s in stretches], work.rows)
        ranges = changes.ranges()
        session.pending.mark(granularity, stage.downstream, ranges)
        remaining = _remaining(session, granularity, stretches, work.anchors, ranges)
        session.pending.clear(granularity, stage.name, first if len(first) < len(marks) else None)
        session.pending.mark(granularity, [stage.name], remaining)
        return changes, bool(remaining) or len(first) < len(marks)

    return step


def chunk_end(granularity: Granularity, start: datetime) -> datetime:
    """Give where a commit that begins at `start` has to end."""
    return start + CHUNK_CANDLES * granularity.step / _OPEN_SHARE


def _stretch(granularity: Granularity, mark: Mark) -> Stretch:
    tail = TAIL_CANDLES * granularity.step / _OPEN_SHARE
    end = min(mark.to_time + tail, chunk_end(granularity, mark.from_time))
    return Stretch(mark.instrument, mark.from_time, mark.to_time, end, mark.began)


def _remaining(
    session: Session,
    granularity: Granularity,
    stretches: Sequence[Stretch],
    anchors: dict[str, datetime],
    changed: Sequence[Mark],
) -> list[Mark]:
    """Give the marks of those instruments that are not done."""
    last_changed = {mark.instrument: mark.to_time for mark in changed}

    def done(stretch: Stretch) -> bool:
        anchor = anchors.get(stretch.instrument)
        if anchor is None or stretch.to_time >= stretch.end:
            return False
        return stretch.instrument not in last_changed or anchor > last_changed[stretch.instrument]

    unfinished = [stretch for stretch in stretches if not done(stretch)]
    goes_on = session.data.next_after(granularity, [stretch.span for stretch in unfinished])
    return [
        Mark(s.instrument, goes_on[s.instrument], max(s.to_time, goes_on[s.instrument]), s.began)
        for s in unfinished
        if s.instrument in goes_on
    ]
