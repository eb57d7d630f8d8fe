"""Who is to be told of what, and was: `ops.outbox`, `ops.deliveries`, `ops.silences`, `ops.incidents`.

Rows in, rows out. When something is queued, claimed or given up is the business of `alerts`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any
from uuid import uuid4

import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import DELIVERIES, INCIDENTS, OUTBOX, SILENCES
from spike_assets.store.tables import Column, Table

EVERYTHING = "*"
"""Silences everything, in the place of an instrument."""

UNSAID = ("pending", "missed")
"""Statuses of what is still to be told."""


@dataclass(frozen=True)
class Item:
    """What one channel is to be told, or was told, of one alert; the columns of `ops.outbox`."""

    channel: str
    alert_id: str
    granularity: str
    instrument: str
    time: datetime
    status: str
    queued_at: datetime
    said: str | None = None
    delivery_id: str | None = None


@dataclass(frozen=True)
class Delivery:
    """A frozen message and what became of it; the columns of `ops.deliveries`."""

    channel: str
    number: int
    kind: str
    granularity: str | None
    time: datetime | None
    body: str
    created_at: datetime
    tried_since: datetime
    next_attempt_at: datetime
    status: str = "waiting"
    attempts: int = 0
    sent_at: datetime | None = None
    error: str | None = None
    delivery_id: str = ""


@dataclass(frozen=True)
class Incident:
    """Something that is wrong with the platform itself, and was told of; the columns of `ops.incidents`."""

    incident: str
    text: str
    since_time: datetime


_NUMBER = (Column("number", "int", "the highest"),)
_CHANNEL = (Column("channel", "text", "name"),)
_COUNTS = (*_CHANNEL, Column("n", "int", "how many"))
_DUE = (Column("channel", "text", "name"), Column("due", "time", "from when on"))


class Outbox:
    """The outbox, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self) -> None:
        """Keep others from queueing, claiming and freezing, until the transaction ends: before what is read for it."""
        self._connection.claim("outbox")

    def claim_incidents(self) -> None:
        """Keep others from opening and closing incidents, until the transaction ends."""
        self._connection.claim("incidents")

    # --- what is to be told -------------------------------------------------------------------------------------------

    def items(self, granularity: Granularity, window: Window) -> list[Item]:
        """Give what was queued for any channel about candles that open in a window."""
        return self._items("granularity = ? AND time >= ? AND time < ?", [granularity.name, window.start, window.end])

    def untold(self, channel: str) -> list[Item]:
        """Give what a channel is still to be told, oldest candle first."""
        return self._items(
            f"channel = ? AND status IN ({', '.join('?' * len(UNSAID))})",
            [channel, *UNSAID],
        )

    def told_of(self, alert_ids: Sequence[str]) -> list[Item]:
        """Give what every channel was told of these alerts, or is to be."""
        return self._items(f"CAST(alert_id AS VARCHAR) IN ({', '.join(['?'] * len(alert_ids)) or 'NULL'})", alert_ids)

    def _items(self, where: str, parameters: Sequence[Any]) -> list[Item]:
        rows = _read(self._connection, OUTBOX, where, "time, granularity, instrument, channel", parameters)
        return [Item(**row) for row in rows]

    def put(self, items: Sequence[Item]) -> None:
        """Store items, one per channel and alert, in the place of those that were there."""
        if not items:
            return
        self._connection.load("items", OUTBOX.columns, _frame(OUTBOX, items))
        names = ", ".join(OUTBOX.names)
        values = ", ".join(_cast(column, "i.") for column in OUTBOX.columns)
        updates = ", ".join(f"{name} = EXCLUDED.{name}" for name in OUTBOX.names if name not in OUTBOX.key)
        self._connection.execute(
            f"INSERT INTO ops.outbox AS t ({names}) SELECT {values} FROM items AS i"  # noqa: S608
            f" ON CONFLICT (channel, alert_id) DO UPDATE SET {updates}"
        )

    def drop(self, items: Sequence[Item]) -> None:
        """Remove items that nobody was told of."""
        for item in items:
            self._connection.execute(
                "DELETE FROM ops.outbox WHERE channel = ? AND alert_id = CAST(? AS UUID)", [item.channel, item.alert_id]
            )

    def forget(self, granularity: Granularity) -> None:
        """Remove all that was, or is to be, told of a granularity: its candles are gone."""
        for table in ("outbox", "deliveries"):
            self._connection.execute(f"DELETE FROM ops.{table} WHERE granularity = ?", [granularity.name])  # noqa: S608

    def recomputed(self) -> list[Item]:
        """Give what a rebuild made other than it was told."""
        return self._items("status = 'recomputed'", [])

    # --- messages -----------------------------------------------------------------------------------------------------

    def freeze(self, delivery: Delivery) -> Delivery:
        """Store a new message behind all others of its channel; give it with its number."""
        self.claim()
        highest = self._connection.frame(
            "SELECT COALESCE(MAX(number), 0) AS number FROM ops.deliveries WHERE channel = ?",
            _NUMBER,
            [delivery.channel],
        )
        values = asdict(delivery) | {"number": int(highest["number"].iloc[0]) + 1}
        values["delivery_id"] = values["delivery_id"] or str(uuid4())
        self._connection.execute(
            f"INSERT INTO ops.deliveries ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
            list(values.values()),
        )
        return Delivery(**values)

    def write(self, delivery: Delivery) -> None:
        """Record what became of a message."""
        self._connection.execute(
            "UPDATE ops.deliveries SET status = ?, tried_since = ?, attempts = ?, next_attempt_at = ?, sent_at = ?,"
            " error = ? WHERE delivery_id = CAST(? AS UUID)",
            [
                delivery.status,
                delivery.tried_since,
                delivery.attempts,
                delivery.next_attempt_at,
                delivery.sent_at,
                delivery.error,
                delivery.delivery_id,
            ],
        )

    def dead(self, channel: str | None = None) -> list[Delivery]:
        """Give the messages that were given up, oldest first."""
        where, parameters = (
            ("status = 'dead'", []) if channel is None else ("status = 'dead' AND channel = ?", [channel])
        )
        return self._deliveries(where, "channel, number", parameters)

    def said_by(self, delivery_id: str) -> list[Item]:
        """Give what a message was the last to say."""
        return self._items("delivery_id = ?", [delivery_id])

    def first_waiting(self, channel: str) -> Delivery | None:
        """Give the message that a channel is to be sent next; None when all are sent or dead."""
        found = self._deliveries("channel = ? AND status = 'waiting'", "number LIMIT 1", [channel])
        return found[0] if found else None

    def about(self, channel: str, granularity: Granularity, time: datetime) -> list[Delivery]:
        """Give what was frozen for a channel about a candle time, in order."""
        return self._deliveries(
            "channel = ? AND granularity = ? AND time = ?", "number", [channel, granularity.name, time]
        )

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Give a message by its id; None when there is none."""
        found = self._deliveries("CAST(delivery_id AS VARCHAR) = ?", "number", [delivery_id])
        return found[0] if found else None

    def newest(self, limit: int, *, status: str | None = None, channel: str | None = None) -> list[Delivery]:
        """Give messages, newest first."""
        where, parameters = ["TRUE"], []
        for name, value in (("status", status), ("channel", channel)):
            if value is not None:
                where.append(f"{name} = ?")
                parameters.append(value)
        return self._deliveries(" AND ".join(where), f"created_at DESC, number DESC LIMIT {int(limit)}", parameters)

    def _deliveries(self, where: str, order: str, parameters: Sequence[Any]) -> list[Delivery]:
        return [Delivery(**row) for row in _read(self._connection, DELIVERIES, where, order, parameters)]

    def waiting(self) -> dict[str, datetime]:
        """Give the channels with frozen messages that are not sent: when the first of them is to be tried."""
        found = self._connection.frame(
            "SELECT d.channel, d.next_attempt_at AS due FROM ops.deliveries AS d JOIN"
            " (SELECT channel, MIN(number) AS number FROM ops.deliveries WHERE status = 'waiting' GROUP BY channel)"
            " AS f ON f.channel = d.channel AND f.number = d.number",
            _DUE,
        )
        return {str(channel): due.to_pydatetime() for channel, due in found.itertuples(index=False)}

    def newest_waiting(self, channels: Sequence[str]) -> tuple[str, int]:
        """Give the id of what was queued or frozen last and is not sent, and how often what goes first was tried."""
        heads = [head for name in channels if (head := self.first_waiting(name)) is not None]
        pending = [item for name in channels for item in self.untold(name)]
        frozen = [
            one for name in channels for one in self._deliveries("channel = ? AND status = 'waiting'", "number", [name])
        ]
        stamped = [(item.queued_at, item.alert_id) for item in pending]
        stamped += [(delivery.created_at, delivery.delivery_id) for delivery in frozen]
        return max(stamped, default=(None, ""))[1], sum(head.attempts for head in heads)

    def count_dead(self) -> dict[str, int]:
        """Give how many messages were given up, by channel."""
        found = self._connection.frame(
            "SELECT channel, COUNT(*) AS n FROM ops.deliveries WHERE status = 'dead' GROUP BY channel ORDER BY channel",
            _COUNTS,
        )
        return {str(channel): int(n) for channel, n in found.itertuples(index=False)}

    # --- silences and incidents ---------------------------------------------------------------------------------------

    def silences(self, now: datetime) -> dict[str, datetime]:
        """Give what is silenced at a time, and until when."""
        rows = _read(self._connection, SILENCES, "since_time <= ? AND until_time > ?", "instrument", [now, now])
        return {row["instrument"]: row["until_time"] for row in rows}

    def silence(self, instrument: str, since: datetime, until: datetime) -> None:
        """Silence an instrument, or everything, until a time; an `until` that is not later ends it."""
        self._connection.execute(
            "INSERT INTO ops.silences AS t (instrument, since_time, until_time) VALUES (?, ?, ?)"
            " ON CONFLICT (instrument) DO UPDATE SET since_time = EXCLUDED.since_time,"
            " until_time = EXCLUDED.until_time",
            [instrument, since, until],
        )

    def incidents(self) -> list[Incident]:
        """Give what is wrong and was told of."""
        return [Incident(**row) for row in _read(self._connection, INCIDENTS, "TRUE", "since_time, incident", [])]

    def open_incident(self, incident: Incident) -> None:
        """Remember that something was told of."""
        self._connection.execute(
            "INSERT INTO ops.incidents AS t (incident, text, since_time) VALUES (?, ?, ?)"
            " ON CONFLICT (incident) DO UPDATE SET text = EXCLUDED.text",
            list(asdict(incident).values()),
        )

    def close_incident(self, incident: str) -> None:
        """Forget what has cleared."""
        self._connection.execute("DELETE FROM ops.incidents WHERE incident = ?", [incident])


def _read(
    connection: Connection, table: Table, where: str, order: str, parameters: Sequence[Any]
) -> list[dict[str, Any]]:
    names = ", ".join(
        f"CAST({column.name} AS VARCHAR) AS {column.name}" if column.kind == "uuid" else column.name
        for column in table.columns
    )
    rows = connection.frame(
        f"SELECT {names} FROM ops.{table.name} WHERE {where} ORDER BY {order}",  # noqa: S608
        table.columns,
        parameters,
    )
    return [
        {column.name: _plain(column, value) for column, value in zip(table.columns, row, strict=True)}
        for row in rows.itertuples(index=False)
    ]


def _plain(column: Column, value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if column.kind == "time":
        return value.to_pydatetime()
    return int(value) if column.kind == "int" else str(value)


def _cast(column: Column, prefix: str) -> str:
    return f"CAST({prefix}{column.name} AS UUID)" if column.kind == "uuid" else f"{prefix}{column.name}"


def _frame(table: Table, items: Sequence[Item]) -> pd.DataFrame:
    names = [one.name for one in fields(items[0])]
    columns = {name: [getattr(item, name) for item in items] for name in names}
    return pd.DataFrame(
        {
            column.name: pd.DatetimeIndex(columns[column.name]).as_unit("us")
            if column.kind == "time"
            else pd.Series(columns[column.name], dtype=object)
            for column in table.columns
        }
    )
