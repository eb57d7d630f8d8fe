"""How the platform stands, as the page's status strip and `/readyz` tell it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.dashboard.site import Finish, Query, Question, Site
from spike_assets.dashboard.views import Record, iso
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.instruments import instrument
from spike_assets.market_hours import Window
from spike_assets.pipeline.status import GranularityStatus, Status, granularity_status
from spike_assets.store.outbox import UNSAID
from spike_assets.store.store import Session

_WEEK = 24 * 8
_VOLATILE = ("at", "now", "feed_lag_seconds")


def statuses(site: Site, now: datetime) -> Question:
    """Ask how everything stands, as the status board tells it: a `Status`."""
    pipeline = site.pipeline

    def meaning(session: Session) -> Finish:
        stored, refused = session.ops.provenance(), pipeline.refused(session)
        return lambda: (stored.source if stored else pipeline.source.name, refused)

    def finish(found: list[Any]) -> Status:
        (source, refused), *each = found
        return Status(now, source, pipeline.store.url, tuple(each), refused)

    return Question((meaning, *(status_step(site, one, now) for one in GRANULARITIES.values())), finish)


def status_step(site: Site, granularity: Granularity, now: datetime) -> Query:
    """Read how one granularity stands: a `GranularityStatus`."""

    def read(session: Session) -> Finish:
        found = granularity_status(session, site.pipeline, granularity, now)
        return lambda: found

    return read


def standing(site: Site, now: datetime) -> Question:
    """Ask how everything stands, for `GET /api/status`."""
    status = statuses(site, now)
    return Question(
        (lambda session: besides(session, site, now), *status.steps),
        lambda found: told(status.finish(found[1:])) | found[0],
    )


def besides(session: Session, site: Site, now: datetime) -> Finish:
    """Read what a status says besides how the granularities stand."""
    decimals = session.ops.decimals(site.pipeline.instruments)
    outbox, silences = depth(session), session.outbox.silences(now)
    return lambda: _besides(site, decimals, outbox, silences)


def _besides(
    site: Site,
    decimals: Mapping[str, int],
    outbox: Mapping[str, Mapping[str, int]],
    silences: Mapping[str, datetime],
) -> Record:
    return {
        "instruments": [{"name": name, "decimals": decimals[name]} for name in site.pipeline.instruments],
        "outbox": {"waiting": sum(outbox["waiting"].values()), "dead": sum(outbox["dead"].values())},
        "silences": [{"instrument": name, "until": iso(until)} for name, until in silences.items()],
        "public_url": site.public_url,
        "dagster_url": site.dagster_url,
        "may_write": True,  # whoever may not write may not read either
    }


def unreadable(site: Site, now: datetime, why: str, known: Record | None) -> Record:
    """Give a status while the store cannot be read: what was known last, and why it is not healthy.

    Parameters
    ----------
    known
        The last status that was read; None where none was: everything is as if nothing had ever run.
    """
    status = _nothing(site, now) if known is None else known
    return {**status, "now": iso(now), "healthy": False, "reasons": [why], "catching_up": []}


def _nothing(site: Site, now: datetime) -> Record:
    pipeline = site.pipeline
    never = tuple(_never(one, now) for one in GRANULARITIES.values())
    decimals = {name: instrument(name).decimals for name in pipeline.instruments}
    said = told(Status(now, pipeline.source.name, pipeline.store.url, never))
    return said | _besides(site, decimals, {"waiting": {}, "dead": {}}, {})


def _never(granularity: Granularity, now: datetime) -> GranularityStatus:
    return GranularityStatus(
        granularity=granularity,
        last_run=None,
        last_success=None,
        running_since=None,
        crashed=None,
        last_processed=None,
        next_close=market_hours.next_close(granularity, now),
        next_run=market_hours.next_tick(granularity, now),
        newest_candle=None,
        behind=0,
        overdue_since=None,
        went_well=None,
        consecutive_failures=0,
        last_error=None,
        late=(),
        unavailable={},
        pending=0,
        quarantined=0,
        recent_events=0,
    )


def told(found: Status) -> Record:
    """Give a status as the page knows it."""
    now, said = found.at, found.as_json()
    granularities: dict[str, Any] = {**said["granularities"]}  # type: ignore[dict-item]
    lags = {one.granularity.name: lag(one, now) for one in found.granularities}
    market = market_until(now)
    for one in found.granularities:
        granularities[one.granularity.name] |= {
            "last_candle_closed_at": _closed(one.granularity, one.newest_candle),
            "lag_seconds": lags[one.granularity.name],
            "due_since": iso(due_since(one, now)),
        }
    known = [seconds for seconds in lags.values() if seconds is not None]
    return said | {
        "granularities": granularities,
        "now": iso(now),
        "market": market,
        "feed_lag_seconds": max(known) if market["open"] and known else None,
    }


def steady(status: Mapping[str, Any]) -> Record:
    """Give of a status what does not change by the mere passing of time."""
    each = {
        name: {key: value for key, value in one.items() if key != "lag_seconds"}
        for name, one in status["granularities"].items()
    }
    return {key: value for key, value in status.items() if key not in _VOLATILE} | {"granularities": each}


def depth(session: Session) -> dict[str, dict[str, int]]:
    """Give what waits to be sent, and what was given up, by channel: messages, and alerts that make one still."""
    waiting: dict[str, int] = {}
    dead: dict[str, int] = {}
    for (channel, status), n in session.queries.count_deliveries().items():
        if status != "sent":
            into = waiting if status == "waiting" else dead
            into[channel] = into.get(channel, 0) + n
    for (channel, status), n in session.queries.count_items().items():
        if status in UNSAID:
            waiting[channel] = waiting.get(channel, 0) + n
    return {"waiting": waiting, "dead": dead}


def lag(one: GranularityStatus, now: datetime) -> float | None:
    """Give how many seconds ago the oldest candle that is not processed became due; 0 where none is, None at first."""
    if one.last_processed is None:
        return None
    due = due_since(one, now)
    return 0.0 if due is None else (now - due).total_seconds()


def due_since(one: GranularityStatus, now: datetime) -> datetime | None:
    """Give when the oldest candle that is not processed became due; None where none is, and before the first pass.

    A lag that is told grows old; who knows this can count it.
    """
    if one.last_processed is None:
        return None
    newest = market_hours.last_closed(one.granularity, now)
    waiting = market_hours.candle_times(one.granularity, Window(one.last_processed, newest.end))
    if waiting.empty:
        return None
    closed = market_hours.close_of(one.granularity, waiting[0].to_pydatetime())
    due = market_hours.next_tick(one.granularity, closed)
    return due if due < now else None


def market_until(now: datetime) -> Record:
    """Say whether the market is open, and when it closes, or opens."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = pd.DatetimeIndex([hour + timedelta(hours=n) for n in range(_WEEK)])
    is_open = market_hours.market_open(hours)
    turn = int(np.flatnonzero(is_open != is_open[0])[0])
    return {"open": bool(is_open[0]), "until": iso(hours[turn].to_pydatetime())}


def _closed(granularity: Granularity, opened: datetime | None) -> str | None:
    return None if opened is None else iso(market_hours.close_of(GRANULARITIES[granularity.name], opened))
