"""The data tables of a granularity: reading stretches of them, and writing only what changed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.market_hours import Window
from spike_assets.store.engine import Connection
from spike_assets.store.pending import Mark
from spike_assets.store.rows import Ints, comparable, difference, micros, no_rows, storable
from spike_assets.store.tables import ATR, CANDLES, EVENTS, FEATURES, QUARANTINE, Column, Table


class Span(NamedTuple):
    """A stretch of one instrument's candles: `start <= time < end`, UTC."""

    instrument: str
    start: datetime
    end: datetime


Within = Sequence[Span] | Window
"""Spans, one per instrument; or a window, and then every instrument's rows in it."""

_NEWEST = (Column("instrument", "text", "whose candle"), Column("time", "time", "its open"))
_SEEN = tuple(column for column in CANDLES.columns if column.name in (*CANDLES.key, *CANDLES.bookkeeping))
_COUNT = (Column("n", "int", "how many"),)
_REASONS = (Column("reason", "text", "why in quarantine"), *_COUNT)
_COVERAGE = (
    Column("instrument", "text", "whose candles"),
    Column("first", "time", "open of the first one found"),
    Column("newest", "time", "open of the newest one"),
    *_COUNT,
)


@dataclass(frozen=True)
class Changes:
    """What a write did to one table.

    `keys` has instrument and time of every row that was added, changed or removed.
    """

    added: int
    updated: int
    removed: int
    keys: pd.DataFrame

    @property
    def rows(self) -> int:
        """How many rows were touched."""
        return self.added + self.updated + self.removed

    def ranges(self) -> list[Mark]:
        """Give the changed range per instrument."""
        return [Mark(*ends) for ends in _ends_of(self.keys)]


class Data:
    """The data tables, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(
        self,
        granularity: Granularity,
        table: Table,
        within: Within | None = None,
        columns: Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Give rows in key order: those `within` spans or a window, or all; with all columns, or these."""
        chosen = [c for c in table.columns if columns is None or c.name in set(columns)]
        names = ", ".join(_selected(column) for column in chosen)
        if within is not None and not within:
            return no_rows(table)[[column.name for column in chosen]]
        order = ", ".join(f"t.{name}" for name in table.key)
        where, parameters = ("TRUE", []) if within is None else _inside(within)
        return self._connection.frame(
            f"SELECT {names} FROM {granularity.schema}.{table.name} AS t WHERE {where} ORDER BY {order}",  # noqa: S608
            chosen,
            parameters,
        )

    def write_candles(
        self, granularity: Granularity, candles: pd.DataFrame, fetched_at: datetime | Mapping[str, datetime]
    ) -> Changes:
        """Store valid candles, one per key, unless the stored one was fetched later.

        A candle that comes again with the same values is only noted as fetched again.

        Parameters
        ----------
        fetched_at
            When they were fetched: all of them, or each instrument's.
        """
        fresh = storable(CANDLES, candles.assign(fetched_at=_stamps(candles, fetched_at)))
        stored = self.read(granularity, CANDLES, _around(fresh))
        changed, _, at = difference(granularity.schema, CANDLES, stored, fresh)
        older = np.ones(len(fresh), dtype=bool)
        known = at >= 0
        older[known] = micros(stored["fetched_at"])[at[known]] < micros(fresh["fetched_at"])[known]
        again = fresh[~changed & older]
        if len(again):
            self._note_fetched_again(granularity, again)
        return self._write(granularity, CANDLES, fresh[changed & older], at[changed & older])

    def _note_fetched_again(self, granularity: Granularity, again: pd.DataFrame) -> None:
        self._connection.load("again", _SEEN, again)
        self._connection.execute(
            f"UPDATE {granularity.schema}.candles AS t SET fetched_at = again.fetched_at FROM again"  # noqa: S608
            " WHERE t.instrument = again.instrument AND t.time = again.time AND t.time >= ? AND t.time <= ?",
            _hull(again),
        )

    def write_quarantine(self, granularity: Granularity, rejected: pd.DataFrame, fetched_at: datetime) -> Changes:
        """Keep rejected candles, one per (instrument, time, reason); the same ones again change nothing."""
        if rejected.empty:
            return Changes(0, 0, 0, rejected[["instrument", "time"]])
        fresh = storable(QUARANTINE, rejected.assign(fetched_at=pd.Timestamp(fetched_at).as_unit("us")))
        stored = self.read(granularity, QUARANTINE, _around(fresh))
        changed, _, at = difference(granularity.schema, QUARANTINE, stored, fresh)
        return self._write(granularity, QUARANTINE, fresh[changed], at[changed])

    def replace(self, granularity: Granularity, table: Table, within: Within, rows: pd.DataFrame) -> Changes:
        """Make the rows of `table` within spans or a window exactly `rows`; those right already are not touched."""
        fresh = storable(table, rows)
        stored = self.read(granularity, table, within)
        changed, gone, at = difference(granularity.schema, table, stored, fresh)
        if gone.any():
            self._delete(granularity, table, stored[gone])
        written = self._write(granularity, table, fresh[changed], at[changed])
        keys = pd.concat([written.keys, stored.loc[gone, ["instrument", "time"]]]) if gone.any() else written.keys
        return Changes(written.added, written.updated, int(gone.sum()), keys)

    def remove_omitted(
        self, granularity: Granularity, within: Sequence[Span], came: pd.DataFrame, fetched_at: Mapping[str, datetime]
    ) -> Changes:
        """Remove stored candles `within` spans that are not among those that came, unless they were fetched later.

        What was derived of them alone goes with them: no stage comes by where there is no candle. Alerts stay.

        Parameters
        ----------
        came
            instrument and time of every candle that came, invalid ones too.
        fetched_at
            When each instrument's candles came.
        """
        stored = self.read(granularity, CANDLES, within, [column.name for column in _SEEN])
        ours, theirs = (pd.MultiIndex.from_frame(rows[list(CANDLES.key)]) for rows in (stored, came))
        gone = stored[~ours.isin(theirs) & (stored["fetched_at"] < _stamps(stored, fetched_at))]
        if len(gone):
            for table in (CANDLES, ATR, EVENTS, FEATURES):
                self._delete(granularity, table, gone)
        return Changes(0, 0, len(gone), gone[["instrument", "time"]])

    def clear(self, granularity: Granularity, table: Table, since: datetime | None = None) -> None:
        """Remove every row of a table, or those of candles that open at or after `since`."""
        where, parameters = ("", []) if since is None else (" WHERE time >= ?", [since])
        self._connection.execute(f"DELETE FROM {granularity.schema}.{table.name}{where}", parameters)  # noqa: S608

    def newest(self, granularity: Granularity, instruments: Sequence[str], since: datetime) -> dict[str, datetime]:
        """Give the open of each instrument's newest candle; `since` is a guess that spares reading older ones."""
        found: dict[str, datetime] = {}
        # One that has been silent for long must not have everybody's history read.
        for reach in (since, since - granularity.lookback, since - 12 * granularity.lookback, EARLIEST):
            found |= self._ends(granularity, "MAX", "WHERE time >= ?", [reach])
            if all(instrument in found for instrument in instruments):
                break
        return {instrument: found[instrument] for instrument in instruments if instrument in found}

    def oldest(self, granularity: Granularity) -> dict[str, datetime]:
        """Give the open of each instrument's oldest candle."""
        return self._ends(granularity, "MIN", "", [])

    def last_time(self, granularity: Granularity) -> datetime | None:
        """Give the open of the newest candle of all."""
        sql = f"SELECT MAX(time) AS time FROM {granularity.schema}.candles"  # noqa: S608
        ((newest,),) = self._connection.rows(sql, _NEWEST[1:])
        return newest  # type: ignore[no-any-return]

    def next_after(self, granularity: Granularity, spans: Sequence[Span]) -> dict[str, datetime]:
        """Give the open of each instrument's first candle behind its span."""
        found: dict[str, datetime] = {}
        for end in sorted({span.end for span in spans}):
            behind = self._ends(granularity, "MIN", "WHERE time >= ?", [end])
            found |= {s.instrument: behind[s.instrument] for s in spans if s.end == end and s.instrument in behind}
        return found

    def _ends(
        self, granularity: Granularity, which: str, where: str, parameters: list[datetime]
    ) -> dict[str, datetime]:
        sql = f"SELECT instrument, {which}(time) AS time FROM {granularity.schema}.candles {where} GROUP BY instrument"  # noqa: S608
        return dict(self._connection.rows(sql, _NEWEST, parameters))

    def count(self, granularity: Granularity, table: Table) -> int:
        """Give how many rows a table has."""
        ((counted,),) = self._connection.rows(f"SELECT COUNT(*) AS n FROM {granularity.schema}.{table.name}", _COUNT)  # noqa: S608
        return int(counted)

    def coverage(self, granularity: Granularity, since: datetime, counted_from: datetime) -> pd.DataFrame:
        """Give of each instrument with candles `since`: first and newest of these, and how many are `counted_from`."""
        return self._connection.frame(
            "SELECT instrument, MIN(time) AS first, MAX(time) AS newest,"  # noqa: S608
            " CAST(SUM(CASE WHEN time >= ? THEN 1 ELSE 0 END) AS BIGINT) AS n"
            f" FROM {granularity.schema}.candles WHERE time >= ? GROUP BY instrument ORDER BY instrument",
            _COVERAGE,
            [counted_from, since],
        )

    def quarantined_since(self, granularity: Granularity, since: datetime) -> dict[str, int]:
        """Give how many candles came into quarantine, or changed there, `since`: by reason."""
        sql = (
            f"SELECT reason, COUNT(*) AS n FROM {granularity.schema}.quarantine"  # noqa: S608
            " WHERE fetched_at >= ? GROUP BY reason ORDER BY reason"
        )
        return dict(self._connection.rows(sql, _REASONS, [since]))

    def newest_rows(
        self,
        granularity: Granularity,
        table: Table,
        *,
        since: datetime | None = None,
        instruments: Sequence[str] = (),
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Give rows newest first: those of candles that open at or after `since`, of these instruments, or all."""
        conditions, parameters = ["TRUE"], list[Any]()
        if since is not None:
            conditions.append("t.time >= ?")
            parameters.append(since)
        if instruments:
            conditions.append(f"t.instrument IN ({', '.join('?' * len(instruments))})")
            parameters += instruments
        names = ", ".join(_selected(column) for column in table.columns)
        return self._connection.frame(
            f"SELECT {names} FROM {granularity.schema}.{table.name} AS t WHERE {' AND '.join(conditions)}"  # noqa: S608
            f" ORDER BY t.time DESC, t.instrument{'' if limit is None else f' LIMIT {int(limit)}'}",
            table.columns,
            parameters,
        )

    def count_since(self, granularity: Granularity, table: Table, since: datetime) -> int:
        """Give how many rows a table has of candles that open at or after `since`."""
        sql = f"SELECT COUNT(*) AS n FROM {granularity.schema}.{table.name} WHERE time >= ?"  # noqa: S608
        ((counted,),) = self._connection.rows(sql, _COUNT, [since])
        return int(counted)

    def content_hash(self, granularity: Granularity, table: Table) -> str:
        """Give the SHA-256 of a table's content: keys and values in key order, IEEE bytes, without bookkeeping."""
        return content_hash(table, self.read(granularity, table))

    def _write(self, granularity: Granularity, table: Table, rows: pd.DataFrame, at: Ints) -> Changes:
        """Add the rows that are not stored (`at` is -1), update the others. What is where was read under the lock."""
        new = at < 0
        keys = rows[["instrument", "time"]]
        if rows.empty:
            return Changes(0, 0, 0, keys)
        if new.any():
            self._insert(granularity, table, rows[new])
        if not new.all():
            self._update(granularity, table, rows[~new])
        return Changes(int(new.sum()), int((~new).sum()), 0, keys)

    def _insert(self, granularity: Granularity, table: Table, rows: pd.DataFrame) -> None:
        self._connection.load("batch", table.columns, rows)
        values = ", ".join(_loaded(column) for column in table.columns)
        self._connection.execute(
            f"INSERT INTO {granularity.schema}.{table.name} ({', '.join(table.names)})"  # noqa: S608
            f" SELECT {values} FROM batch AS b ORDER BY {', '.join(f'b.{name}' for name in table.key)}"
        )

    def _update(self, granularity: Granularity, table: Table, rows: pd.DataFrame) -> None:
        self._connection.load("batch", table.columns, rows)
        updates = ", ".join(f"{c.name} = {_loaded(c)}" for c in table.columns if c.name not in table.key)
        keys = " AND ".join(f"t.{name} = b.{name}" for name in table.key)
        self._connection.execute(
            f"UPDATE {granularity.schema}.{table.name} AS t SET {updates} FROM batch AS b"  # noqa: S608
            f" WHERE {keys} AND t.time >= ? AND t.time <= ?",
            _hull(rows),
        )

    def _delete(self, granularity: Granularity, table: Table, rows: pd.DataFrame) -> None:
        self._connection.load("gone", table.columns[:2], rows)
        self._connection.execute(
            f"DELETE FROM {granularity.schema}.{table.name} AS t USING gone"  # noqa: S608
            " WHERE t.instrument = gone.instrument AND t.time = gone.time AND t.time >= ? AND t.time <= ?",
            _hull(rows),
        )


def content_hash(table: Table, rows: pd.DataFrame) -> str:
    """Give the SHA-256 of rows of `table` that are in key order."""
    digest = hashlib.sha256()
    for name in table.names:
        column = next(c for c in table.columns if c.name == name)
        if name in table.bookkeeping:
            continue
        values = comparable(rows[name], column)
        if column.nullable and column.kind != "float":  # NULL is not empty text, nor -1
            digest.update(rows[name].isna().to_numpy().tobytes())
        if values.dtype == object:
            digest.update("\0".join(values.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(name.encode())
    return digest.hexdigest()


def _stamps(candles: pd.DataFrame, fetched_at: datetime | Mapping[str, datetime]) -> "pd.Series[pd.Timestamp]":
    each = fetched_at if isinstance(fetched_at, Mapping) else dict.fromkeys(candles["instrument"], fetched_at)
    times = pd.DatetimeIndex([each[name] for name in candles["instrument"]], tz="UTC").as_unit("us")
    return pd.Series(times, index=candles.index)


def _selected(column: Column) -> str:
    return f"CAST(t.{column.name} AS VARCHAR) AS {column.name}" if column.kind == "uuid" else f"t.{column.name}"


def _loaded(column: Column) -> str:
    return f"CAST(b.{column.name} AS UUID)" if column.kind == "uuid" else f"b.{column.name}"


def _hull(rows: pd.DataFrame) -> list[datetime]:
    """Give the first and the last time of rows, as constants that the engine can hold against its zone maps."""
    return [rows["time"].min().to_pydatetime(), rows["time"].max().to_pydatetime()]


def _inside(within: Within) -> tuple[str, list[Any]]:
    if isinstance(within, Window):
        return "t.time >= ? AND t.time < ?", [within.start, within.end]
    return _in_spans(within)


def _in_spans(spans: Sequence[Span]) -> tuple[str, list[Any]]:
    """Give a condition for the rows in spans; those with the same start and end share one clause."""
    if not spans:
        return "FALSE", []
    together: dict[tuple[datetime, datetime], list[str]] = {}
    for span in spans:
        together.setdefault((span.start, span.end), []).append(span.instrument)
    # The span of all spans is said first and by itself: the engine holds it against its zone maps.
    parameters: list[Any] = [min(span.start for span in spans), max(span.end for span in spans)]
    clauses = []
    for (start, end), instruments in together.items():
        clauses.append("t.time >= ? AND t.time < ? AND list_contains(?, t.instrument)")  # a third of what IN takes
        parameters += [start, end, instruments]
    return f"t.time >= ? AND t.time < ? AND (({') OR ('.join(clauses)}))", parameters


def _around(rows: pd.DataFrame) -> list[Span]:
    """Give the spans that just hold these rows."""
    just_behind = timedelta(microseconds=1)
    return [Span(name, first, last + just_behind) for name, first, last in _ends_of(rows)]


def _ends_of(rows: pd.DataFrame) -> list[tuple[str, datetime, datetime]]:
    """Give the first and the last time of each instrument, instruments sorted."""
    if rows.empty:
        return []
    codes, names = pd.factorize(rows["instrument"].to_numpy(dtype=object), sort=True)
    at = micros(rows["time"])
    in_order = np.lexsort((at, codes))
    starts = np.flatnonzero(np.diff(codes[in_order], prepend=-1))
    stops = np.append(starts[1:], len(codes)) - 1
    first, last = (
        pd.DatetimeIndex(at[in_order[which]].view("M8[us]"), tz="UTC").to_pydatetime() for which in (starts, stops)
    )
    return list(zip(names.tolist(), first, last, strict=True))
