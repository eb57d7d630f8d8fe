"""Columns of frames as Postgres' binary protocol carries them, both ways: whole columns at once, bit for bit.

Floats travel as their eight IEEE bytes, times as microseconds since 2000, text as UTF-8. NULL is NaN, NaT, NA or None.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import Connection as Link
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.pq.abc import PGresult

from spike_assets.errors import StoreError
from spike_assets.store.rows import Bools
from spike_assets.store.tables import Column, Kind

_EPOCH = 946_684_800_000_000
"""Postgres' year 2000, in microseconds since 1970."""

Values = npt.NDArray[Any]

# --- to the server ----------------------------------------------------------------------------------------------------


class Packed(bytes):
    """An array as the protocol carries it; a subclass per type of its elements."""


class PackedText(Packed):
    """An array of text."""


class PackedTimes(Packed):
    """An array of times."""


class PackedFloats(Packed):
    """An array of floats."""


class PackedInts(Packed):
    """An array of integers."""


class PackedBools(Packed):
    """An array of flags."""


_TEXT, _TIME, _FLOAT, _INT, _BOOL = 25, 1184, 701, 20, 16
"""Postgres' numbers of its types."""
_ARRAYS: dict[type[Packed], int] = {
    PackedText: 1009,
    PackedTimes: 1185,
    PackedFloats: 1022,
    PackedInts: 1016,
    PackedBools: 1000,
}


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj


def teach(link: "Link[Any]") -> None:
    """Have a connection take packed arrays as parameters."""
    for packed, oid in _ARRAYS.items():
        link.adapters.register_dumper(packed, type(f"{packed.__name__}Dumper", (_AsItIs,), {"oid": oid}))


def pack(column: Column, values: "pd.Series[Any]") -> Packed:
    """Give a column as an array."""
    return _PACKERS[column.kind](values)


def _array(element: int, cells: bytes, count: int, *, nulls: bool) -> bytes:
    if not count:
        return struct.pack(">iii", 0, 0, element)
    return struct.pack(">iiiii", 1, nulls, element, count, 1) + cells


def _fixed(element: int, values: Values, missing: Bools) -> bytes:
    """Pack values of one width, each behind its length; the length of NULL is -1, and nothing follows."""
    cells = np.empty(len(values), dtype=[("length", ">i4"), ("value", values.dtype)])
    cells["length"] = np.where(missing, -1, values.dtype.itemsize)
    cells["value"] = values
    if not missing.any():
        return _array(element, cells.tobytes(), len(values), nulls=False)
    single = cells.view(np.uint8).reshape(len(values), -1)
    sent = np.ones(single.shape, dtype=bool)
    sent[missing, 4:] = False
    return _array(element, single[sent].tobytes(), len(values), nulls=True)


def _floats(values: "pd.Series[Any]") -> Packed:
    numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    return PackedFloats(_fixed(_FLOAT, numbers.astype(">f8"), np.isnan(numbers)))


def _times(values: "pd.Series[Any]") -> Packed:
    index = pd.DatetimeIndex(values).as_unit("us")
    return PackedTimes(_fixed(_TIME, (index.asi8 - _EPOCH).astype(">i8"), np.asarray(index.isna())))


def _ints(values: "pd.Series[Any]") -> Packed:
    missing = np.asarray(values.isna())
    return PackedInts(_fixed(_INT, values.to_numpy(dtype="int64", na_value=0).astype(">i8"), missing))


def _bools(values: "pd.Series[Any]") -> Packed:
    missing = np.asarray(values.isna())
    return PackedBools(_fixed(_BOOL, values.to_numpy(dtype="bool", na_value=False).astype(np.uint8), missing))


class _Cells(dict[Any, bytes]):
    """Text by what it is as a cell: words repeat."""

    def __missing__(self, text: Any) -> bytes:
        if pd.isna(text):
            cell = struct.pack(">i", -1)
        else:
            raw = str(text).encode()
            cell = struct.pack(">i", len(raw)) + raw
        self[text] = cell
        return cell


def _text(values: "pd.Series[Any]") -> Packed:
    cells = _Cells()
    packed = b"".join([cells[text] for text in values.tolist()])
    return PackedText(_array(_TEXT, packed, len(values), nulls=True))


_PACKERS: dict[Kind, Callable[["pd.Series[Any]"], Packed]] = {
    "text": _text,
    "uuid": _text,  # where a column is one, the statement says so: CAST(… AS UUID)
    "time": _times,
    "float": _floats,
    "int": _ints,
    "bool": _bools,
}

# --- from the server --------------------------------------------------------------------------------------------------


def unpacked(result: PGresult, columns: Sequence[Column]) -> Mapping[str, Values]:
    """Give the columns of a binary result by name, as `store.rows` wants them; masked where there is a NULL."""
    at = {(result.fname(i) or b"").decode(): i for i in range(result.nfields)}
    return {column.name: _unpacked(result, at[column.name]) for column in columns}


def _unpacked(result: PGresult, at: int) -> Values:
    kind = result.ftype(at)
    if kind not in _READERS:
        name = (result.fname(at) or b"").decode()
        raise StoreError(f"column {name} is of a type that spike does not read (number {kind}); CAST it")
    empty, read = _READERS[kind]
    value = result.get_value
    cells = [value(row, at) for row in range(result.ntuples)]
    missing = np.fromiter((cell is None for cell in cells), dtype=bool, count=len(cells))
    if missing.any():
        values = read([empty if cell is None else cell for cell in cells])
        return np.ma.masked_array(values, mask=missing)
    return read(cells)  # type: ignore[arg-type]


_Read = Callable[[list[bytes]], Values]


def _of_width(dtype: str) -> tuple[bytes, _Read]:
    native = np.dtype(dtype).newbyteorder("=")
    return bytes(native.itemsize), lambda cells: np.frombuffer(b"".join(cells), dtype=dtype).astype(native)


def _read_times(cells: list[bytes]) -> Values:
    return (np.frombuffer(b"".join(cells), dtype=">i8").astype(np.int64) + _EPOCH).view("M8[us]")


class _Words(dict[bytes, str]):
    """Text by its bytes: words repeat, and need not be there twice."""

    def __missing__(self, raw: bytes) -> str:
        word = self[raw] = raw.decode()
        return word


def _objects(items: list[Any]) -> Values:
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


def _read_text(cells: list[bytes]) -> Values:
    known = _Words()
    return _objects([known[cell] for cell in cells])


def _read_uuids(cells: list[bytes]) -> Values:
    return _objects([str(UUID(bytes=cell)) for cell in cells])


def _read_numerics(cells: list[bytes]) -> Values:
    return np.array([_numeric(cell) for cell in cells], dtype=np.float64)


def _numeric(cell: bytes) -> float:
    """Give a decimal as the nearest float. Its digits are of base 10,000, the first one times 10,000 ** `weight`."""
    count, weight, sign, _ = struct.unpack(">hhHh", cell[:8])
    digits = struct.unpack(f">{count}h", cell[8:])
    total = sum((Decimal(digit) * Decimal(10_000) ** (weight - i) for i, digit in enumerate(digits)), Decimal(0))
    return float(-total if sign == 0x4000 else total)


_READERS: dict[int, tuple[bytes, _Read]] = {
    _BOOL: _of_width("?"),
    _INT: _of_width(">i8"),
    21: _of_width(">i2"),
    23: _of_width(">i4"),
    _FLOAT: _of_width(">f8"),
    700: _of_width(">f4"),
    1700: (bytes(8), _read_numerics),
    _TIME: (bytes(8), _read_times),
    _TEXT: (b"", _read_text),
    1043: (b"", _read_text),
    19: (b"", _read_text),
    2950: (bytes(16), _read_uuids),
}
"""By Postgres' number of a type: what stands in for NULL, and how cells are read."""
