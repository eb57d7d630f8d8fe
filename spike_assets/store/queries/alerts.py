"""Alerts of all granularities, filtered and paged, who was told of them, and who has seen them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import ACKNOWLEDGED, DELIVERIES, OUTBOX
from spike_assets.store.queries.parts import GRANULARITY, Key, N, at_keys, in_order, marks, of, selected, uuids
from spike_assets.store.tables import ALERTS, Column

TOLD_COLUMNS = (
    *(next(column for column in OUTBOX.columns if column.name == name) for name in ("alert_id", "channel", "status")),
    Column("delivery_status", "text", "of the message", "not yet"),
    *of(DELIVERIES, "sent_at", "error"),
)
"""Who was told of an alert, and what became of the message."""


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts; empty is any. An instrument's are also the groups that it is a member of."""

    granularities: tuple[Granularity, ...] = ()
    instruments: tuple[str, ...] = ()
    rule: str | None = None
    closed_since: datetime | None = None
    acknowledged: bool | None = None


class AlertQueries:
    """Reads of alerts, and acknowledgements, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def alert_places(self, asked: AlertFilter, limit: int, offset: int = 0) -> list[tuple[Granularity, Key]]:
        """Give which alerts a page has, newest first, groups before instruments."""
        union, parameters = _alerts_union(asked)
        found = self._connection.frame(
            f"SELECT granularity, instrument, time FROM ({union}) AS u"  # noqa: S608
            f" ORDER BY closed_at DESC, granularity, instrument LIMIT {int(limit)} OFFSET {int(offset)}",
            (GRANULARITY, *of(ALERTS, "instrument", "time")),
            parameters,
        )
        return [
            (GRANULARITIES[str(name)], Key(str(instrument), time.to_pydatetime()))
            for name, instrument, time in found.itertuples(index=False)
        ]

    def count_alerts(self, asked: AlertFilter) -> int:
        """Give how many alerts there are."""
        union, parameters = _alerts_union(asked)
        found = self._connection.frame(f"SELECT COUNT(*) AS n FROM ({union}) AS u", [N], parameters)  # noqa: S608
        return int(found["n"].iloc[0])

    def alerts(self, granularity: Granularity, keys: Sequence[Key]) -> pd.DataFrame:
        """Give rows of `alerts` by their keys, in the order of these."""
        where, parameters = at_keys(keys) if keys else ("FALSE", [])
        names = ", ".join(selected(column, "e") for column in ALERTS.columns)
        rows = self._connection.frame(
            f"SELECT {names} FROM {granularity.schema}.alerts AS e WHERE {where}",  # noqa: S608
            ALERTS.columns,
            parameters,
        )
        return in_order(rows, keys)

    def alert_ids(self, asked: AlertFilter) -> list[str]:
        """Give the ids of alerts."""
        union, parameters = _alerts_union(asked)
        found = self._connection.frame(
            f"SELECT CAST(alert_id AS VARCHAR) AS alert_id FROM ({union}) AS u",  # noqa: S608
            ACKNOWLEDGED.columns[:1],
            parameters,
        )
        return [str(one) for one in found["alert_id"]]

    def has_alert(self, alert_id: str) -> bool:
        """Tell whether there is an alert of that id, a UUID as text."""
        union = " UNION ALL ".join(
            f"SELECT 1 AS n FROM {one.schema}.alerts WHERE alert_id = CAST(? AS UUID)"  # noqa: S608
            for one in GRANULARITIES.values()
        )
        return bool(len(self._connection.frame(union, [N], [alert_id] * len(GRANULARITIES))))

    def acknowledged(self, alert_ids: Sequence[str]) -> dict[str, datetime]:
        """Give when alerts were acknowledged, of those that were."""
        found = self._connection.frame(
            "SELECT CAST(alert_id AS VARCHAR) AS alert_id, acknowledged_at FROM ops.acknowledged"  # noqa: S608
            f" WHERE alert_id IN ({uuids(alert_ids)})",
            ACKNOWLEDGED.columns,
            alert_ids,
        )
        return {str(one): at.to_pydatetime() for one, at in found.itertuples(index=False)}

    def acknowledge(self, alert_ids: Sequence[str], now: datetime) -> None:
        """Note that somebody has seen alerts; when first is kept."""
        for alert_id in alert_ids:
            self._connection.execute(
                "INSERT INTO ops.acknowledged AS t (alert_id, acknowledged_at) VALUES (CAST(? AS UUID), ?)"
                " ON CONFLICT (alert_id) DO NOTHING",
                [alert_id, now],
            )

    def told(self, alert_ids: Sequence[str]) -> pd.DataFrame:
        """Give who was told of alerts, by channel: alert_id, channel, status, and its message."""
        return self._connection.frame(
            "SELECT CAST(o.alert_id AS VARCHAR) AS alert_id, o.channel, o.status, d.status AS delivery_status,"  # noqa: S608
            " d.sent_at, d.error FROM ops.outbox AS o LEFT JOIN ops.deliveries AS d"
            " ON CAST(d.delivery_id AS VARCHAR) = o.delivery_id"
            f" WHERE o.alert_id IN ({uuids(alert_ids)}) ORDER BY o.channel",
            TOLD_COLUMNS,
            alert_ids,
        )


def _alerts_union(asked: AlertFilter) -> tuple[str, list[Any]]:
    conditions, parameters = ["TRUE"], list[Any]()
    if asked.instruments:
        member = " OR ".join(["',' || members || ',' LIKE ?"] * len(asked.instruments))
        conditions.append(f"(instrument IN ({marks(asked.instruments)}) OR instrument = '*' AND ({member}))")
        parameters += [*asked.instruments, *(f"%,{name},%" for name in asked.instruments)]
    if asked.rule is not None:
        conditions.append("',' || rules || ',' LIKE ?")
        parameters.append(f"%,{asked.rule},%")
    if asked.closed_since is not None:
        conditions.append("closed_at >= ?")
        parameters.append(asked.closed_since)
    if asked.acknowledged is not None:
        among = "IN" if asked.acknowledged else "NOT IN"
        conditions.append(f"alert_id {among} (SELECT alert_id FROM ops.acknowledged)")  # noqa: S608
    chosen = asked.granularities or tuple(GRANULARITIES.values())
    union = " UNION ALL ".join(
        f"SELECT '{one.name}' AS granularity, instrument, time, closed_at, alert_id FROM {one.schema}.alerts"  # noqa: S608
        f" WHERE {' AND '.join(conditions)}"
        for one in chosen
    )
    return union, parameters * len(chosen)
