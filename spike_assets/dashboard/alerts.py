"""Alerts as the page's feed shows them: why, in words, who was told, and whether anybody has seen them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from spike_assets.alerts import compose, phrases
from spike_assets.alerts.digest import Status
from spike_assets.core.alerts import GROUP
from spike_assets.dashboard.site import Finish
from spike_assets.dashboard.views import Record, iso, records
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store.queries import TOLD_COLUMNS, AlertFilter, Key
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS

PAGE = 50
"""Alerts of a page."""

RECENT = timedelta(hours=24)
"""An alert that nobody has acknowledged counts as unread for so long after its candle closed: later it is history."""

NONE: Record = {
    "alerts": [],
    "total": 0,
    "page": 1,
    "pages": 1,
    "unread": 0,
    "unread_hours": RECENT // timedelta(hours=1),
}
"""The first page where none are known."""


def page(session: Session, asked: AlertFilter, number: int, now: datetime) -> Finish:
    """Read a page of alerts, newest first, for `GET /api/alerts`."""
    total = session.queries.count_alerts(asked)
    finish_rows = described_alerts(session, session.queries.alert_places(asked, PAGE, (number - 1) * PAGE))
    unread_ = len(unread(session, now))
    return lambda: {
        "alerts": finish_rows(),
        "total": total,
        "page": number,
        "pages": max(1, -(-total // PAGE)),
        "unread": unread_,
        "unread_hours": RECENT // timedelta(hours=1),
    }


def unread(session: Session, now: datetime) -> list[str]:
    """Give the ids of the recent alerts that nobody has acknowledged."""
    return session.queries.alert_ids(in_state(AlertFilter(), "unread", now))


def in_state(asked: AlertFilter, state: str | None, now: datetime) -> AlertFilter:
    """Narrow a filter to alerts that are `unread`, or `acknowledged`."""
    if state is None:
        return asked
    if state == "acknowledged":
        return replace(asked, acknowledged=True)
    since = max(asked.closed_since or now - RECENT, now - RECENT)
    return replace(asked, acknowledged=False, closed_since=since)


def described_alerts(session: Session, places: Sequence[tuple[Granularity, Key]]) -> Finish:
    """Read alerts by their places, as the page knows them, in the order of these; what is none is left out."""
    by_granularity: dict[str, list[Key]] = {}
    for granularity, key in places:
        by_granularity.setdefault(granularity.name, []).append(key)
    rows = {name: session.queries.alerts(GRANULARITIES[name], keys) for name, keys in by_granularity.items()}
    events = {
        name: session.queries.events(GRANULARITIES[name], [key for key in keys if key.instrument != GROUP])
        for name, keys in by_granularity.items()
    }
    ids = [str(one) for each in rows.values() for one in each["alert_id"]]
    seen, told = session.queries.acknowledged(ids), session.queries.told(ids)
    decimals = session.ops.decimals(sorted({key.instrument for _, key in places} - {GROUP}))

    def finish() -> list[Record]:
        deliveries: dict[str, list[Record]] = {}
        for one in records(told, TOLD_COLUMNS):
            deliveries.setdefault(one.pop("alert_id"), []).append(one)
        shown = {
            (name, one["instrument"], one["time"]): one
            | {
                "acknowledged_at": iso(seen.get(one["alert_id"])),
                "deliveries": deliveries.get(one["alert_id"], []),
            }
            for name, each in rows.items()
            for one in _shown(GRANULARITIES[name], each, events[name], decimals)
        }
        wanted = ((granularity.name, key.instrument, iso(key.time)) for granularity, key in places)
        return [shown[place] for place in wanted if place in shown]

    return finish


def _shown(
    granularity: Granularity, rows: pd.DataFrame, events: pd.DataFrame, decimals: Mapping[str, int]
) -> list[Record]:
    texts = in_words(granularity, rows, events, decimals)
    return [
        one
        | {
            "granularity": granularity.name,
            "decimals": decimals.get(one["instrument"]),
            "rules": one["rules"].split(","),
            "reasons": json.loads(one["reasons"]),
            "members": one["members"].split(",") if one["members"] else [],
            "text": texts[one["alert_id"]],
        }
        for one in records(rows, ALERTS.columns)
    ]


def in_words(
    granularity: Granularity, rows: pd.DataFrame, events: pd.DataFrame, decimals: Mapping[str, int]
) -> dict[str, str]:
    """Give one line per alert, by its id: what happened where, and why it matters.

    Parameters
    ----------
    rows, events
        Of `Queries.alerts` and `Queries.events`, at the same candles.
    """
    besides = ["atr", "rebound_atr", "pattern", "pattern_run", "distance_atr", "relative_volume"]
    key = ["instrument", "time"]
    known = rows.merge(events[[*key, *besides]], how="left", on=key)
    known["decimals"] = [decimals.get(str(name), 0) for name in known["instrument"]]
    statuses: dict[str, Status] = {str(one): "new" for one in known["alert_id"]}
    grouped = known["instrument"] == GROUP
    # Where its event has gone, the stage that takes the alert back is still to come.
    bare = known[~grouped & known["atr"].isna()]
    texts = {
        str(row["alert_id"]): f"{row['instrument']} {row['level']:.{int(row['decimals'])}f}"
        for row in bare.to_dict("records")
    }
    for entry in compose.entries(granularity, known[known["atr"].notna()], public_url=None, statuses=statuses):
        why = "; ".join(phrases.reasons(entry, granularity.name))
        texts[entry.alert_id] = f"{entry.instrument} {entry.level}: {why}"
    for at in known.index[grouped]:
        group = compose.group(known.loc[[at]], statuses=statuses)
        if group is not None:
            texts[group.alert_id] = f"resistance at once: {phrases.at_once(group)}"
    return texts
