"""A pass: one run of the pipeline over one granularity. What is remembered of it is the business of `records`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from spike_assets import market_hours
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.queue import Occasion
from spike_assets.alerts.sender import IN_A_PASS, Outcome
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles, collector, records
from spike_assets.pipeline.alerts import all_instruments_at_once
from spike_assets.pipeline.context import Pipeline, Watch
from spike_assets.pipeline.settle import Stage, instrument_by_instrument, settle
from spike_assets.pipeline.stages import ALERTS_STAGE, STAGES, recompute
from spike_assets.pipeline.summary import Status, Summary, status_of
from spike_assets.store.ops import Running
from spike_assets.store.store import Session

MOST_CANDLES = 500
"""How many candle times one pass works through; after downtime the oldest first, the rest with the next passes."""


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
    sent
        What became of the messages that were due.
    """

    granularity: Granularity
    status: Status
    window: Window
    summaries: tuple[Summary, ...]
    duration_ms: float
    behind: int = 0
    sent: tuple[Outcome, ...] = ()

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


@collector.at_rest()
def process(
    pipeline: Pipeline,
    granularity: Granularity,
    *,
    now: datetime | None = None,
    trigger: str = "cli",
    deadline: Deadline | None = None,
) -> PassResult:
    """Run one pass: fetch what is new, work off what is pending stage by stage, and send the alerts that are due.

    Parameters
    ----------
    now
        The time of day, UTC; the pipeline's clock unless given. Candles that had not closed by then do not exist.
    deadline
        When the pass has to have ended; the granularity's timeout from here unless given.

    Raises
    ------
    SpikeError
        The pass failed. Each stage's work is in the store completely or not at all; the next pass goes on. A channel
        that is away fails no pass: its messages wait for the next one.
    """
    now = now or pipeline.clock()
    deadline = deadline or Deadline.after(granularity.timeout)
    watch = Watch(now)
    running = records.starting(trigger, now, deadline.left())
    work = deadline.earlier(records.noting(deadline.left()).total_seconds())
    try:
        result, due = _process(pipeline, granularity, watch, running, work)
    except BaseException as error:  # Ctrl-C too: whoever looks should see that nobody is at it any more
        records.failure(pipeline, granularity, running, error)
        raise
    # The pass has gone well, whatever becomes of the messages.
    sent = pipeline.sender.deliver(work, due, within=IN_A_PASS) if due else []
    pipeline.store.tidy_soon()
    return replace(result, duration_ms=watch.milliseconds(), sent=tuple(sent))


def _process(
    pipeline: Pipeline, granularity: Granularity, watch: Watch, running: Running, deadline: Deadline
) -> tuple[PassResult, list[Channel]]:
    """Do all but the sending; give the channels that something is due for."""
    purpose = f"a pass over {granularity}"
    with pipeline.store.writing(deadline, purpose) as session:
        with session.transaction():
            pipeline.require_provenance(session)
            done = records.begin(session, granularity, running).last_processed
        window, behind = next_window(granularity, done, watch.started)
        asked = candles.windows(pipeline, session, granularity, window, watch.started)
    received = candles.fetch(pipeline, granularity, asked, watch, deadline)
    deadline.check("storing what came")
    with pipeline.changing(granularity, deadline, purpose) as session:
        occasion = Occasion(watch.started, records.is_live(running))
        summaries = work_off(pipeline, session, granularity, received, deadline, occasion)
        status = status_of(summaries)
        with session.transaction():
            records.success(session, pipeline, granularity, running, window, status, summaries)
        due = pipeline.sender.due(session)
    return PassResult(granularity, status, window, tuple(summaries), 0.0, behind), due


def next_window(granularity: Granularity, done: datetime | None, now: datetime) -> tuple[Window, int]:
    """Give the window that a pass at `now` is about, and how many candle times are left behind it.

    Parameters
    ----------
    done
        Up to where everything is processed; None at first.
    """
    newest = market_hours.last_closed(granularity, now)
    if done is None:
        return newest, 0
    times = market_hours.candle_times(granularity, Window(done, newest.end))
    if len(times) <= MOST_CANDLES:
        return Window(min(done, newest.end), newest.end), 0
    last = times[MOST_CANDLES - 1].to_pydatetime()
    return Window(done, market_hours.close_of(granularity, last)), len(times) - MOST_CANDLES


def work_off(
    pipeline: Pipeline,
    session: Session,
    granularity: Granularity,
    received: candles.Received,
    deadline: Deadline,
    occasion: Occasion,
    after_stage: Callable[[Summary], None] = lambda _: None,
) -> list[Summary]:
    """Store what was received and run every derived stage over what is pending."""
    summaries = [candles.store(session, granularity, received)]
    after_stage(summaries[0])
    for stage in STAGES:
        summaries.append(run_stage(pipeline, session, granularity, stage, deadline, occasion))
        after_stage(summaries[-1])
    return summaries


def run_stage(
    pipeline: Pipeline,
    session: Session,
    granularity: Granularity,
    stage: Stage,
    deadline: Deadline,
    occasion: Occasion,
    steps: int | None = None,
) -> Summary:
    """Run one derived stage over what is pending for it, or no more than so many commits of it."""
    if stage is ALERTS_STAGE:
        step = all_instruments_at_once(pipeline, granularity, occasion)
    else:
        step = instrument_by_instrument(granularity, stage, recompute(stage, pipeline.atr_period))
    return settle(session, granularity, stage, step, deadline, steps)
