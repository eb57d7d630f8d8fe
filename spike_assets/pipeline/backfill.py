"""Loading history: the same stages as a pass, a chunk of candle times at a time.

A chunk is fetched without a lock, then stored and worked off under one, then others get their turn. How far it
came is remembered, so that an interrupted backfill goes on where it stopped.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.alerts.queue import Occasion
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles, records
from spike_assets.pipeline.context import Pipeline, Watch
from spike_assets.pipeline.passes import work_off
from spike_assets.pipeline.summary import Summary, status_of
from spike_assets.store.ops import Running

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
    exact: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> BackfillResult:
    """Fetch every candle in `window` and compute all that follows from it.

    What is stored already is fetched again, so corrections and late candles come in. Interrupted, the same call
    goes on behind the last chunk that it finished.

    Parameters
    ----------
    window
        UTC; cut at the last closed candle.
    exact
        Remove candles of the window that the source no longer has.
    progress
        Called behind each chunk.
    """
    watch = Watch(pipeline.clock())
    running = records.starting("backfill", watch.started, _CHUNK_LIMIT)
    window = Window(window.start, min(window.end, market_hours.last_closed(granularity, watch.started).end))
    task = _Task(pipeline, granularity, window, running, exact)
    try:
        resumed_at, totals = _run(task, progress)
    except BaseException as error:  # Ctrl-C too: whoever looks should see that nobody is at it any more
        records.failure(pipeline, granularity, running, error)
        raise
    return BackfillResult(
        granularity,
        window,
        resumed_at,
        tuple(totals.by_stage.values()),
        totals.by_instrument(),
        watch.milliseconds(),
    )


@dataclass(frozen=True)
class _Task:
    """A backfill: what is to be done, and what it is called while it runs."""

    pipeline: Pipeline
    granularity: Granularity
    window: Window
    running: Running
    exact: bool

    @property
    def purpose(self) -> str:
        """What the store's lock file says of the holder."""
        return f"a backfill of {self.granularity}"

    @property
    def instruments(self) -> str:
        """What it is about, for whoever finds it unfinished."""
        names = (*self.pipeline.instruments, *(["exact"] if self.exact else []))
        return hashlib.sha256(",".join(names).encode()).hexdigest()


def _run(task: _Task, progress: Callable[[Progress], None]) -> tuple[datetime | None, "_Totals"]:
    """Go through the chunks that are left; tell where it went on, and what was done."""
    resumed_at = _begin(task)
    total = len(market_hours.candle_times(task.granularity, task.window))
    left = Window(resumed_at or task.window.start, task.window.end)
    done = total - len(market_hours.candle_times(task.granularity, left))
    progress(Progress(done, total, left.start))
    totals = _Totals()
    for chunk, times in _chunks(task.granularity, left):
        for summary in _load(task, chunk):
            totals.add(summary)
        done += times
        progress(Progress(done, total, chunk.end))
    _finish(task, totals)
    return resumed_at, totals


def _begin(task: _Task) -> datetime | None:
    """Say that it has begun; tell where an interrupted one had stopped."""
    with task.pipeline.store.writing(Deadline.after(_CHUNK_LIMIT), task.purpose) as session:
        with session.transaction():
            task.pipeline.require_provenance(session)
            records.begin(session, task.granularity, task.running)
        done = session.ops.backfilled_until(task.granularity, task.window.start, task.instruments)
    # One that is further on was longer, and is not to be mistaken for this.
    return None if done and done >= task.window.end else done


def _chunks(granularity: Granularity, window: Window) -> Iterator[tuple[Window, int]]:
    """Cut a window into adjoining ones of `CHUNK_TIMES` candle times; give each with its number of times."""
    times = market_hours.candle_times(granularity, window)
    cuts = [time.to_pydatetime() for time in times[CHUNK_TIMES::CHUNK_TIMES]]
    for i, (start, end) in enumerate(zip([window.start, *cuts], [*cuts, window.end], strict=True)):
        if start < end:
            yield Window(start, end), len(times[i * CHUNK_TIMES : (i + 1) * CHUNK_TIMES])


def _load(task: _Task, chunk: Window) -> list[Summary]:
    pipeline, granularity = task.pipeline, task.granularity
    deadline, watch = Deadline.after(_CHUNK_LIMIT), Watch(pipeline.clock())
    # Those that the source did not know lately as well: whoever loads history may have brought them.
    asked = dict.fromkeys(pipeline.instruments, chunk)
    received = replace(candles.fetch(pipeline, granularity, asked, watch, deadline), exact=task.exact)
    with pipeline.changing(granularity, deadline, task.purpose) as session:
        occasion = Occasion(watch.started, live=False)
        summaries = work_off(pipeline, session, granularity, received, deadline, occasion)
        with session.transaction():
            session.ops.write_backfilled(granularity, task.window.start, task.instruments, chunk.end)
            records.still_running(session, granularity, task.running, watch.now() + _CHUNK_LIMIT)
    return summaries


def _finish(task: _Task, totals: "_Totals") -> None:
    summaries = list(totals.by_stage.values())
    with (
        task.pipeline.changing(task.granularity, Deadline.after(_CHUNK_LIMIT), task.purpose) as session,
        session.transaction(),
    ):
        records.success(
            session, task.pipeline, task.granularity, task.running, task.window, status_of(summaries), summaries
        )
        session.ops.finish_backfill(task.granularity, task.window.start, task.instruments)


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
