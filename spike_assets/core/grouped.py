"""Shifting columns within each instrument of a sorted frame. What the columns mean is not known here."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Grouped:
    """The rows of a frame that is sorted by (instrument, time), seen as one stretch per instrument.

    Attributes
    ----------
    codes
        int64, one number per row; rows of one instrument share it and no other instrument has it.
    start
        int64, for each row the position of its instrument's first row.
    position
        int64, 0 … n-1.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.codes = instrument_codes(frame)
        n = len(self.codes)
        self.position: Ints = np.arange(n, dtype=np.int64)
        first = np.ones(n, dtype=bool)
        first[1:] = self.codes[1:] != self.codes[:-1]
        starts = np.flatnonzero(first)
        if len(np.unique(self.codes[starts])) != len(starts):
            raise ValueError("rows are not sorted by instrument")
        self.start: Ints = np.repeat(starts, np.diff(np.append(starts, n))).astype(np.int64)

    def stretches(self) -> list[tuple[int, int]]:
        """Give `(first row, row after the last)` of each instrument."""
        starts = np.unique(self.start)
        stops = np.append(starts, len(self.start))[1:]
        return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]

    @property
    def rank(self) -> Ints:
        """How many rows of the same instrument come before each row."""
        return self.position - self.start

    def shift(self, values: npt.NDArray[Any], by: int = 1, fill: Any = np.nan) -> npt.NDArray[Any]:
        """Give the value `by` rows earlier of the same instrument, `fill` where there is none."""
        shifted = np.full(len(values), fill, dtype=np.result_type(values.dtype, np.min_scalar_type(fill)))
        if by < len(values):
            shifted[by:] = values[: len(values) - by]
        shifted[self.rank < by] = fill
        return shifted


def stretches(frame: pd.DataFrame) -> dict[str, slice]:
    """Give the rows of each instrument of a sorted frame."""
    found = Grouped(frame).stretches()
    names = frame["instrument"].to_numpy(dtype=object)
    return {str(names[start]): slice(start, stop) for start, stop in found}


def instrument_codes(frame: pd.DataFrame) -> Ints:
    """Give one int64 per row that names its instrument within this frame."""
    column = frame["instrument"]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return np.asarray(column.cat.codes, dtype=np.int64)
    codes, _ = pd.factorize(np.asarray(column, dtype=object))
    return codes.astype(np.int64)


def positions(rows: pd.DataFrame, others: pd.DataFrame) -> Ints:
    """Give the position among `others` of each row's counterpart, the one of its instrument and time; -1 without any.

    Raises
    ------
    InvalidIndexError
        Others has two rows of the same instrument and time.
    """
    names = pd.factorize(np.concatenate([np.asarray(frame["instrument"], dtype=object) for frame in (rows, others)]))[0]
    times, known = pd.factorize(np.concatenate([micros(frame["time"]) for frame in (rows, others)]))
    keys = names.astype(np.int64) * len(known) + times
    at = pd.Index(keys[len(rows) :]).get_indexer(pd.Index(keys[: len(rows)]))
    return np.asarray(at, dtype=np.int64)


def micros(times: "pd.Series[Any] | pd.DatetimeIndex") -> Ints:
    """Give times as microseconds since 1970, UTC."""
    index = pd.DatetimeIndex(times)
    return np.asarray(index.as_unit("us").asi8, dtype=np.int64)


def floats(frame: pd.DataFrame, column: str) -> Floats:
    """Give a column as float64, NULL as NaN."""
    return frame[column].to_numpy(dtype="float64", na_value=np.nan)


def nullable_int(values: Floats) -> pd.arrays.IntegerArray:
    """Give whole floats as `Int64`, NaN as NULL."""
    missing = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(missing, 0, values).astype(np.int64), missing)


def nullable_bool(values: Bools, known: Bools) -> pd.arrays.BooleanArray:
    """Give booleans, NULL where they are not known."""
    return pd.arrays.BooleanArray(np.where(known, values, False), ~known)


def nullable_text(values: npt.NDArray[Any], known: Bools) -> npt.NDArray[np.object_]:
    """Give text, None where it is not known."""
    text = values.astype(object)
    text[~known] = None
    return text
