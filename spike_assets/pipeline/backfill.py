"""Loading history: the same stages as a pass, a chunk of candle times at a time.

A chunk is fetched without a lock, then stored and worked off under one, then others get their turn. How far it
came is remembered, so that an interrupted backfill goes on where it stopped.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.passes import Status, record_success, work_off
from spike_assets.pipeline.summary import Summary

CHUNK_TIMES = 5_000
"""How many candle times one chunk has."""

_CHUNK_LIMIT = timedelta(minutes=15)
"""What one chunk may take, waiting for others included."""


@dataclass(frozen=True)
class Progress:
    """How far a backfill has come: candle times done, of how many, and up to when."""

    done: int
    total: int
    until: datetime


@dataclass(frozen=True)
class BackfillResult:
    """What a backfill did, this time.

    Attributes
    ----------
    window
        What it was asked for, cut at the last closed candle.
    resumed_at
        Where it went on, when an earlier one had been interrupted.
    totals
        One summary per stage; `changed` is left empty.
    by_instrument
        Candles stored and events found, per instrument.
    """

    granularity: Granularity
    window: Window
    resumed_at: datetime | None
    totals: tuple[Summary, ...]
    by_instrument: dict[str, tuple[int, int]]
    milliseconds: float


def backfill(
    pipeline: Pipeline,
    granularity: Granularity,
    window: Window,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> BackfillResult:
    """Fetch every candle in `window` and compute all that follows from it.

    What is stored already is fetched again, so corrections and late candles come in. Interrupted, the same call
    goes on behind the last chunk that it finished.

    Parameters
    ----------
    window
        UTC; cut at the last closed candle.
    progress
        Called behind each chunk.
    """
    started = pipeline.clock()
    deadline = Deadline.after(_CHUNK_LIMIT)
    begin = deadline.monotonic()
    window = Window(window.start, min(window.end, market_hours.last_closed(granularity, started).end))
    instruments = hashlib.sha256(",".join(pipeline.instruments).encode()).hexdigest()
    with pipeline.store.reading(deadline, _purpose(granularity)) as session:
        resumed_at = session.ops.backfilled_until(granularity, window.start, instruments)
    if resumed_at and resumed_at >= window.end:
        resumed_at = None  # that of a longer one, which is not to be mistaken for this
    total = len(market_hours.candle_times(granularity, window))
    left = Window(resumed_at or window.start, window.end)
    done = total - len(market_hours.candle_times(granularity, left))
    progress(Progress(done, total, left.start))
    totals = _Totals()
    for chunk, times in _chunks(granularity, left):
        for summary in _load(pipeline, granularity, chunk, window.start, instruments):
            totals.add(summary)
        done += times
        progress(Progress(done, total, chunk.end))
    _finish(pipeline, granularity, window, instruments, started, totals)
    return BackfillResult(
        granularity,
        window,
        resumed_at,
        tuple(totals.by_stage.values()),
        totals.by_instrument(),
        (deadline.monotonic() - begin) * 1000,
    )


def _purpose(granularity: Granularity) -> str:
    return f"a backfill of {granularity}"


def _chunks(granularity: Granularity, window: Window) -> Iterator[tuple[Window, int]]:
    """Cut a window into adjoining ones of `CHUNK_TIMES` candle times; give each with its number of times."""
    times = market_hours.candle_times(granularity, window)
    cuts = [time.to_pydatetime() for time in times[CHUNK_TIMES::CHUNK_TIMES]]
    for i, (start, end) in enumerate(zip([window.start, *cuts], [*cuts, window.end], strict=True)):
        if start < end:
            yield Window(start, end), len(times[i * CHUNK_TIMES : (i + 1) * CHUNK_TIMES])


def _load(
    pipeline: Pipeline, granularity: Granularity, chunk: Window, start: datetime, instruments: str
) -> list[Summary]:
    deadline = Deadline.after(_CHUNK_LIMIT)
    now = pipeline.clock()
    # Those that the source did not know lately as well: whoever loads history may have brought them.
    asked = dict.fromkeys(pipeline.instruments, chunk)
    received = candles.fetch(pipeline, granularity, asked, now, deadline)
    with pipeline.changing(granularity, deadline, _purpose(granularity)) as session:
        summaries = work_off(pipeline, session, granularity, received, deadline)
        with session.transaction():
            session.ops.write_backfilled(granularity, start, instruments, chunk.end)
    return summaries


def _finish(
    pipeline: Pipeline,
    granularity: Granularity,
    window: Window,
    instruments: str,
    started: datetime,
    totals: "_Totals",
) -> None:
    summaries = list(totals.by_stage.values())
    status: Status = "success" if any(s.rows or s.quarantined for s in summaries) else "no_new_data"
    with (
        pipeline.changing(granularity, Deadline.after(_CHUNK_LIMIT), _purpose(granularity)) as session,
        session.transaction(),
    ):
        record_success(session, pipeline, granularity, window, started, "backfill", status, summaries)
        session.ops.finish_backfill(granularity, window.start, instruments)


class _Totals:
    """Adds up the summaries of many chunks, without their keys."""

    def __init__(self) -> None:
        self.by_stage: dict[str, Summary] = {}
        self._rows: dict[str, dict[str, int]] = {"candles": {}, "events": {}}

    def add(self, summary: Summary) -> None:
        total = self.by_stage.setdefault(summary.stage, Summary(summary.stage))
        total.added += summary.added
        total.updated += summary.updated
        total.removed += summary.removed
        total.quarantined += summary.quarantined
        total.milliseconds += summary.milliseconds
        total.unavailable = tuple(sorted({*total.unavailable, *summary.unavailable}))
        if summary.stage in self._rows:
            counts = self._rows[summary.stage]
            for instrument, rows in summary.by_instrument().items():
                counts[instrument] = counts.get(instrument, 0) + rows

    def by_instrument(self) -> dict[str, tuple[int, int]]:
        stored, found = self._rows["candles"], self._rows["events"]
        return {i: (stored.get(i, 0), found.get(i, 0)) for i in sorted(set(stored) | set(found))}
