"""What is wrong with the platform itself: told of once over the channels, and once more when it has cleared."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.alerts.claim import freeze
from spike_assets.alerts.digest import Kind, Notice
from spike_assets.deadline import Deadline
from spike_assets.granularity import EARLIEST, GRANULARITIES, Granularity
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.status import GranularityStatus, status
from spike_assets.store.outbox import Incident
from spike_assets.store.store import Session

FAILURES = 2
"""So many passes have failed in a row before anybody is told: the first one the next one makes good."""

QUARANTINED = 10
"""So many candles came into quarantine within a day before anybody is told."""
QUARANTINE_DAY = timedelta(days=1)
EXPECTED = frozenset({"market_closed"})
"""Reasons that say nothing of the source: brokers send a few stray candles behind every Friday's close."""

_LIMIT = timedelta(seconds=10)


@dataclass(frozen=True)
class Checked:
    """What a look found: what is new and was put into the outbox, and what has cleared."""

    opened: tuple[Incident, ...]
    cleared: tuple[Incident, ...]


def check(
    pipeline: Pipeline,
    *,
    besides: Mapping[str, str] | None = None,
    watched_since: datetime = EARLIEST,
    deadline: Deadline | None = None,
) -> Checked:
    """Hold what is wrong now against what was told of; put the difference into the outbox.

    Parameters
    ----------
    besides
        What somebody else knows to be wrong: a text by the name of the incident. Of what the store knows by the same
        name, its own text is told.
    watched_since
        From when on ticks could come. Behind a restart nothing is overdue before one has, and had its time.
    """
    deadline = deadline or Deadline.after(_LIMIT)
    now = pipeline.clock()
    wrong = dict(besides or {}) | _wrong(pipeline, now, watched_since, deadline)
    with pipeline.store.reading(deadline, "looking for incidents") as session:
        known = {incident.incident: incident for incident in session.outbox.incidents()}
    if wrong.keys() == known.keys():
        return Checked((), ())
    with pipeline.store.writing(deadline, "noting incidents") as session, session.transaction():
        session.outbox.claim_incidents()
        known = {incident.incident: incident for incident in session.outbox.incidents()}  # nobody else's since
        opened = tuple(Incident(name, text, now) for name, text in wrong.items() if name not in known)
        cleared = tuple(incident for name, incident in known.items() if name not in wrong)
        for incident in opened:
            session.outbox.open_incident(incident)
            _tell(pipeline, session, incident, "operational", now)
        for incident in cleared:
            session.outbox.close_incident(incident.incident)
            _tell(pipeline, session, incident, "recovery", now)
    return Checked(opened, cleared)


def _wrong(pipeline: Pipeline, now: datetime, watched_since: datetime, deadline: Deadline) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in status(pipeline, now=now, deadline=deadline).granularities:
        tick = market_hours.next_tick(one.granularity, watched_since)
        found |= _of(one, had_its_chance=tick + one.granularity.timeout < now)
    with pipeline.store.reading(deadline, "looking for incidents") as session:
        for granularity in GRANULARITIES.values():
            found |= _quarantine(session, granularity, now)
        dead = session.outbox.count_dead()
    for channel in pipeline.policy.channels:
        if n := dead.get(channel.name, 0):
            said = "1 message was" if n == 1 else f"{n} messages were"
            found[f"dead letters of {channel.name}"] = f"{said} given up for {channel.name}: see `spike alerts dead`"
    return found


def _of(one: GranularityStatus, *, had_its_chance: bool) -> dict[str, str]:
    name = one.granularity.name
    found = {}
    if one.consecutive_failures >= FAILURES:
        found[f"{name} failed"] = f"{name} failed {one.consecutive_failures} times in a row: {one.last_error}"
    if one.overdue_since is not None and had_its_chance:
        found[f"{name} overdue"] = (
            f"{name} is overdue: its candle that closed {one.overdue_since:%Y-%m-%d %H:%M} UTC is not processed"
        )
    return found


def _quarantine(session: Session, granularity: Granularity, now: datetime) -> dict[str, str]:
    reasons = session.data.quarantined_since(granularity, now - QUARANTINE_DAY)
    bad = {reason: n for reason, n in reasons.items() if reason not in EXPECTED}
    if sum(bad.values()) < QUARANTINED:
        return {}
    says = ", ".join(f"{n} × {reason}" for reason, n in sorted(bad.items()))
    return {f"{granularity} quarantine": f"the quarantine of {granularity} grows: {says} within a day"}


def _tell(pipeline: Pipeline, session: Session, incident: Incident, kind: Kind, now: datetime) -> None:
    notice = Notice(key=incident.incident, text=incident.text, since=incident.since_time)
    for channel in pipeline.policy.channels:
        if channel.wants.operational():
            freeze(session, channel, pipeline.sender.about.digest(kind, now, notice=notice))
