"""A pass: one run of the pipeline over one granularity, and what the platform remembers of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.settle import Stage, settle
from spike_assets.pipeline.stages import STAGES, recompute
from spike_assets.pipeline.summary import Summary
from spike_assets.store.ops import Pass, State
from spike_assets.store.store import Session
from spike_assets.store.tables import EVENTS

Status = Literal["success", "no_new_data", "failed"]

MOST_CANDLES = 500
"""How many candle times one pass works through; after downtime the oldest first, the rest with the next passes."""

_RECORD_FAILURE = timedelta(seconds=2)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassResult:
    """What a pass did.

    Attributes
    ----------
    status
        `success`, or `no_new_data` when there was nothing to store and nothing pending.
    window
        The candles it was about.
    summaries
        One per stage, upstream first.
    behind
        How many candle times are still to be worked through by the next passes.
    """

    granularity: Granularity
    status: Status
    window: Window
    summaries: tuple[Summary, ...]
    duration_ms: float
    behind: int = 0
    errors: tuple[str, ...] = field(default=())

    def processed(self) -> list[dict[str, str | int]]:
        """Give, for each instrument with news, how many candles were stored and how many events were found."""
        counts = {summary.stage: summary.by_instrument() for summary in self.summaries}
        stored, found = counts.get("candles", {}), counts.get("events", {})
        return [
            {"instrument": i, "candles_processed": stored.get(i, 0), "events_detected": found.get(i, 0)}
            for i in sorted(set(stored) | set(found))
        ]

    def as_json(self) -> dict[str, object]:
        """Give the answer that the command line prints and the cloud function returns."""
        return {"status": self.status, "processed": self.processed(), "duration_ms": round(self.duration_ms, 1)}


def process(
    pipeline: Pipeline,
    granularity: Granularity,
    *,
    now: datetime | None = None,
    trigger: str = "cli",
    deadline: Deadline | None = None,
) -> PassResult:
    """Run one pass: fetch what is new, then ATR, events and features off what is pending.

    Parameters
    ----------
    now
        The time of day, UTC; the pipeline's clock unless given. Candles that had not closed by then do not exist.
    deadline
        When the pass has to have ended; the granularity's timeout from here unless given.

    Raises
    ------
    SpikeError
        The pass failed. Each stage's work is in the store completely or not at all; the next pass goes on.
    """
    now = now or pipeline.clock()
    deadline = deadline or Deadline.after(granularity.timeout)
    start = deadline.monotonic()
    try:
        result = _process(pipeline, granularity, now, trigger, deadline)
    except SpikeError as error:
        record_failure(pipeline, granularity, now, trigger, error)
        raise
    return replace(result, duration_ms=(deadline.monotonic() - start) * 1000)


def _process(
    pipeline: Pipeline, granularity: Granularity, now: datetime, trigger: str, deadline: Deadline
) -> PassResult:
    purpose = f"a pass over {granularity}"
    with pipeline.store.reading(deadline, purpose) as session:
        window, behind = next_window(session, granularity, now)
        asked = candles.windows(pipeline, session, granularity, window, now)
    received = candles.fetch(pipeline, granularity, asked, now, deadline)
    deadline.check("storing what came")
    with pipeline.changing(granularity, deadline, purpose) as session:
        summaries = work_off(pipeline, session, granularity, received, deadline)
        status: Status = "success" if any(s.rows or s.quarantined for s in summaries) else "no_new_data"
        with session.transaction():
            record_success(session, pipeline, granularity, window, now, trigger, status, summaries)
    return PassResult(granularity, status, window, tuple(summaries), 0.0, behind)


def next_window(session: Session, granularity: Granularity, now: datetime) -> tuple[Window, int]:
    """Give the window that a pass at `now` is about, and how many candle times are left behind it."""
    newest = market_hours.last_closed(granularity, now)
    done = last_processed(session, granularity)
    if done is None:
        return newest, 0
    times = market_hours.candle_times(granularity, Window(done, newest.end))
    if len(times) <= MOST_CANDLES:
        return Window(min(done, newest.end), newest.end), 0
    last = times[MOST_CANDLES - 1].to_pydatetime()
    return Window(done, market_hours.close_of(granularity, last)), len(times) - MOST_CANDLES


def last_processed(session: Session, granularity: Granularity) -> datetime | None:
    """Give the end of the last successful pass's window; where that was lost, the close of the newest candle."""
    state = session.ops.state(granularity)
    if state and state.last_processed:
        return state.last_processed
    newest = session.data.last_time(granularity)
    return None if newest is None else market_hours.close_of(granularity, newest)


def work_off(
    pipeline: Pipeline,
    session: Session,
    granularity: Granularity,
    received: candles.Received,
    deadline: Deadline,
    after_stage: Callable[[Summary], None] = lambda _: None,
) -> list[Summary]:
    """Store what was received and run every derived stage over what is pending."""
    summaries = [candles.store(session, granularity, received)]
    after_stage(summaries[0])
    for stage in STAGES:
        summaries.append(run_stage(pipeline, session, granularity, stage, deadline))
        after_stage(summaries[-1])
    return summaries


def run_stage(
    pipeline: Pipeline, session: Session, granularity: Granularity, stage: Stage, deadline: Deadline
) -> Summary:
    """Run one derived stage over what is pending for it."""
    return settle(session, granularity, stage, recompute(stage, pipeline.atr_period), deadline)


def record_success(
    session: Session,
    pipeline: Pipeline,
    granularity: Granularity,
    window: Window,
    now: datetime,
    trigger: str,
    status: Status,
    summaries: list[Summary],
) -> None:
    """Remember a pass that went well, and move `last_processed` on where its window adjoins what was processed."""
    done = last_processed(session, granularity)
    session.ops.write_state(
        granularity,
        State(
            last_processed=_moved_on(pipeline, granularity, done, window),
            last_run=now,
            last_success=now,
            consecutive_failures=0,
            total_events_detected=session.data.count(granularity, EVENTS),
        ),
    )
    by_stage = {summary.stage: summary for summary in summaries}
    session.ops.record(
        Pass(
            granularity=granularity.name,
            trigger=trigger,
            window_start=window.start,
            window_end=window.end,
            started_at=now,
            ended_at=max(now, pipeline.clock()),
            status=status,
            candles=by_stage["candles"].rows if "candles" in by_stage else 0,
            events=by_stage["events"].added if "events" in by_stage else 0,
            quarantined=by_stage["candles"].quarantined if "candles" in by_stage else 0,
            stages={summary.stage: round(summary.milliseconds, 3) for summary in summaries},
        )
    )


def _moved_on(pipeline: Pipeline, granularity: Granularity, done: datetime | None, window: Window) -> datetime:
    """Give the new `last_processed`: between the old one and the window no candle may lie that has a partition."""
    if done is None:
        return window.end
    gap = market_hours.candle_times(granularity, Window(max(done, pipeline.history_start), window.start))
    return max(done, window.end) if gap.empty else done


def record_failure(
    pipeline: Pipeline, granularity: Granularity, now: datetime, trigger: str, error: SpikeError
) -> None:
    """Remember a pass that failed, if the store can be had; the failure itself is told by whoever called."""
    deadline = Deadline.after(_RECORD_FAILURE)
    try:
        with pipeline.store.writing(deadline, "noting a failure") as session, session.transaction():
            if pipeline.refused(session):
                return  # somebody else's store: it is well, the settings are not
            before = session.ops.state(granularity)
            session.ops.write_state(
                granularity,
                State(
                    last_processed=before.last_processed if before else None,
                    last_run=now,
                    last_success=before.last_success if before else None,
                    consecutive_failures=(before.consecutive_failures if before else 0) + 1,
                    total_events_detected=before.total_events_detected if before else 0,
                ),
            )
            session.ops.record(
                Pass(granularity.name, trigger, None, None, now, max(now, pipeline.clock()), "failed", error=str(error))
            )
    except SpikeError as unrecorded:
        _log.warning("the failure of a pass over %s could not be noted: %s", granularity, unrecorded)
