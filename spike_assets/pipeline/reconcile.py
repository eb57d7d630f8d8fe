"""Reconciling: the last days are fetched once more, for what the broker corrected or brought late.

The same functions as a pass. What no pass has come to yet is left to the next one: it goes on from each instrument's
last stored candle, and a candle stored ahead of that would hide the gap.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from spike_assets import market_hours
from spike_assets.alerts.queue import Occasion
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles, records
from spike_assets.pipeline.context import Pipeline, Watch
from spike_assets.pipeline.passes import work_off
from spike_assets.pipeline.summary import Status, Summary, status_of
from spike_assets.store.ops import Running
from spike_assets.store.store import Session

DAYS = 7
"""How far back a reconcile looks, unless told otherwise."""

# A correction at the window's start has everything behind it recomputed, and Dagster writes an event for every
# partition touched: about as much for each candle time as in a range run.
_PER_TIME = timedelta(seconds=0.5)


@dataclass(frozen=True)
class Reconciled:
    """What a reconcile did.

    Attributes
    ----------
    window
        The candles that were fetched once more, UTC.
    status
        `success`, or `no_new_data` when nothing was corrected, late or pending.
    summaries
        One per stage, upstream first; none for a granularity without any candle.
    first_processed
        What no pass had processed before, UTC; None when there is nothing of the kind.
    """

    granularity: Granularity
    window: Window
    status: Status
    summaries: tuple[Summary, ...] = ()
    first_processed: Window | None = None

    @property
    def touched(self) -> dict[str, list[datetime]]:
        """Give, by table, the opens (UTC, in order) of the candles whose rows were added, updated or removed."""
        return {summary.stage: _opens(summary.changed["time"]) for summary in self.summaries}


def _opens(times: "pd.Series[pd.Timestamp]") -> list[datetime]:
    return sorted({time.to_pydatetime().astimezone(UTC) for time in times})


def time_limit(granularity: Granularity, days: int = DAYS) -> timedelta:
    """Give what a reconcile of so many days may take, all attempts together."""
    times = timedelta(days=days) / granularity.step + 1
    return granularity.timeout + times * _PER_TIME


def reconcile(
    pipeline: Pipeline,
    granularity: Granularity,
    *,
    now: datetime | None = None,
    trigger: str = "reconcile",
    deadline: Deadline | None = None,
    days: int = DAYS,
    after_stage: Callable[[Summary], None] = lambda _: None,
) -> Reconciled:
    """Fetch the candles that closed in the last days once more, and let what changed propagate.

    A granularity without any candle is left alone: how history begins is the business of passes and backfills.

    Parameters
    ----------
    now
        The time of day, UTC; the pipeline's clock unless given.
    deadline
        When it has to have ended; `time_limit` from here unless given.
    days
        How many of them; those that closed longer ago are not looked at.
    after_stage
        Called behind each stage: what it did is stored, whatever becomes of the rest.

    Raises
    ------
    SpikeError
        It failed. Each stage's work is in the store completely or not at all; the next pass goes on with it.
    """
    watch = Watch(now or pipeline.clock())
    deadline = deadline or Deadline.after(time_limit(granularity, days))
    running = records.starting(trigger, watch.started, deadline.left())
    task = _Task(pipeline, granularity, reconcile_window(granularity, watch.started, days), watch, running, deadline)
    try:
        return _run(task, after_stage)
    except BaseException as error:  # Ctrl-C too: whoever looks should see that nobody is at it any more
        records.failure(pipeline, granularity, running, error)
        raise


def reconcile_window(granularity: Granularity, now: datetime, days: int = DAYS) -> Window:
    """Give the window of the candles that closed in the days before `now`; at W that is the last one."""
    end = market_hours.last_closed(granularity, now).end
    since = market_hours.utc_index([now - timedelta(days=days)])
    start = market_hours.candle_open(granularity, since)[0].to_pydatetime().astimezone(UTC)
    return Window(min(start, end), end)


@dataclass(frozen=True)
class _Task:
    """A reconcile, and what it is called while it runs."""

    pipeline: Pipeline
    granularity: Granularity
    window: Window
    watch: Watch
    running: Running
    deadline: Deadline

    @property
    def purpose(self) -> str:
        """What the store's lock file says of the holder."""
        return f"a reconcile of {self.granularity}"


def _run(task: _Task, after_stage: Callable[[Summary], None]) -> Reconciled:
    pipeline, granularity = task.pipeline, task.granularity
    asked = _begin(task)
    if asked is None:
        return Reconciled(granularity, task.window, "no_new_data")
    received = candles.fetch(pipeline, granularity, asked, task.watch, task.deadline)
    task.deadline.check("storing what came")
    with pipeline.changing(granularity, task.deadline, task.purpose) as session:
        summaries = work_off(
            pipeline,
            session,
            granularity,
            received,
            task.deadline,
            Occasion(task.watch.started, live=False),
            after_stage,
        )
        status = status_of(summaries)
        with session.transaction():
            before = records.last_processed(session, granularity)
            records.success(session, pipeline, granularity, task.running, task.window, status, summaries)
            after = records.last_processed(session, granularity)
    moved = Window(before, after) if before and after and before < after else None
    return Reconciled(granularity, task.window, status, tuple(summaries), moved)


def _begin(task: _Task) -> Mapping[str, Window] | None:
    """Say that it has begun, and give what is to be asked for; None where there is nothing to reconcile."""
    with task.pipeline.store.writing(task.deadline, task.purpose) as session:
        if session.data.last_time(task.granularity) is None:
            return None
        with session.transaction():
            task.pipeline.require_provenance(session)
            records.begin(session, task.granularity, task.running)
        return _asked(task, session)


def _asked(task: _Task, session: Session) -> Mapping[str, Window]:
    """Give the window for every instrument whose candles reach it."""
    if not task.window:
        return {}
    reached = market_hours.nth_candle_before(task.granularity, task.window.start, 1)
    willing = candles.willing(task.pipeline, session, task.granularity, task.watch.started)
    newest = session.data.newest(task.granularity, willing, reached)
    return {instrument: task.window for instrument in willing if instrument in newest and newest[instrument] >= reached}
