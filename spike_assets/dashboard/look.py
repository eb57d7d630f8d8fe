"""A look into the store, brief: what pages should know, and what of it has changed since the look before.

The newest candles and events are compared one by one. Further back that would be the whole store: there it is enough
to see how many rows there are, what was fetched since, which marks have been worked off, and which passes beside the
live ones have ended.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from spike_assets import market_hours
from spike_assets.dashboard import alerts, changes, charts, events
from spike_assets.dashboard.changes import Part, Place
from spike_assets.dashboard.glance import Glance
from spike_assets.dashboard.site import Finish, Query, Question, Site
from spike_assets.dashboard.standing import status_step, statuses, steady, told
from spike_assets.dashboard.views import Record
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.pipeline.records import BESIDE
from spike_assets.pipeline.status import Status
from spike_assets.store.queries import AlertFilter
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES, EVENTS

TAIL = 24
"""So many of the newest candle times are compared one by one."""

_JUST_BEHIND = timedelta(microseconds=1)

FinishPart = Callable[[bool], tuple[Part, list[Record]]]
"""Told whether candles were stored wherever they lay, gives what was seen of a granularity, and what of it is news."""


@dataclass(frozen=True)
class Seen:
    """What a look found.

    Attributes
    ----------
    board
        How everything stands.
    status, alerts
        What a snapshot says.
    changes
        What is news; None where pages should begin afresh.
    """

    glance: Glance
    parts: Mapping[str, Part]
    board: Status
    status: Record
    alerts: Record
    changes: tuple[Record, ...] | None


def look(site: Site, now: datetime, known: Seen | None, first: Glance, *, whole: bool = False) -> Question:
    """Ask what has changed since what is known: a `Seen`.

    Parameters
    ----------
    first
        What a glance has found; only what it says has changed is looked at.
    whole
        Look at everything all the same: what is overdue goes by the time of day.
    """
    # With another provenance every number may mean something else: nothing is known.
    known = None if known is None or known.glance.provenance != first.provenance else known
    if known is None or whole:
        rows = stands = tuple(GRANULARITIES)
        rung = True
    else:
        rows = tuple(name for name in GRANULARITIES if first.rows(name) != known.glance.rows(name))
        stands = tuple(name for name in GRANULARITIES if first.standing(name) != known.glance.standing(name))
        rung = first.alerts() != known.glance.alerts()
    board = statuses(site, now)
    parts = [_step(site, GRANULARITIES[name], None if known is None else known.parts[name]) for name in rows]
    statuses_ = [status_step(site, GRANULARITIES[name], now) for name in stands]
    alert_steps = [lambda session: alerts.page(session, AlertFilter(), 1, now)] if rung else []

    def finish(found: list[Any]) -> Seen:
        compared, each = dict(zip(rows, found, strict=False)), found[len(rows) : len(rows) + len(stands)]
        rest = found[len(rows) + len(stands) :]
        page = rest.pop() if rung or known is None else known.alerts
        new = dict(zip(stands, each, strict=True))
        if known is None:
            said = board.finish([*rest, *new.values()])
        else:
            kept = {one.granularity.name: one for one in known.board.granularities}
            said = replace(known.board, at=now, granularities=tuple((kept | new).values()))
        return _compared(Seen(first, {}, said, told(said) | first.besides, page, None), compared, known)

    meaning = board.steps[:1] if known is None else ()
    return Question((*parts, *statuses_, *meaning, *alert_steps), finish)


def _compared(seen: Seen, parts: Mapping[str, FinishPart], known: Seen | None) -> Seen:
    """Say what is news, part by part."""
    before, passes = {} if known is None else known.glance.passes, seen.glance.passes
    found = {name: compare(_elsewhere(before, passes.values(), name)) for name, compare in parts.items()}
    seen = replace(
        seen,
        parts={**({} if known is None else known.parts), **{name: part for name, (part, _) in found.items()}},
    )
    if known is None:
        return seen
    news = [change for _, of_part in found.values() for change in of_part]
    news += changes.of_alerts(known.alerts, seen.alerts)
    news += changes.of_passes(before, passes)
    if steady(seen.status) != steady(known.status):
        news.append({"kind": "status", "status": seen.status})
    return replace(seen, changes=tuple(news))


def _elsewhere(known: Mapping[str, Record], passes: Iterable[Record], granularity: str) -> bool:
    """Tell whether a pass has ended that stored candles wherever they lay."""
    return any(
        one["granularity"] == granularity and one["trigger"] in BESIDE and one["candles"] and known.get(i) != one
        for i, one in ((one["pass_id"], one) for one in passes)
    )


def _step(site: Site, granularity: Granularity, known: Part | None) -> Query:
    def read(session: Session) -> Finish:
        compare = _part(session, granularity, known, session.ops.decimals(site.pipeline.instruments))
        return lambda: compare

    return read


def _part(session: Session, granularity: Granularity, known: Part | None, decimals: Mapping[str, int]) -> FinishPart:
    """Read one granularity."""
    newest = session.data.last_time(granularity)
    counts = (session.data.count(granularity, CANDLES), session.data.count(granularity, EVENTS))
    if newest is None:
        return lambda _: _news(granularity, known, Part(counts=counts), {}, set(), decimals)
    end = newest + _JUST_BEHIND
    tail = market_hours.nth_candle_before(granularity, end, TAIL)
    rows = session.queries.candles(granularity, tail, end)
    candles = _by_place(rows)
    event_rows = session.queries.events_since(granularity, tail)
    fetched = session.queries.newest_fetch(granularity)
    marked = frozenset(session.queries.marked(granularity, tail))
    places = set[Place]() if known is None else changes.touched(known, candles, tail)
    older = set[str]() if known is None else _older(session, granularity, known, tail) | (known.marked - marked)
    names = sorted({name for name, _ in places})
    context = session.queries.candles(granularity, tail - 2 * granularity.lookback, end, names) if names else rows[:0]
    others = sorted({str(name) for name in event_rows["instrument"]} - decimals.keys())
    digits = {**decimals, **session.ops.decimals(others)}

    def finish(elsewhere: bool) -> tuple[Part, list[Record]]:
        shown = {one["event_id"]: one for one in events.shown(granularity, event_rows, digits)}
        part = Part(tail, candles, shown, counts, fetched, marked)
        again = {*decimals, *(name for name, _ in candles)} if elsewhere else older
        return _news(granularity, known, part, _told(granularity, context, places), again, decimals)

    return finish


def _news(
    granularity: Granularity,
    known: Part | None,
    part: Part,
    told: Mapping[Place, Record],
    again: set[str],
    decimals: Mapping[str, int],
) -> tuple[Part, list[Record]]:
    if known is None:
        return part, []
    if not changes.explained(known, part):
        again = {*again, *decimals, *(name for name, _ in part.candles)}
    return part, changes.of_part(granularity.name, known, part, told, again)


def _older(session: Session, granularity: Granularity, known: Part, tail: datetime) -> set[str]:
    """Give the instruments of which candles older than the tail were fetched since: perhaps they have changed."""
    if known.fetched is None:
        return set()
    since = session.queries.fetched_since(granularity, known.fetched + _JUST_BEHIND, tail)
    return {str(name) for name in since["instrument"]}


def _by_place(rows: pd.DataFrame) -> dict[Place, tuple[Any, ...]]:
    """Give the rest of each candle; NULL as None, which is equal to itself."""
    rest = rows.drop(columns=["instrument", "time"]).astype(object)
    values = rest.where(rest.notna(), None).itertuples(index=False, name=None)
    return {
        (str(name), time.to_pydatetime()): one
        for name, time, one in zip(rows["instrument"], rows["time"], values, strict=True)
    }


def _told(granularity: Granularity, context: pd.DataFrame, places: set[Place]) -> dict[Place, Record]:
    """Give the touched candles as the page knows them, from these and enough before them."""
    if context.empty:
        return {}
    rows = charts.with_volume(granularity, context)
    at = [(str(name), time.to_pydatetime()) for name, time in zip(rows["instrument"], rows["time"], strict=True)]
    here = [place in places for place in at]
    chosen = [place for place in at if place in places]
    return {place: one for place, (_, one) in zip(chosen, charts.shown(rows[here]), strict=True)}
