"""What the queries beside this module are put together from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from spike_assets.store.tables import Column, Table

N = Column("n", "int", "how many")
GRANULARITY = Column("granularity", "text", "whose")
NEWEST = Column("newest", "time", "of the newest one")


def of(table: Table, *names: str, optional: bool = False) -> tuple[Column, ...]:
    """Give columns of a table; `optional` ones are NULL where an outer join found nothing."""
    chosen = tuple(column for column in table.columns if column.name in names)
    return tuple(Column(c.name, c.kind, c.meaning, c.null or "without a row") for c in chosen) if optional else chosen


class Key(NamedTuple):
    """Which row."""

    instrument: str
    time: datetime


def selected(column: Column, alias: str) -> str:
    """Give a column as it is selected from a table that goes by an alias."""
    name = f"{alias}.{column.name}"
    return f"CAST({name} AS VARCHAR) AS {column.name}" if column.kind == "uuid" else name


def of_instruments(alias: str, instruments: Sequence[str]) -> tuple[str, list[Any]]:
    """Give what limits rows to some instruments, behind another condition; none are all."""
    if not instruments:
        return "", []
    return f" AND {alias}.instrument IN ({marks(instruments)})", list(instruments)


def limits(*conditions: tuple[str, Any]) -> tuple[str, list[Any]]:
    """Give what limits rows, behind another condition, by those of some conditions whose value is not None."""
    given = [(condition, value) for condition, value in conditions if value is not None]
    return "".join(f" AND {condition}" for condition, _ in given), [value for _, value in given]


def at_keys(keys: Sequence[Key]) -> tuple[str, list[Any]]:
    """Give a condition for the rows of `e` at the times and of the instruments of keys: these, and a few more."""
    times = sorted({key.time for key in keys})
    names = sorted({key.instrument for key in keys})
    # The span of all times is said by itself: the engine holds it against its zone maps.
    return (
        f"e.time >= ? AND e.time <= ? AND e.time IN ({marks(times)}) AND e.instrument IN ({marks(names)})",
        [times[0], times[-1], *times, *names],
    )


def in_order(rows: pd.DataFrame, keys: Sequence[Key]) -> pd.DataFrame:
    """Give the rows of keys in the order of these; a key without one is left out."""
    at = {(str(i), time): n for n, (i, time) in enumerate(zip(rows["instrument"], rows["time"], strict=True))}
    places = [at.get((key.instrument, pd.Timestamp(key.time))) for key in keys]
    return rows.iloc[[place for place in places if place is not None]].reset_index(drop=True)


def keys_of(rows: pd.DataFrame) -> list[Key]:
    """Give the keys of rows."""
    return [Key(str(i), time.to_pydatetime()) for i, time in zip(rows["instrument"], rows["time"], strict=True)]


def marks(values: Sequence[Any]) -> str:
    """Give a place for each of some parameters."""
    return ", ".join("?" * len(values))


def uuids(values: Sequence[str]) -> str:
    """Give a place for each of some parameters that are UUIDs as text; where there is none, what nothing is in."""
    return ", ".join(["CAST(? AS UUID)"] * len(values)) or "NULL"


def moment(value: pd.Timestamp) -> datetime | None:
    """Give a time, None for NULL."""
    return None if pd.isna(value) else value.to_pydatetime()
