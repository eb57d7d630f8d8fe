"""How the platform stands: what the status board, the dashboard and the cloud function tell.

Reads and judges; it changes nothing and prints nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.records import BESIDE, crashed, last_processed
from spike_assets.store.ops import State
from spike_assets.store.store import Session
from spike_assets.store.tables import EVENTS, QUARANTINE

RECENT = timedelta(hours=24)
"""How far back the recent events reach."""

LATELY = timedelta(minutes=1)
"""A pass that went well so short a time ago says that what is overdue is being worked off."""

_LIMIT = timedelta(seconds=10)


@dataclass(frozen=True)
class GranularityStatus:
    """How one granularity stands; times are UTC, None where there is nothing yet.

    Attributes
    ----------
    last_run, last_success
        When a pass ended last, and when one ended well.
    running_since
        When the pass under way began; None when there is none, or it crashed.
    crashed
        When the pass began that crashed, if the last one did.
    last_processed
        Up to when candles have been worked through.
    next_close, next_run
        When a candle closes next, and when the next tick comes that finds a candle to work on.
    newest_candle
        Open of the newest stored candle of all instruments.
    behind
        How many candle times have closed and are not processed.
    overdue_since
        Close of the oldest candle whose tick has come, and gone by a whole timeout, and that is not processed.
    went_well
        Where one is overdue: when a live pass ended well last.
    consecutive_failures, last_error
        How many passes failed since one went well, and what the last of them said.
    late
        Instruments, of those the source knows, that lack the newest processed candle.
    unavailable
        Instruments that the source does not know at this granularity, with its words.
    pending
        How many changed ranges wait for a stage.
    quarantined
        How many candles are in quarantine.
    recent_events
        Events that closed in the last 24 hours.
    """

    granularity: Granularity
    last_run: datetime | None
    last_success: datetime | None
    running_since: datetime | None
    crashed: datetime | None
    last_processed: datetime | None
    next_close: datetime
    next_run: datetime
    newest_candle: datetime | None
    behind: int
    overdue_since: datetime | None
    went_well: datetime | None
    consecutive_failures: int
    last_error: str | None
    late: tuple[str, ...]
    unavailable: Mapping[str, str]
    pending: int
    quarantined: int
    recent_events: int

    @property
    def outcome(self) -> Literal["ok", "failed", "never"]:
        """How the last pass went."""
        if self.last_run is None:
            return "never"
        return "failed" if self.consecutive_failures else "ok"

    def reasons(self, *, catching_up: bool = False) -> list[str]:
        """Say what is wrong with what has run, one short sentence each; being behind is not, while it is worked off."""
        found = []
        if self.crashed is not None:
            found.append(f"{self.granularity} crashed (the pass of {self.crashed:%Y-%m-%d %H:%M} UTC never came back)")
        if self.consecutive_failures:
            times = "once" if self.consecutive_failures == 1 else f"{self.consecutive_failures} times in a row"
            found.append(f"{self.granularity} failed {times} ({self.last_error})")
        if self.overdue_since is not None and not catching_up:
            since = f"{self.overdue_since:%Y-%m-%d %H:%M} UTC"
            found.append(f"{self.granularity} is overdue ({self.behind} unprocessed, the oldest closed {since})")
        # While candles wait to be processed, marks are a pass under way, or one that the next pass makes good.
        if self.pending and not self.behind:
            found.append(f"{self.granularity} has {self.pending} {'range' if self.pending == 1 else 'ranges'} pending")
        return found


@dataclass(frozen=True)
class Status:
    """How everything stands.

    Attributes
    ----------
    at
        When this was true, UTC.
    source, database
        Where the stored candles come from, and where everything is kept.
    granularities
        One each, finest first.
    refused
        Why the settings in force may not work on this store; None when they may.
    """

    at: datetime
    source: str
    database: str
    granularities: tuple[GranularityStatus, ...]
    refused: str | None = None

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Instruments that the source does not know at one granularity or more, with its words."""
        return {i: reason for one in self.granularities for i, reason in one.unavailable.items()}

    @property
    def simulated(self) -> bool:
        """Whether the candles are made up."""
        return self.source == "simulated"

    @property
    def recent_events(self) -> int:
        """Events of all granularities that closed in the last 24 hours."""
        return sum(one.recent_events for one in self.granularities)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        if self.refused:
            return (self.refused,)
        never = [one.granularity.name for one in self.granularities if one.outcome == "never"]
        if len(never) == len(self.granularities):
            return ("nothing has run yet",)
        catching_up = bool(self.catching_up)
        found = [reason for one in self.granularities for reason in one.reasons(catching_up=catching_up)]
        return (*found, f"{', '.join(never)} never ran") if never else tuple(found)

    @property
    def catching_up(self) -> tuple[str, ...]:
        """What is being worked off after an outage, one short sentence each; nothing where nobody is at it.

        Granularities that are behind wait for one another: where one gets on, the others' turn comes.
        """
        late = [one for one in self.granularities if one.overdue_since is not None]
        if not any(one.went_well is not None and self.at - one.went_well < LATELY for one in late):
            return ()
        times = {one.granularity: f"{one.behind} candle {'time' if one.behind == 1 else 'times'}" for one in late}
        return tuple(f"{granularity} has {n} to go" for granularity, n in times.items())

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    def as_json(self) -> dict[str, object]:
        """Give everything as JSON can hold it; times are ISO 8601, UTC."""
        return {
            "at": _text(self.at),
            "healthy": self.healthy,
            "reasons": list(self.reasons),
            "catching_up": list(self.catching_up),
            "recent_events": self.recent_events,
            "source": self.source,
            "simulated": self.simulated,
            "database": self.database,
            "unavailable": dict(self.unavailable),
            "granularities": {one.granularity.name: _as_json(one) for one in self.granularities},
        }


def status(pipeline: Pipeline, *, now: datetime | None = None, deadline: Deadline | None = None) -> Status:
    """Read how everything stands at `now`, by the pipeline's clock unless given."""
    now = now or pipeline.clock()
    with pipeline.store.reading(deadline or Deadline.after(_LIMIT), "the status") as session:
        stored = session.ops.provenance()
        refused = pipeline.refused(session)
        each = tuple(granularity_status(session, pipeline, one, now) for one in GRANULARITIES.values())
    return Status(now, stored.source if stored else pipeline.source.name, pipeline.store.url, each, refused)


def granularity_status(
    session: Session, pipeline: Pipeline, granularity: Granularity, now: datetime
) -> GranularityStatus:
    """Read how one granularity stands at `now`, from an open store."""
    instruments = pipeline.instruments
    state = session.ops.state(granularity) or State()
    running = state.running
    gone = running is not None and crashed(running, now)
    done = last_processed(session, granularity)
    waiting = _waiting(granularity, done, now)
    overdue = _overdue_since(granularity, waiting, now)
    next_close = market_hours.next_close(granularity, now)
    unavailable = _unavailable(session, granularity, instruments)
    return GranularityStatus(
        granularity=granularity,
        last_run=state.last_run,
        last_success=state.last_success,
        running_since=running.since if running and not gone else None,
        crashed=running.since if running and gone else None,
        last_processed=done,
        next_close=next_close,
        next_run=market_hours.next_tick(granularity, now if done is None or len(waiting) else next_close),
        newest_candle=session.data.last_time(granularity),
        behind=len(waiting),
        overdue_since=overdue,
        went_well=session.queries.went_well(granularity, BESIDE) if overdue else None,
        consecutive_failures=state.consecutive_failures,
        last_error=session.ops.last_error(granularity) if state.consecutive_failures else None,
        late=_late(session, granularity, [i for i in instruments if i not in unavailable], done),
        unavailable=unavailable,
        pending=session.pending.count(granularity),
        quarantined=session.data.count(granularity, QUARANTINE),
        recent_events=session.data.count_since(granularity, EVENTS, opened_since(granularity, now - RECENT)),
    )


def opened_since(granularity: Granularity, closed_since: datetime) -> datetime:
    """Give the open of the first candle that closes at or after a time."""
    just_before = market_hours.utc_index([closed_since - timedelta(microseconds=1)])
    opened: datetime = market_hours.candle_open(granularity, just_before)[0].to_pydatetime()
    return opened


def _waiting(granularity: Granularity, done: datetime | None, now: datetime) -> pd.DatetimeIndex:
    """Give the opens of the candles that have closed and are not processed."""
    newest = market_hours.last_closed(granularity, now)
    return market_hours.candle_times(granularity, Window(done or newest.end, newest.end))


def _overdue_since(granularity: Granularity, waiting: pd.DatetimeIndex, now: datetime) -> datetime | None:
    if waiting.empty:
        return None
    closed = market_hours.close_of(granularity, waiting[0].to_pydatetime())
    return closed if market_hours.next_tick(granularity, closed) + granularity.timeout < now else None


def _unavailable(session: Session, granularity: Granularity, instruments: Sequence[str]) -> dict[str, str]:
    rows = session.ops.unavailable(granularity)
    told = {str(instrument): str(reason) for instrument, reason in zip(rows["instrument"], rows["reason"], strict=True)}
    return {instrument: told[instrument] for instrument in instruments if instrument in told}


def _late(session: Session, granularity: Granularity, instruments: list[str], done: datetime | None) -> tuple[str, ...]:
    if done is None:
        return ()
    expected = market_hours.last_closed(granularity, done).start
    newest = session.data.newest(granularity, instruments, expected - granularity.lookback)
    return tuple(i for i in instruments if i not in newest or newest[i] < expected)


def _as_json(one: GranularityStatus) -> dict[str, object]:
    return {
        "outcome": one.outcome,
        "last_run": _text(one.last_run),
        "last_success": _text(one.last_success),
        "running_since": _text(one.running_since),
        "crashed": _text(one.crashed),
        "last_processed": _text(one.last_processed),
        "next_close": _text(one.next_close),
        "next_run": _text(one.next_run),
        "newest_candle": _text(one.newest_candle),
        "behind": one.behind,
        "overdue_since": _text(one.overdue_since),
        "went_well": _text(one.went_well),
        "consecutive_failures": one.consecutive_failures,
        "last_error": one.last_error,
        "unavailable": dict(one.unavailable),
        "late": list(one.late),
        "pending": one.pending,
        "quarantined": one.quarantined,
        "recent_events": one.recent_events,
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
