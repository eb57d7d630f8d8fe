"""Freezing what a channel is to be told into messages: what is claimed keeps its id and its words, come what may.

One message per channel and candle time; what comes later for it is a supplement, what is taken back a correction.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import uuid4

import pandas as pd

from spike_assets import market_hours
from spike_assets.alerts import compose
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.digest import Digest, Entry, Group, Kind, Missed, Status
from spike_assets.alerts.queue import TAKEN_BACK, gist, is_silenced, now_true
from spike_assets.core.alerts import GROUP
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window
from spike_assets.store.data import Span
from spike_assets.store.outbox import Delivery, Item
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, EVENTS, FEATURES

_JUST_BEHIND = timedelta(microseconds=1)


@dataclass(frozen=True)
class About:
    """What every message says of where it comes from."""

    source: str
    public_url: str | None = None

    def digest(self, kind: Kind, created_at: datetime, **says: Any) -> Digest:
        """Make a message of a kind, with an id of its own."""
        return Digest(
            digest_id=str(uuid4()),
            kind=kind,
            created_at=created_at,
            source=self.source,
            simulated=self.source == "simulated",
            **says,
        )


def claim(session: Session, channel: Channel, about: About, now: datetime) -> list[Delivery]:
    """Freeze what a channel is to be told next: about the oldest candle that there is something to tell of.

    What has been silenced meanwhile is not told. What was missed while spike was away becomes one summary per
    granularity, behind all else. The rest is not frozen yet: what comes later for its candles is told with it.

    Returns
    -------
    list of Delivery
        The new messages: none when there is nothing to tell, two when something is taken back at the same time.
    """
    session.outbox.claim()
    items = ready(session, channel, now)
    pending = sorted((item for item in items if item.status == "pending"), key=_closed)
    for _, together in groupby(pending, key=lambda item: (item.granularity, item.time)):
        if frozen := _candle_time(session, channel, about, list(together), now):
            return frozen
    missed = [item for item in items if item.status == "missed"]
    if not missed:
        return []
    name = min(item.granularity for item in missed)
    old = [item for item in missed if item.granularity == name]
    return [_summary(session, channel, about, GRANULARITIES[name], old, now)]


def ready(session: Session, channel: Channel, now: datetime) -> list[Item]:
    """Give what a channel may be told now.

    What may change any moment waits: a rebuild, say, has emptied the tables and fills them step by step. What was
    missed waits until all of its granularity is caught up with.
    """
    untold = session.outbox.untold(channel.name)
    by_granularity: dict[str, list[Item]] = {}
    for item in untold:
        by_granularity.setdefault(item.granularity, []).append(item)
    found: list[Item] = []
    for name, items in by_granularity.items():
        granularity = GRANULARITIES[name]
        marks = session.pending.of(granularity, ALERTS.name)
        found += [item for item in _settled(items, marks) if item.status == "pending"]
        missed = [item for item in items if item.status == "missed"]
        if missed and not marks and _caught_up(session, granularity, now):
            found += missed
    return found


def _settled(items: Sequence[Item], marks: Sequence[Mark]) -> list[Item]:
    """Give those whose candle time nothing is to change that is known of."""
    return [item for item in items if not any(mark.from_time <= item.time <= mark.to_time for mark in marks)]


def _closed(item: Item) -> tuple[datetime, str]:
    return market_hours.close_of(GRANULARITIES[item.granularity], item.time), item.granularity


def _candle_time(
    session: Session, channel: Channel, about: About, items: Sequence[Item], now: datetime
) -> list[Delivery]:
    """Freeze what is to be told about one candle time: what is new or changed, and what is taken back."""
    granularity, time = GRANULARITIES[items[0].granularity], items[0].time
    silences = session.outbox.silences(now)
    rows = {row["alert_id"]: row for row in read(session, granularity, time)}
    if not _settled(items[:1], session.pending.of(granularity, ALERTS.name)):
        return []  # it has begun to change since: some of what was read may be newer than the rest
    sent = {item.alert_id: message for item in items if item.said is not None and (message := _told_in(session, item))}
    told: list[tuple[Item, dict[str, Any]]] = []
    back: list[Item] = []
    quiet: list[Item] = []
    for item in items:
        row = now_true(rows.get(item.alert_id), item, channel, granularity)
        if row is None:
            (back if item.alert_id in sent else quiet).append(item)
        elif is_silenced(item.instrument, silences):
            quiet.append(replace(item, status="silenced"))
        elif item.said == gist(row):
            quiet.append(replace(item, status="told"))
        else:
            told.append((item, row))
    session.outbox.put([item for item in quiet if item.status != "pending"])
    session.outbox.drop([item for item in quiet if item.status == "pending"])
    earlier = [one for one in session.outbox.about(channel.name, granularity, time) if one.status == "sent"]
    frozen = []
    if back:
        entries, group = _said_before({item.alert_id: sent[item.alert_id] for item in back})
        digest = about.digest(
            "correction",
            now,
            follows=sent[back[0].alert_id].delivery_id,
            **_of_candle(granularity, time),
            entries=entries,
            group=group,
        )
        frozen.append(freeze(session, channel, digest))
        session.outbox.put(
            [replace(i, status="told", said=TAKEN_BACK, delivery_id=frozen[-1].delivery_id) for i in back]
        )
    if told:
        statuses: dict[str, Status] = {item.alert_id: "updated" if item.alert_id in sent else "new" for item, _ in told}
        digest = about.digest(
            "supplement" if earlier else "digest",
            now,
            follows=earlier[-1].delivery_id if earlier else None,
            **_of_candle(granularity, time),
            **content(granularity, [row for _, row in told], about.public_url, statuses),
        )
        frozen.append(freeze(session, channel, digest))
        session.outbox.put(
            [replace(item, status="told", said=gist(row), delivery_id=frozen[-1].delivery_id) for item, row in told]
        )
    return frozen


def _told_in(session: Session, item: Item) -> Delivery | None:
    """Give the newest message that was taken and speaks of an alert; None where there is none, or it took it back."""
    for one in reversed(session.outbox.about(item.channel, GRANULARITIES[item.granularity], item.time)):
        if one.status == "sent" and (status := _speaks_of(one, item.alert_id)):
            return one if status != "withdrawn" else None
    return None


def _speaks_of(delivery: Delivery, alert_id: str) -> Status | None:
    said = Digest.model_validate_json(delivery.body)
    found: list[Entry | Group] = [*said.entries, *([said.group] if said.group else [])]
    return next((one.status for one in found if one.alert_id == alert_id), None)


def _summary(
    session: Session, channel: Channel, about: About, granularity: Granularity, items: Sequence[Item], now: datetime
) -> Delivery:
    """Freeze one message that stands for all that was missed."""
    ids = {item.alert_id for item in items}
    window = Window(items[0].time, items[-1].time + _JUST_BEHIND)
    alerts = session.data.read(granularity, ALERTS, window, ["alert_id", "instrument", "rules"])
    alerts = alerts[alerts["alert_id"].isin(ids)]
    rules = Counter(rule for names in alerts["rules"] for rule in names.split(","))
    missed = Missed(
        alerts=len(alerts),
        first=items[0].time,
        last=items[-1].time,
        rules=dict(rules.most_common()),
        instruments=dict(Counter(name for name in alerts["instrument"] if name != GROUP).most_common()),
    )
    link = about.public_url and f"{about.public_url}/?granularity={granularity.name}"
    digest = about.digest("summary", now, granularity=granularity.name, missed=missed, link=link)
    delivery = freeze(session, channel, digest)
    session.outbox.put([replace(item, status="told", delivery_id=delivery.delivery_id) for item in items])
    return delivery


def _caught_up(session: Session, granularity: Granularity, now: datetime) -> bool:
    """Tell whether every candle that has closed is processed."""
    state = session.ops.state(granularity)
    done = state.last_processed if state else None
    return done is not None and done >= market_hours.last_closed(granularity, now).end


def freeze(session: Session, channel: Channel, digest: Digest) -> Delivery:
    """Store a message behind all others of its channel, to be sent as it is."""
    return session.outbox.freeze(
        Delivery(
            channel=channel.name,
            number=0,  # given by the store
            kind=digest.kind,
            granularity=digest.granularity,
            time=digest.time,
            body=digest.model_dump_json(),
            created_at=digest.created_at,
            tried_since=digest.created_at,
            next_attempt_at=digest.created_at,
            delivery_id=digest.digest_id,
        )
    )


def read(session: Session, granularity: Granularity, time: datetime) -> list[dict[str, Any]]:
    """Give the alerts of a candle time, each with what a message says of its event."""
    window = Window(time, time + _JUST_BEHIND)
    alerts = session.data.read(granularity, ALERTS, window)
    return described(session, granularity, alerts)


def described(session: Session, granularity: Granularity, alerts: pd.DataFrame) -> list[dict[str, Any]]:
    """Give alerts with what a message says of their events: ATR, rebound, pattern, relative volume, decimals."""
    names = sorted({str(name) for name in alerts["instrument"]} - {GROUP})
    if alerts.empty:
        return []
    start, end = alerts["time"].min().to_pydatetime(), alerts["time"].max().to_pydatetime() + _JUST_BEHIND
    spans = [Span(name, start, end) for name in names]
    events = session.data.read(granularity, EVENTS, spans, ["instrument", "time", "atr", "rebound_atr"])
    columns = ["instrument", "time", "pattern", "pattern_run", "distance_atr", "relative_volume"]
    features = session.data.read(granularity, FEATURES, spans, columns)
    key = ["instrument", "time"]
    rows = alerts.merge(events, how="left", on=key).merge(features, how="left", on=key)
    decimals = session.ops.decimals(names)
    rows["decimals"] = [decimals.get(str(name), 0) for name in rows["instrument"]]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def content(
    granularity: Granularity, rows: Sequence[Mapping[str, Any]], public_url: str | None, statuses: Mapping[str, Status]
) -> dict[str, Any]:
    """Give the group and the entries of a message about alerts of one candle time."""
    frame = pd.DataFrame(list(rows))
    return {
        "group": compose.group(frame, statuses=statuses),
        "entries": compose.entries(granularity, frame, public_url=public_url, statuses=statuses),
    }


def _said_before(told: Mapping[str, Delivery]) -> tuple[tuple[Entry, ...], Group | None]:
    """Give what messages said of the alerts that they are given for, marked as withdrawn."""
    entries: list[Entry] = []
    group: Group | None = None
    for alert_id, delivery in told.items():
        said = Digest.model_validate_json(delivery.body)
        entries += [one.model_copy(update={"status": "withdrawn"}) for one in said.entries if one.alert_id == alert_id]
        if said.group is not None and said.group.alert_id == alert_id:
            group = said.group.model_copy(update={"status": "withdrawn"})
    return tuple(entries), group


def _of_candle(granularity: Granularity, time: datetime) -> dict[str, Any]:
    return {"granularity": granularity.name, "time": time, "closed_at": market_hours.close_of(granularity, time)}
