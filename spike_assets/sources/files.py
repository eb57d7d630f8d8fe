"""Candles from a folder of Parquet or CSV files.

This module finds, reads and cuts files. It does not judge candles: what is not a number becomes NaN and is
left to validation. What cannot be read as candles at all is a `SourceError` that names the file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import SourceError
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.sources.base import CANDLE_COLUMNS, Fetched, no_candles
from spike_assets.sources.resample import Floats, Micros, candle_frame, closed_before, micros, micros_of, resample

FILE_COLUMNS = CANDLE_COLUMNS[1:]
"""Columns that a file has to have; others are ignored."""
SUFFIXES = (".parquet", ".csv")

_Stamp = tuple[int, int]
"""When a file was changed last (ns) and its size: while both stay, its content is taken to stay."""


@dataclass(frozen=True)
class _Table:
    """Candles of one file: times ascending (equal ones as in the file), and a row each for open … volume."""

    times: Micros
    numbers: Floats

    def cut(self, start: int, end: int) -> "_Table":
        low, high = np.searchsorted(self.times, (start, end))
        return _Table(self.times[low:high], self.numbers[:, low:high])

    def frame(self, instrument: str) -> pd.DataFrame:
        return candle_frame(np.full(len(self.times), instrument, dtype=object), self.times, list(self.numbers))


@dataclass(frozen=True)
class FilesSource:
    """Candles of a folder, as they are.

    The folder holds H1 files `EUR_USD.parquet` or `EUR_USD.csv`, or a subfolder for each granularity, named
    `h1` or ending in `_h1` (likewise h4, d, w; capitals make no difference). Where an instrument has no H4,
    D or W file of its own, those candles are resampled from its H1 file. Files are read again when they
    have changed.

    A file has the columns `time` (open of the candle; without an offset it is UTC), `open`, `high`, `low`,
    `close`, `volume`. A price or volume that is missing or no number becomes NaN.
    """

    folder: Path
    _tables: dict[tuple[Path, str], tuple[_Stamp, _Table]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """How the source is called."""
        return "files"

    @property
    def price(self) -> str:
        """Which price the candles are taken to be of."""
        return "mid"

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        """Give the candles that open in each instrument's window and had closed at `now`.

        Returns
        -------
        Fetched
            Instruments in the order of `windows`, times ascending, of equal times the last in the file last.
            An instrument without a file is unavailable.

        Raises
        ------
        SourceError
            The folder is missing or ambiguous, or a file cannot be read.
        DeadlineError
            The time was up before a file.
        """
        own, raw = self._places(granularity), self._places(H1)
        closed = closed_before(granularity, now)
        found: dict[str, _Table] = {}
        unavailable: dict[str, str] = {}
        for instrument, window in windows.items():
            deadline.check(f"reading the {granularity} candles of {instrument}")
            table = self._table(instrument, granularity, own, raw)
            if table is None:
                unavailable[instrument] = f"no {instrument}.parquet or {instrument}.csv in {self.folder}"
                continue
            found[instrument] = table.cut(micros_of(window.start), min(micros_of(window.end), closed))
        return Fetched(_joined(found), unavailable)

    def _places(self, granularity: Granularity) -> dict[str, list[Path]]:
        """Give the files in which the granularity's candles may be, by the instrument they are named after."""
        places: dict[str, list[Path]] = {}
        for folder in self._folders(granularity):
            for name in _names(folder):
                path = folder / name
                if path.suffix in SUFFIXES:
                    places.setdefault(path.stem, []).append(path)
        return places

    def _folders(self, granularity: Granularity) -> list[Path]:
        schema = granularity.schema
        named = [n for n in _names(self.folder) if n.lower() == schema or n.lower().endswith(f"_{schema}")]
        folders = [self.folder / name for name in named if (self.folder / name).is_dir()]
        if len(folders) > 1:
            raise SourceError(
                f"{self.folder} has several folders of {granularity} candles "
                f"({', '.join(folder.name for folder in folders)}); keep one"
            )
        return [*folders, self.folder] if granularity is H1 else folders

    def _table(
        self, instrument: str, granularity: Granularity, own: dict[str, list[Path]], raw: dict[str, list[Path]]
    ) -> _Table | None:
        if path := _only(own.get(instrument, [])):
            return self._known(path, H1)
        if path := _only(raw.get(instrument, [])):
            return self._known(path, granularity)
        return None

    def _known(self, path: Path, granularity: Granularity) -> _Table:
        """Give the file's candles as they are, for H1, or what they make when they are H1 candles."""
        try:
            status = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        stamp = (status.st_mtime_ns, status.st_size)  # before reading: a change meanwhile is seen next time
        known = self._tables.get((path, granularity.name))
        if known and known[0] == stamp:
            return known[1]
        table = _read(path) if granularity is H1 else _resampled(self._known(path, H1), granularity)
        self._tables[path, granularity.name] = (stamp, table)
        return table


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError as error:
        raise SourceError(f"{folder} does not exist; set SPIKE_FILES_DIR to a folder of candle files") from error
    except NotADirectoryError as error:
        raise SourceError(f"{folder} is not a folder; set SPIKE_FILES_DIR to a folder of candle files") from error
    except OSError as error:
        raise _unreadable(folder, error) from error


def _only(paths: list[Path]) -> Path | None:
    if len(paths) > 1:
        raise SourceError(f"{' and '.join(map(str, paths))} hold the same candles; keep one of them")
    return paths[0] if paths else None


def _joined(tables: dict[str, _Table]) -> pd.DataFrame:
    if not tables:
        return no_candles()
    symbols = np.array(list(tables), dtype=object).repeat([len(table.times) for table in tables.values()])
    times = np.concatenate([table.times for table in tables.values()])
    numbers = list(np.concatenate([table.numbers for table in tables.values()], axis=1))
    return candle_frame(symbols, times, numbers)


def _read(path: Path) -> _Table:
    try:
        times, numbers = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError, duckdb.Error) as error:
        raise _unreadable(path, error) from error
    order = np.argsort(times, kind="stable")
    return _Table(times[order], numbers[:, order])


def _unreadable(path: Path, error: Exception) -> SourceError:
    why = next(iter(str(error).splitlines()), type(error).__name__)
    return SourceError(f"{path} cannot be read ({why}); repair, replace or remove it")


def _require_columns(path: Path, columns: list[str]) -> None:
    missing = [column for column in FILE_COLUMNS if column not in columns]
    if missing:
        raise SourceError(
            f"{path} has no column {', '.join(missing)} (it has {', '.join(columns)}); "
            f"it needs {', '.join(FILE_COLUMNS)}"
        )


def _read_parquet(path: Path) -> tuple[Micros, Floats]:
    # One thread: the rows stay in the file's order, and a fetch takes no more of the machine than it must.
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        described = connection.execute("DESCRIBE FROM read_parquet(?)", [str(path)]).fetchall()
        types = {name: str(kind) for name, kind, *_ in described}
        _require_columns(path, list(types))
        text = types["time"] == "VARCHAR"
        if not text and not types["time"].startswith(("TIMESTAMP", "DATE")):
            raise ValueError(f"its time is {types['time']}, not a timestamp")
        time = """coalesce("time", '')""" if text else 'epoch_us("time")'
        numbers = ", ".join(f"""coalesce(TRY_CAST("{name}" AS DOUBLE), 'nan')""" for name in FILE_COLUMNS[1:])
        query = f"SELECT {time}, {numbers} FROM read_parquet(?)"  # noqa: S608 - nothing but our own names
        columns: list[Any]
        times: Any  # fetchnumpy gives masked arrays where there are NULLs
        times, *columns = connection.execute(query, [str(path)]).fetchnumpy().values()
    if text:
        return _parsed(times), np.array(columns, dtype=np.float64)
    _require_times(np.ma.getmaskarray(times), times)
    return np.asarray(times, dtype=np.int64), np.array(columns, dtype=np.float64)


def _read_csv(path: Path) -> tuple[Micros, Floats]:
    # As text: pandas' own number parser is not always right in the last bit.
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    if type(frame.index) is not pd.RangeIndex:  # pandas made an index of the field too many
        raise ValueError("its rows have more fields than its first row names")
    _require_columns(path, list(frame.columns))
    numbers = [[_number(text) for text in frame[name].to_numpy(object)] for name in FILE_COLUMNS[1:]]
    return _parsed(frame["time"].to_numpy(object)), np.array(numbers, dtype=np.float64)


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python's 1_000 is nobody's price
    except (TypeError, ValueError):
        return math.nan


def _parsed(texts: npt.NDArray[np.object_]) -> Micros:
    """Read ISO 8601 times; one without an offset is UTC."""
    # pandas would take "now" and "today" for times.
    dated = [text if isinstance(text, str) and text[:1].isdigit() else "" for text in texts]
    times = pd.DatetimeIndex(pd.to_datetime(dated, utc=True, format="ISO8601", errors="coerce"))
    _require_times(np.asarray(times.isna()), texts)
    return micros(times)


def _require_times(unreadable: npt.NDArray[np.bool_], given: npt.NDArray[np.generic]) -> None:
    if unreadable.any():
        row = int(np.argmax(unreadable))
        shown = repr(given[row]) if isinstance(given[row], str) and given[row] else "missing"
        raise ValueError(f"the time in row {row + 1} is {shown}; write it like 2025-03-10T05:00:00Z")


def _resampled(hours: _Table, granularity: Granularity) -> _Table:
    coarse = resample(hours.frame(""), granularity)
    numbers = np.array([coarse[name].to_numpy() for name in FILE_COLUMNS[1:]], dtype=np.float64)
    return _Table(micros(pd.DatetimeIndex(coarse["time"])), numbers)
