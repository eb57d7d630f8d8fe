"""H4, D and W candles from H1 candles, and the frame in which the sources that compute with arrays answer.

Pure functions over whole frames. Whether a candle is valid is not decided here (validation comes after), nor
where the H1 candles come from (each source knows that).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window, candle_close, candle_open, candle_times, utc_index
from spike_assets.sources.base import CANDLE_COLUMNS, no_candles

Micros = npt.NDArray[np.int64]
"""Times as microseconds since 1970 UTC, which sort and compare at the speed of integers."""
Floats = npt.NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(times: pd.DatetimeIndex) -> Micros:
    """Give timezone-aware times as microseconds since 1970 UTC."""
    return np.asarray(utc_index(times).tz_localize(None)).astype("M8[us]").astype(np.int64)


def from_micros(times: Micros) -> pd.DatetimeIndex:
    """Give microseconds since 1970 as times in UTC."""
    return pd.DatetimeIndex(times.view("M8[us]")).tz_localize("UTC")


def micros_of(moment: datetime) -> int:
    """Give one timezone-aware moment as microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def closed_before(granularity: Granularity, now: datetime) -> int:
    """Give, in microseconds since 1970, the end of what had closed at `now`.

    A candle has closed exactly when it opened before the one that is open now, on the grid or off it.
    """
    return int(micros(candle_open(granularity, utc_index([now])))[0])


def candle_frame(instrument: npt.NDArray[np.object_], time: Micros, numbers: Sequence[Floats]) -> pd.DataFrame:
    """Give columns as a frame of candles.

    Parameters
    ----------
    instrument, time
        Shape `(n,)`: the symbols, and the opens in microseconds since 1970 UTC.
    numbers
        Open, high, low, close and volume, each of shape `(n,)`. They are not copied.

    Returns
    -------
    pd.DataFrame
        `CANDLE_COLUMNS` in the types that `base` promises: object, datetime64[us, UTC], float64.
    """
    columns = {"instrument": pd.Series(instrument, dtype=object), "time": from_micros(time)}
    return pd.DataFrame(columns | dict(zip(CANDLE_COLUMNS[2:], numbers, strict=True)), copy=False)


def resample(candles: pd.DataFrame, granularity: Granularity) -> pd.DataFrame:
    """Give the coarse candles that the H1 candles of one or more instruments make.

    Open is the first, high the highest, low the lowest, close the last, volume the sum, oldest first, on the
    grid of `market_hours`. Candles in a closed market count too. Of two candles with one time the last one
    counts. Per instrument the first and the last coarse candle are left out while they are partial: while
    the market was open for an hour inside them before the first H1 candle or after the last one.

    Parameters
    ----------
    candles
        H1 candles with `CANDLE_COLUMNS`, in any order. A NaN is not skipped: it makes the number that rests
        on it NaN, so that validation reports the coarse candle instead of storing a wrong one.
    granularity
        H4, D or W.

    Returns
    -------
    pd.DataFrame
        `CANDLE_COLUMNS`, instruments in the order in which they first appear, times ascending.
    """
    if candles.empty:
        return no_candles()
    codes, names = pd.factorize(candles["instrument"])
    times = micros(pd.DatetimeIndex(candles["time"]))
    keep = _sorted_without_duplicates(codes, times)
    codes, times = codes[keep], times[keep]
    opens = micros(candle_open(granularity, from_micros(times)))

    new = np.ones(len(times), dtype=bool)
    new[1:] = (codes[1:] != codes[:-1]) | (opens[1:] != opens[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(times))
    open_, high, low, close, volume = (candles[name].to_numpy(dtype=np.float64)[keep] for name in CANDLE_COLUMNS[2:])
    numbers = (
        open_[starts],
        np.maximum.reduceat(high, starts),
        np.minimum.reduceat(low, starts),
        close[ends - 1],
        _sums(volume, starts, ends),
    )
    whole = _whole(granularity, codes[starts], opens[starts], times[starts], times[ends - 1])
    symbols = np.asarray(names, dtype=object)[codes[starts][whole]]
    return candle_frame(symbols, opens[starts][whole], [column[whole] for column in numbers])


def _sorted_without_duplicates(codes: npt.NDArray[np.int64], times: Micros) -> npt.NDArray[np.int64]:
    """Give the rows by instrument and time; of equal ones the last."""
    order = np.lexsort((times, codes))  # stable, so the last of equal ones is the one that came last
    codes, times = codes[order], times[order]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = (codes[1:] != codes[:-1]) | (times[1:] != times[:-1])
    return np.asarray(order[last])


def _sums(values: Floats, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Floats:
    """Sum each stretch, oldest first: numpy's own sums choose their order by length."""
    total = values[starts]
    counts = ends - starts
    for nth in range(1, int(counts.max())):
        longer = counts > nth
        total[longer] += values[starts[longer] + nth]
    return total


def _whole(
    granularity: Granularity, codes: npt.NDArray[np.int64], opens: Micros, first: Micros, last: Micros
) -> npt.NDArray[np.bool_]:
    """Tell which coarse candles are not partial; `first` and `last` are the times of their H1 candles."""
    heads = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    tails = np.append(heads[1:], len(codes)) - 1
    # An H1 candle off the grid stands for the hour it lies in.
    first_open = micros(candle_open(H1, from_micros(first[heads])))
    last_close = micros(candle_close(H1, from_micros(last[tails])))
    closes = micros(candle_close(granularity, from_micros(opens[tails])))
    whole = np.ones(len(codes), dtype=bool)
    whole[heads] = [not _hours_missing(*span) for span in zip(opens[heads], first_open, strict=True)]
    whole[tails] &= [not _hours_missing(*span) for span in zip(last_close, closes, strict=True)]
    return whole


def _hours_missing(start: np.int64, end: np.int64) -> bool:
    """Tell whether the market was open in `[start, end)`."""
    if start >= end:
        return False
    return len(candle_times(H1, Window(_moment(start), _moment(end)))) > 0


def _moment(time: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(time))
