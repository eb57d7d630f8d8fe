"""What goes into the outbox when alerts change. In the transaction that changes them, so nothing falls between.

Queueing is by level, not by edge: what a channel was told last is held against what is true now. So a stage may be run
again, killed, or work twice on the same stretch, and nobody hears anything twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from spike_assets import market_hours
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.digest import Reasons
from spike_assets.alerts.policy import Policy
from spike_assets.core.alerts import GROUP
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.store.outbox import EVERYTHING, Item
from spike_assets.store.store import Session

TAKEN_BACK = ""
"""What is `said` of an alert that was taken back."""

UNSURE = "?"
"""What is `said` of an alert where what was to be said did not arrive: what is true is told anew."""

_LONGEST_PAUSE = timedelta(days=4)
"""No tick is further from a close than the one behind a weekend."""


@dataclass(frozen=True)
class Occasion:
    """When, and in the course of what, alerts change.

    Attributes
    ----------
    live
        Whether a live pass is at it, rather than a backfill, a reconcile or a rebuild.
    rebuilding
        Whether alerts change because settings or formulas did, rather than candles.
    live_since
        When the first live pass was; None before it.
    told_from
        From which candle time on nobody was told yet, by a live pass; None before the first one.
    """

    now: datetime
    live: bool
    rebuilding: bool = False
    live_since: datetime | None = None
    told_from: datetime | None = None


def note(
    session: Session, granularity: Granularity, window: Window, alerts: pd.DataFrame, policy: Policy, occasion: Occasion
) -> int:
    """Hold what channels were told about a window against its alerts, all of them; queue the difference.

    Returns
    -------
    int
        How many items were queued.
    """
    if not policy.channels:
        return 0
    session.outbox.claim()
    items = session.outbox.items(granularity, window)
    changed = _changed(session, granularity, items, alerts, policy, occasion)
    fresh = _fresh(granularity, alerts, policy, occasion)
    silenced = session.outbox.silences(occasion.now) if fresh else {}
    known = {(item.channel, item.alert_id) for item in items}
    changed += [
        _item(channel, granularity, row, "silenced" if is_silenced(row["instrument"], silenced) else status, occasion)
        for status, row in fresh
        for channel in policy.channels
        if (channel.name, row["alert_id"]) not in known and wanted(channel, granularity, row)
    ]
    session.outbox.put(changed)
    return sum(item.status == "pending" for item in changed)


def _changed(
    session: Session,
    granularity: Granularity,
    items: list[Item],
    alerts: pd.DataFrame,
    policy: Policy,
    occasion: Occasion,
) -> list[Item]:
    """Give the items that are to be told anew, or no longer; drop those of which nobody was told, and that are gone."""
    rows = {row["alert_id"]: row for row in _rows(alerts[alerts["alert_id"].isin([i.alert_id for i in items])])}
    channels = {channel.name: channel for channel in policy.channels}
    found = []
    for item in items:
        row = now_true(rows.get(item.alert_id), item, channels.get(item.channel), granularity)
        true = TAKEN_BACK if row is None else gist(row)
        if item.said is None:
            if row is None:
                session.outbox.drop([item])
        elif item.said != true and occasion.rebuilding:
            found.append(replace(item, status="recomputed", said=true))
        elif item.status != (status := "told" if item.said == true else "pending"):
            found.append(replace(item, status=status, queued_at=occasion.now))
    return found


def now_true(
    row: dict[str, Any] | None, item: Item, channel: Channel | None, granularity: Granularity
) -> dict[str, Any] | None:
    """Give what a channel should know of an alert; None when it should take it for gone.

    What it was told stays told though it would not be today: settings of a channel take nothing back.
    """
    if row is None or channel is None or item.said == gist(row) or wanted(channel, granularity, row):
        return row
    return None


def wanted(channel: Channel, granularity: Granularity, row: dict[str, Any]) -> bool:
    """Tell whether a channel wants an alert."""
    if row["instrument"] == GROUP:
        return channel.wants.group(granularity.name, str(row["members"]).split(","))
    reasons = Reasons.model_validate_json(row["reasons"])
    return channel.wants.alert(granularity.name, str(row["instrument"]), reasons)


def gist(row: dict[str, Any]) -> str:
    """Give what of an alert is worth telling anew when it changes: level and rules in words, or a group's members.

    Distances, chances and volumes may change by a little with every correction; they are no news.
    """
    if row["instrument"] == GROUP:
        return str(row["members"])
    why = Reasons.model_validate_json(row["reasons"])
    at = why.psychological_level
    number = f" {at.tier} {at.number} {at.position}" if at else ""
    pattern = f" {why.pattern_completion.pattern}" if why.pattern_completion else ""
    return f"{row['level']!r} {row['rules']}{number}{pattern}"


def is_silenced(instrument: str, silences: Iterable[str]) -> bool:
    """Tell whether nobody wants to hear of an instrument; of a group only a silence for everything says so."""
    return instrument in silences or EVERYTHING in silences


def _fresh(
    granularity: Granularity, alerts: pd.DataFrame, policy: Policy, occasion: Occasion
) -> list[tuple[str, dict[str, Any]]]:
    """Give the alerts that are news, and those that were missed while nobody was there, with their status."""
    live_since = occasion.live_since or (occasion.now if occasion.live else None)
    if live_since is None:
        return []  # before the first live pass, a backfill rings nobody's phone
    # All but the newest candle of that pass was loaded to warm up: it is history, however young, and stays so.
    since = market_hours.last_closed(granularity, live_since).start
    if occasion.told_from is not None:
        young = occasion.now - policy.age_limit(granularity) - _LONGEST_PAUSE
        since = max(since, min(young, occasion.told_from))
    found = []
    fresh: dict[pd.Timestamp, bool] = {}
    for row in _rows(alerts[alerts["closed_at"] > pd.Timestamp(since)]):
        closed_at = row["closed_at"]
        if closed_at not in fresh:
            fresh[closed_at] = policy.is_fresh(granularity, closed_at.to_pydatetime(), occasion.now)
        if fresh[closed_at]:
            found.append(("pending", row))
        elif occasion.told_from is not None and row["time"] >= occasion.told_from:
            found.append(("missed", row))
    return found


def _rows(alerts: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in alerts.to_dict("records")]


def _item(channel: Channel, granularity: Granularity, row: dict[str, Any], status: str, occasion: Occasion) -> Item:
    return Item(
        channel=channel.name,
        alert_id=row["alert_id"],
        granularity=granularity.name,
        instrument=row["instrument"],
        time=row["time"].to_pydatetime(),
        status=status,
        queued_at=occasion.now,
    )
