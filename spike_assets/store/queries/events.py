"""Events, filtered, sorted and paged, with their features and the rules that they are significant by."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store.engine import Connection
from spike_assets.store.queries.parts import Key, N, at_keys, in_order, keys_of, limits, of, of_instruments, selected
from spike_assets.store.tables import ALERTS, EVENTS, FEATURES, Column

EVENT_COLUMNS = (
    *of(EVENTS, "instrument", "time", "event_id", "closed_at", "level", "atr", "volume", "rebound_atr", "suspect"),
    *of(FEATURES, "distance_atr", "pattern", "pattern_run", "relative_volume", "volume_z", optional=True),
    *of(ALERTS, "rules", optional=True),
)
"""An event with the features that a table shows, and the rules that it is significant by; NULL where it is not."""

_SOURCES = {"e": EVENTS, "f": FEATURES, "a": ALERTS}
_SORTS = {
    "closed_at": "e.time",
    "instrument": "e.instrument",
    "level": "e.level",
    "atr": "e.atr",
    "volume": "e.volume",
    "rebound_atr": "e.rebound_atr",
    "distance_atr": "f.distance_atr",
    "pattern_run": "f.pattern_run",
    "relative_volume": "f.relative_volume",
    "volume_z": "f.volume_z",
}
_NAMED = re.compile(r"\b([efa])\.(\w+)")

EVENT_SORTS = tuple(_SORTS)
"""What events can be sorted by."""


@dataclass(frozen=True)
class EventFilter:
    """Which events; None is any.

    Attributes
    ----------
    opened_since
        Their candle opened at or after this, UTC.
    rule
        One of the rules that they are significant by.
    """

    granularity: Granularity
    instruments: tuple[str, ...] = ()
    pattern: str | None = None
    rule: str | None = None
    opened_since: datetime | None = None
    suspect: bool | None = None


class EventQueries:
    """Reads of events, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count_events(self, asked: EventFilter) -> int:
        """Give how many events there are."""
        where, parameters = _events_where(asked)
        found = self._connection.frame(
            _planned(asked.granularity, "SELECT COUNT(*) AS n", f"WHERE {where}"), [N], parameters
        )
        return int(found["n"].iloc[0])

    def event_keys(self, asked: EventFilter, sort: str, limit: int, offset: int = 0) -> list[Key]:
        """Give which events a page has.

        Parameters
        ----------
        sort
            One of `EVENT_SORTS`, with a minus in front where the greatest comes first. NULL comes last either way,
            and what is equal newest first.
        """
        where, parameters = _events_where(asked)
        column = _SORTS[sort.removeprefix("-")]
        order = f"{column} {'DESC' if sort.startswith('-') else 'ASC'} NULLS LAST, e.time DESC, e.instrument"
        rest = f"WHERE {where} ORDER BY {order} LIMIT {int(limit)} OFFSET {int(offset)}"
        return self._event_keys(asked.granularity, rest, parameters)

    def event_keys_behind(self, asked: EventFilter, behind: Key | None, limit: int) -> list[Key]:
        """Give the next events behind a key, by (time, instrument): all of them, piece by piece."""
        where, parameters = _events_where(asked)
        if behind is not None:
            where += " AND e.time >= ? AND (e.time > ? OR e.instrument > ?)"
            parameters += [behind.time, behind.time, behind.instrument]
        rest = f"WHERE {where} ORDER BY e.time, e.instrument LIMIT {int(limit)}"
        return self._event_keys(asked.granularity, rest, parameters)

    def _event_keys(self, granularity: Granularity, rest: str, parameters: Sequence[Any]) -> list[Key]:
        sql = _planned(granularity, "SELECT e.instrument, e.time", rest)
        return keys_of(self._connection.frame(sql, of(EVENTS, "instrument", "time"), parameters))

    def events(self, granularity: Granularity, keys: Sequence[Key]) -> pd.DataFrame:
        """Give events by their keys, in the order of these."""
        if not keys:
            return self._events(granularity, "FALSE", [])
        return in_order(self._events(granularity, *at_keys(keys)), keys)

    def events_since(self, granularity: Granularity, opened_since: datetime) -> pd.DataFrame:
        """Give the events of candles that opened since, by (time, instrument)."""
        return self._events(granularity, "e.time >= ?", [opened_since])

    def event(self, event_id: str) -> tuple[Granularity, Key] | None:
        """Say where an event is, a UUID as text; None where there is none."""
        for granularity in GRANULARITIES.values():
            found = self._connection.frame(
                f"SELECT instrument, time FROM {granularity.schema}.events WHERE event_id = CAST(? AS UUID)",  # noqa: S608
                of(EVENTS, "instrument", "time"),
                [event_id],
            )
            if len(found):
                return granularity, keys_of(found)[0]
        return None

    def levels(
        self,
        granularity: Granularity,
        instrument: str,
        *,
        since: datetime | None = None,
        before: datetime | None = None,
        least: float | None = None,
    ) -> pd.DataFrame:
        """Give an instrument's events of candles that open in `[since, before)`, oldest first.

        Parameters
        ----------
        least
            Only those whose level is no lower.
        """
        where, parameters = limits(("time >= ?", since), ("time < ?", before), ("level >= ?", least))
        return self._connection.frame(
            "SELECT time, CAST(event_id AS VARCHAR) AS event_id, closed_at, level, suspect"  # noqa: S608
            f" FROM {granularity.schema}.events WHERE instrument = ?{where} ORDER BY time",
            of(EVENTS, "time", "event_id", "closed_at", "level", "suspect"),
            [instrument, *parameters],
        )

    def patterns(self, granularity: Granularity, instrument: str, times: Sequence[datetime]) -> pd.DataFrame:
        """Give time and pattern of an instrument's events at some times: much quicker than all features, or a join."""
        where, parameters = at_keys([Key(instrument, time) for time in times]) if times else ("FALSE", [])
        return self._connection.frame(
            f"SELECT e.time, e.pattern FROM {granularity.schema}.features AS e WHERE {where} ORDER BY e.time",  # noqa: S608
            of(FEATURES, "time", "pattern"),
            parameters,
        )

    def features(self, granularity: Granularity, keys: Sequence[Key]) -> pd.DataFrame:
        """Give rows of `features` by their keys, in the order of these; what has none yet is left out."""
        where, parameters = at_keys(keys) if keys else ("FALSE", [])
        rows = self._connection.frame(
            f"SELECT {', '.join(f'e.{name}' for name in FEATURES.names)} FROM {granularity.schema}.features AS e"  # noqa: S608
            f" WHERE {where}",
            FEATURES.columns,
            parameters,
        )
        return in_order(rows, keys)

    def _events(self, granularity: Granularity, where: str, parameters: Sequence[Any]) -> pd.DataFrame:
        names = ", ".join(selected(column, _alias(column)) for column in EVENT_COLUMNS)
        schema = granularity.schema
        return self._connection.frame(
            f"SELECT {names} FROM {schema}.events AS e"  # noqa: S608
            f" LEFT JOIN (SELECT * FROM {schema}.features AS e WHERE {where}) AS f"
            " ON f.instrument = e.instrument AND f.time = e.time"
            f" LEFT JOIN (SELECT * FROM {schema}.alerts AS e WHERE {where}) AS a"
            " ON a.instrument = e.instrument AND a.time = e.time"
            f" WHERE {where} ORDER BY e.time, e.instrument",
            EVENT_COLUMNS,
            [*parameters, *parameters, *parameters],
        )


def _alias(column: Column) -> str:
    return next(alias for alias, table in _SOURCES.items() if column.name in table.names)


def _planned(granularity: Granularity, select: str, rest: str) -> str:
    """Give a query over events that reads the tables only that it has to.

    Joining events to features takes twenty times as long as either alone; both have the same keys, as has, for those
    that are significant, alerts. So without a column of `e` but its key, that is another table's key.
    """
    named = {alias for alias, name in _NAMED.findall(rest) if name not in EVENTS.key}
    first, *others = [alias for alias in "aef" if alias in named] or ["e"]
    joins = [
        f" JOIN {granularity.schema}.{_SOURCES[alias].name} AS {alias}"
        f" ON {alias}.instrument = {first}.instrument AND {alias}.time = {first}.time"
        for alias in others
    ]
    sql = f"{select} FROM {granularity.schema}.{_SOURCES[first].name} AS {first}{''.join(joins)} {rest}"
    return sql if "e" in (first, *others) else _NAMED.sub(lambda found: f"{_other(found[1], first)}.{found[2]}", sql)


def _other(alias: str, instead: str) -> str:
    return instead if alias == "e" else alias


def _events_where(asked: EventFilter) -> tuple[str, list[Any]]:
    named, parameters = of_instruments("e", asked.instruments)
    conditions = [f"TRUE{named}"]
    for condition, value in (
        ("e.time >= ?", asked.opened_since),
        ("f.pattern = ?", asked.pattern),
        ("',' || a.rules || ',' LIKE ?", asked.rule and f"%,{asked.rule},%"),
        ("e.suspect = ?", None if asked.pattern or asked.rule else asked.suspect),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    if asked.suspect is not None and (asked.pattern or asked.rule):
        # There are few suspects: to look for each among them is much quicker than joining all events.
        same = "s.instrument = e.instrument AND s.time = e.time AND s.suspect"
        among = f"EXISTS (SELECT 1 FROM {asked.granularity.schema}.events AS s WHERE {same})"  # noqa: S608
        conditions.append(among if asked.suspect else f"NOT {among}")
    return " AND ".join(conditions), parameters
