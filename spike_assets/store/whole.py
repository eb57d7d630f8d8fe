"""All tables of the store alike, in stretches that fit into memory: for whoever moves them as they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import pandas as pd

from spike_assets.granularity import GRANULARITIES
from spike_assets.market_hours import Window
from spike_assets.store import migrations
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import OPS_TABLES
from spike_assets.store.tables import TABLES, Column, Table

_CHUNK_STEPS = 7_000
"""How many candle lengths of time are copied at once: about 5,000 candles of each instrument, as a backfill does it,
so that rows lie in the order of time."""
_COUNT = (Column("n", "int", "how many"),)
_ENDS = (Column("oldest", "time", "open"), Column("newest", "time", "open"))


@dataclass(frozen=True)
class Place:
    """A table of a schema; `step` is the length of a candle of its granularity."""

    schema: str
    table: Table
    step: timedelta | None = None

    @property
    def name(self) -> str:
        """What SQL calls it."""
        return f"{self.schema}.{self.table.name}"


PLACES: tuple[Place, ...] = (
    *(Place(one.schema, table, one.step) for one in GRANULARITIES.values() for table in TABLES.values()),
    *(Place("ops", table) for table in OPS_TABLES.values()),
)
"""Everything that a store keeps, but for the numbers of its migrations."""


class Tables(Protocol):
    """Somewhere that tables are, all alike: an open store, a folder of files, what is held in memory."""

    def count(self, place: Place) -> int:
        """Give how many rows a table has."""
        ...

    def windows(self, place: Place) -> Iterator[Window | None]:
        """Give stretches of time that hold a table's rows, and fit into memory; None for all rows at once."""
        ...

    def rows(self, place: Place, window: Window | None) -> pd.DataFrame:
        """Give rows in key order."""
        ...


class Keeper(Tables, Protocol):
    """Somewhere that tables can be moved to."""

    def add(self, place: Place, rows: pd.DataFrame) -> None:
        """Add rows as they are, those of one stretch."""
        ...


class Whole:
    """All tables alike, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def schema(self) -> int:
        """Give the number of the newest migration."""
        return migrations.version(self._connection)

    def is_known(self) -> bool:
        """Tell whether this release knows all that the store keeps: a newer one may have added tables and columns."""
        return migrations.version(self._connection) <= migrations.LATEST

    def count(self, place: Place) -> int:
        """Give how many rows a table has."""
        return int(self._connection.frame(f"SELECT COUNT(*) AS n FROM {place.name}", _COUNT)["n"].iloc[0])  # noqa: S608

    def windows(self, place: Place) -> Iterator[Window | None]:
        """Give stretches of time that hold a table's rows, and fit into memory; None for all rows at once."""
        if place.step is None:
            yield None
            return
        ends = self._connection.frame(
            f"SELECT MIN(time) AS oldest, MAX(time) AS newest FROM {place.name}",  # noqa: S608
            _ENDS,
        )
        if pd.isna(ends["oldest"].iloc[0]):
            return
        start: datetime = ends["oldest"].iloc[0].to_pydatetime()
        while start <= ends["newest"].iloc[0]:
            yield Window(start, start + _CHUNK_STEPS * place.step)
            start += _CHUNK_STEPS * place.step

    def rows(self, place: Place, window: Window | None) -> pd.DataFrame:
        """Give rows in key order."""
        if window is None:
            return self.matching(place, "TRUE")
        return self.matching(place, "t.time >= ? AND t.time < ?", [window.start, window.end])

    def matching(self, place: Place, condition: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Give the rows that a condition on `t` holds for, in key order."""
        names = ", ".join(
            f"CAST(t.{c.name} AS VARCHAR) AS {c.name}" if c.kind == "uuid" else f"t.{c.name}"
            for c in place.table.columns
        )
        order = ", ".join(f"t.{name}" for name in place.table.key)
        return self._connection.frame(
            f"SELECT {names} FROM {place.name} AS t WHERE {condition} ORDER BY {order}",  # noqa: S608
            place.table.columns,
            parameters,
        )

    def add(self, place: Place, rows: pd.DataFrame) -> None:
        """Add rows as they are."""
        if rows.empty:
            return
        columns = place.table.columns
        self._connection.load("copied", columns, rows)
        values = ", ".join(f"CAST(r.{c.name} AS UUID)" if c.kind == "uuid" else f"r.{c.name}" for c in columns)
        order = ", ".join(f"r.{name}" for name in place.table.key)
        self._connection.execute(
            f"INSERT INTO {place.name} ({', '.join(place.table.names)})"  # noqa: S608
            f" SELECT {values} FROM copied AS r ORDER BY {order}"
        )

    def remove(self, place: Place, rows: pd.DataFrame) -> None:
        """Remove the rows that have the keys of these."""
        if rows.empty:
            return
        keys = [column for column in place.table.columns if column.name in place.table.key]
        self._connection.load("gone", keys, rows)
        same = " AND ".join(
            f"t.{c.name} = " + (f"CAST(g.{c.name} AS UUID)" if c.kind == "uuid" else f"g.{c.name}") for c in keys
        )
        self._connection.execute(f"DELETE FROM {place.name} AS t USING gone AS g WHERE {same}")  # noqa: S608

    def clear(self, place: Place) -> None:
        """Remove every row of a table."""
        self._connection.execute(f"DELETE FROM {place.name}")  # noqa: S608
