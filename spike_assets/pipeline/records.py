"""What the platform remembers of each pass, from its start to its end: who is at it, how it went, who never came back.

A pass says in the store that it has begun, before it asks anybody for anything. Whatever else becomes of it, its
record is closed: by itself, or by the next one, which finds that its process is gone or its time is up.
"""

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.summary import Status, Summary
from spike_assets.store.ops import Pass, Running, State
from spike_assets.store.store import Session
from spike_assets.store.tables import EVENTS

BESIDE = frozenset({"backfill", "reconcile"})
"""Triggers of passes that run beside the live ones: how they go says nothing of whether the newest candles come."""

_RECORD_FAILURE = timedelta(seconds=2)
_SHARE = 10
"""Noting a failure takes no more than so small a part of a pass's time."""

_log = logging.getLogger(__name__)


def is_live(running: Running) -> bool:
    """Tell whether a pass is one that brings the newest candles."""
    return running.trigger not in BESIDE


def starting(trigger: str, now: datetime, limit: timedelta, pass_id: UUID | None = None) -> Running:
    """Give the pass that begins here and now, in this process, and has to have ended within `limit`."""
    return Running(trigger, now, now + limit, f"{socket.gethostname()}/{os.getpid()}", pass_id or uuid4())


def crashed(running: Running, now: datetime) -> bool:
    """Tell whether a pass that has not told of its end never will: its process is gone, or its time is up."""
    host, _, pid = running.process.rpartition("/")
    return now > running.until or (host == socket.gethostname() and not _alive(int(pid)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def noting(limit: timedelta) -> timedelta:
    """Give what noting a failure may take of a pass's time."""
    return min(_RECORD_FAILURE, limit / _SHARE)


def begin(session: Session, granularity: Granularity, running: Running) -> State:
    """Say that a pass has begun, close the records of those that crashed, and give where the granularity stands."""
    session.ops.claim_state(granularity)
    before = _state(session, granularity)
    failures = before.consecutive_failures
    for other in session.ops.unfinished(granularity):
        if crashed(other, running.since):
            _record_crash(session, granularity, other, running.since)
            failures += is_live(other)
    state = replace(before, running=running, consecutive_failures=failures)
    session.ops.write_state(granularity, state)
    _record_running(session, granularity, running)
    return state


def still_running(session: Session, granularity: Granularity, running: Running, until: datetime) -> None:
    """Say that a long pass is still at it, unless a live one that is under way has its place."""
    session.ops.claim_state(granularity)
    state, later = _state(session, granularity), replace(running, until=until)
    _record_running(session, granularity, later)
    if _others(state, running) is None:
        session.ops.write_state(granularity, replace(state, running=later))


def _record_running(session: Session, granularity: Granularity, running: Running) -> None:
    session.ops.record(_as_pass(granularity, running, running.until, "running"))


def _record_crash(session: Session, granularity: Granularity, gone: Running, noticed: datetime) -> None:
    error = f"the pass of {gone.since:%Y-%m-%d %H:%M:%S} UTC ({gone.process}) never came back; the next one goes on"
    _log.warning("%s: %s", granularity, error)
    session.ops.record(replace(_as_pass(granularity, gone, noticed, "crashed"), error=error))


def _as_pass(granularity: Granularity, running: Running, ended_at: datetime, status: str) -> Pass:
    """Give the record of a pass of which nothing more is known than that it began."""
    return Pass(
        granularity=granularity.name,
        trigger=running.trigger,
        window_start=None,
        window_end=None,
        started_at=running.since,
        ended_at=ended_at,
        status=status,
        process=running.process,
        pass_id=running.pass_id,
    )


def success(
    session: Session,
    pipeline: Pipeline,
    granularity: Granularity,
    running: Running,
    window: Window,
    status: Status,
    summaries: Sequence[Summary],
) -> None:
    """Remember a pass that went well, and move `last_processed` on where its window adjoins what was processed."""
    total_events = session.data.count(granularity, EVENTS)
    session.ops.claim_state(granularity)
    before = _state(session, granularity)
    session.ops.write_state(
        granularity,
        replace(
            before,
            last_processed=_moved_on(pipeline, granularity, before.last_processed, window),
            last_run=_later(before.last_run, running.since),
            last_success=_later(before.last_success, running.since),
            consecutive_failures=0 if is_live(running) else before.consecutive_failures,
            total_events_detected=total_events,
            live_since=before.live_since or _live_since(granularity, running, window),
            running=_others(before, running),
        ),
    )
    by_stage = {summary.stage: summary for summary in summaries}
    session.ops.record(
        replace(
            _as_pass(granularity, running, max(running.since, pipeline.clock()), status),
            window_start=window.start,
            window_end=window.end,
            candles=by_stage["candles"].rows if "candles" in by_stage else 0,
            events=by_stage["events"].added if "events" in by_stage else 0,
            quarantined=by_stage["candles"].quarantined if "candles" in by_stage else 0,
            stages={summary.stage: round(summary.milliseconds, 3) for summary in summaries},
        )
    )


def _live_since(granularity: Granularity, running: Running, window: Window) -> datetime | None:
    """Give when a store came alive, if this pass is what does it: a live one that is not behind."""
    newest = market_hours.last_closed(granularity, running.since)
    return running.since if is_live(running) and window.end >= newest.end else None


def failure(pipeline: Pipeline, granularity: Granularity, running: Running, error: BaseException) -> None:
    """Remember a pass that failed, if the store can be had; the failure itself is told by whoever called."""
    deadline = Deadline.after(noting(running.until - running.since))
    try:
        with pipeline.store.writing(deadline, "noting a failure") as session, session.transaction():
            if not pipeline.refused(session):  # else somebody else's store: it is well, the settings are not
                _record_failure(session, pipeline, granularity, running, error)
    except SpikeError as unrecorded:
        _log.warning("the failure of a pass over %s could not be noted: %s", granularity, unrecorded)


def _record_failure(
    session: Session, pipeline: Pipeline, granularity: Granularity, running: Running, error: BaseException
) -> None:
    session.ops.claim_state(granularity)
    before = _state(session, granularity)
    session.ops.write_state(
        granularity,
        replace(
            before,
            last_run=_later(before.last_run, running.since),
            consecutive_failures=before.consecutive_failures + is_live(running),
            running=_others(before, running),
        ),
    )
    ended_at = max(running.since, pipeline.clock())
    session.ops.record(replace(_as_pass(granularity, running, ended_at, "failed"), error=_one_line(error)))


def _one_line(error: BaseException) -> str:
    """Say what went wrong; what spike did not raise itself is named, it is a fault in spike."""
    if isinstance(error, SpikeError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return " ".join(f"{type(error).__name__}: {error}".split())


def told(session: Session, granularity: Granularity) -> tuple[datetime | None, datetime | None]:
    """Give when the first live pass was, and from which candle time on none has told of anything yet; None before."""
    state = _state(session, granularity)
    return state.live_since, state.last_processed if state.live_since else None


def last_processed(session: Session, granularity: Granularity) -> datetime | None:
    """Give the end of the last successful pass's window; None before the first one."""
    return _state(session, granularity).last_processed


def _state(session: Session, granularity: Granularity) -> State:
    """Give where a granularity stands. Truth is in the candles: a lost state goes on behind the newest of them.

    A state that is there and says that nothing was processed is not lost: a backfill has begun, whose candles are no
    reason for a live pass to start years ago.
    """
    state = session.ops.state(granularity)
    if state is not None:
        return state
    newest = session.data.last_time(granularity)
    return State(last_processed=None if newest is None else market_hours.close_of(granularity, newest))


def _moved_on(pipeline: Pipeline, granularity: Granularity, done: datetime | None, window: Window) -> datetime:
    """Give the new `last_processed`: between the old one and the window no candle may lie that has a partition."""
    if done is None:
        return window.end
    gap = market_hours.candle_times(granularity, Window(max(done, pipeline.history_start), window.start))
    return max(done, window.end) if gap.empty else done


def _later(before: datetime | None, now: datetime) -> datetime:
    """Give the later time: what ran beside may have begun long ago."""
    return now if before is None else max(before, now)


def _others(state: State, ours: Running) -> Running | None:
    """Give the pass under way, if it is not ours."""
    return None if state.running is None or state.running.pass_id == ours.pass_id else state.running
