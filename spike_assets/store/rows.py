"""Rows as data frames: the dtype of each kind of column, and which rows differ from those stored.

text, uuid: object (None is NULL) · time: datetime64[us, UTC] · float: float64 (NaN is NULL) ·
int: int64, or Int64 where NULL is allowed · bool: bool, or boolean where NULL is allowed.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.errors import StoreError
from spike_assets.store.tables import Column, Table

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def typed(columns: Sequence[Column], arrays: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """Make a frame of the arrays that a database gave; a masked array's masked entries are NULL."""
    return pd.DataFrame({column.name: _typed(column, arrays[column.name]) for column in columns}, copy=False)


def plain(columns: Sequence[Column], arrays: Mapping[str, npt.NDArray[Any]]) -> list[tuple[Any, ...]]:
    """Make rows of plain values of the arrays that a database gave: None for NULL, times as UTC datetimes."""
    return list(zip(*(_plain(column, arrays[column.name]) for column in columns), strict=True))


def _plain(column: Column, values: npt.NDArray[Any]) -> list[Any]:
    data: npt.NDArray[Any] = np.ma.getdata(values)
    if column.kind == "time":
        found = [None if at is None else at.replace(tzinfo=UTC) for at in data.astype("M8[us]").tolist()]
    elif column.kind == "float":
        found = [None if number != number else number for number in data.tolist()]  # noqa: PLR0124 - NaN
    elif column.kind == "uuid":
        found = [None if one is None else str(one) for one in data.tolist()]
    else:
        found = data.tolist()
    if values is not data:
        found = [None if gone else one for one, gone in zip(found, np.ma.getmaskarray(values), strict=True)]
    return found


def no_rows(table: Table) -> pd.DataFrame:
    """Give an empty frame of a table, typed."""
    return typed(table.columns, {name: np.array([]) for name in table.names})


def _typed(column: Column, values: npt.NDArray[Any]) -> Any:
    data: npt.NDArray[Any] = np.ma.getdata(values)
    mask = np.ma.getmaskarray(values) if values is not data else None
    if column.kind == "time":
        times = data.astype("M8[us]")
        if mask is not None:
            times[mask] = np.datetime64("NaT")
        return pd.DatetimeIndex(times, tz="UTC")
    if column.kind == "float":
        numbers = data.astype(np.float64)
        return numbers if mask is None else np.where(mask, np.nan, numbers)
    if column.kind == "int":
        whole = data.astype(np.int64)
        return pd.arrays.IntegerArray(whole, np.ma.getmaskarray(values)) if column.nullable else whole
    if column.kind == "bool":
        flags = data.astype(np.bool_)
        return pd.arrays.BooleanArray(flags, np.ma.getmaskarray(values)) if column.nullable else flags
    text = data.astype(object)
    if mask is not None:
        text[mask] = None
    return pd.Series(text, dtype=object)


def storable(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of `table` in `frame` as they are stored: its columns in order, -0.0 as 0.0.

    Raises
    ------
    StoreError
        A float is infinite, or a value is missing where NULL is not allowed: a fault in a formula.
    """
    stored = {}
    for column in table.columns:
        values: Any = frame[column.name].array
        if column.kind == "float":
            values = frame[column.name].to_numpy(dtype="float64", na_value=np.nan) + 0.0
            if not table.keeps_infinities and np.isinf(values).any():
                raise StoreError(f"{table.name}.{column.name} would be infinite at {_where(frame, np.isinf(values))}")
        if not column.nullable:
            missing = np.asarray(pd.isna(values))
            if missing.any():
                raise StoreError(f"{table.name}.{column.name} would be missing at {_where(frame, missing)}")
        stored[column.name] = values
    return pd.DataFrame(stored, copy=False)


def _where(frame: pd.DataFrame, at: Bools) -> str:
    row = frame.iloc[int(np.flatnonzero(at)[0])]
    return f"{row['instrument']} {row['time']}"


def difference(schema: str, table: Table, stored: pd.DataFrame, fresh: pd.DataFrame) -> tuple[Bools, Bools, Ints]:
    """Tell how `fresh` rows differ from `stored` ones of a table in `schema`.

    Returns
    -------
    changed, gone, counterpart
        Which fresh rows are new or have other values (bit for bit), which stored rows have no fresh one, and for each
        fresh row the position of its stored one, -1 where it is new.

    Raises
    ------
    StoreError
        Either repeats a key: a fault in a formula, and no index of a database need refuse it.
    """
    of_stored, of_fresh = (pd.Index(keys) for keys in row_keys(table, stored, fresh))
    if not (of_stored.is_unique and of_fresh.is_unique):
        raise StoreError(f"{schema}.{table.name} would repeat keys; nothing was written, report this")
    at = of_stored.get_indexer(of_fresh)
    found = at >= 0
    gone = np.ones(len(stored), dtype=bool)
    gone[at[found]] = False
    changed = ~found
    if found.any():
        for column in table.content:
            old, new = comparable(stored[column.name], column)[at[found]], comparable(fresh[column.name], column)[found]
            changed[found] |= old != new
    return changed, gone, at.astype(np.int64)


def row_keys(table: Table, *frames: pd.DataFrame) -> list[Ints]:
    """Give a number per row, the same for the same key in all frames."""
    columns = [column for column in table.columns if column.name in table.key]
    keys = np.zeros(sum(map(len, frames)), dtype=np.int64)
    for column in columns:
        codes, found = pd.factorize(np.concatenate([comparable(frame[column.name], column) for frame in frames]))
        keys = keys * len(found) + codes
    return np.split(keys, np.cumsum([len(frame) for frame in frames[:-1]]))


def micros(times: "pd.Series[Any]") -> Ints:
    """Give times as microseconds since 1970, UTC."""
    return np.asarray(pd.DatetimeIndex(times).as_unit("us").asi8, dtype=np.int64)


def comparable(values: "pd.Series[Any]", column: Column) -> npt.NDArray[Any]:
    """Give an array whose entries are equal exactly when the stored bits are."""
    if column.kind == "float":
        numbers = values.to_numpy(dtype="float64", na_value=np.nan) + 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)
    if column.kind == "time":
        return micros(values)
    if column.kind in ("int", "bool"):
        return values.to_numpy(dtype="float64", na_value=-1.0) if column.nullable else values.to_numpy(dtype="int64")
    text = values.to_numpy(dtype=object)
    return np.where(pd.isna(text), "", text)
