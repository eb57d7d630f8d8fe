"""Average true range, and the bad prints that it tells.

Source: J. Welles Wilder, *New Concepts in Technical Trading Systems* (1978); seeded and rounded as TA-Lib's
`ATR` does (`ta_ATR.c`: the first value is the mean of the first `period` true ranges, summed in order; each
step multiplies, adds and divides, in that order).
"""

import numpy as np
import pandas as pd

from spike_assets.core.grouped import Floats, Grouped, floats, micros

BAD_PRINT_ATRS = 10.0
"""A wick longer than this many of the previous candle's ATR is taken for a bad print."""


def true_range(high: Floats, low: Floats, previous_close: Floats) -> Floats:
    """Give max(high - low, |high - previous close|, |low - previous close|); NaN without a previous close."""
    widest = np.maximum(np.abs(high - previous_close), np.abs(low - previous_close))
    return np.asarray(np.where(np.isnan(previous_close), np.nan, np.maximum(high - low, widest)))


def atr(candles: pd.DataFrame, period: int = 14, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Give the ATR of each candle.

    Parameters
    ----------
    candles
        instrument, time, open, high, low, close; sorted by (instrument, time).
    period
        Wilder's period, in candles.
    known
        Rows that an earlier call gave for the *leading* candles of an instrument. They are taken as they are and the
        recursion goes on behind them, so one new candle costs one step. Unless the last of them
        has an ATR, they must reach back to the instrument's first candle.

    Returns
    -------
    DataFrame
        One row per candle, same order. `true_range` (price units; NaN on an instrument's first candle), `atr` (price
        units; NaN on its first `period` candles), `suspect` (bool: high or low lies more than
        `BAD_PRINT_ATRS` of the previous candle's ATR beyond open and close; False while there is none).
    """
    grouped = Grouped(candles)
    open_, high, low, close = (floats(candles, name) for name in ("open", "high", "low", "close"))
    ranges = true_range(high, low, grouped.shift(close))
    values = np.full(len(candles), np.nan)
    taken = {} if known is None else _take_known(candles, known, ranges, values)
    for start, stop in grouped.stretches():
        _wilder(ranges[start:stop], values[start:stop], taken.get(start, 0), period)
    above, below = high - np.maximum(open_, close), np.minimum(open_, close) - low
    with np.errstate(invalid="ignore"):
        suspect = np.maximum(above, below) > BAD_PRINT_ATRS * grouped.shift(values)
    return pd.DataFrame(
        {
            "instrument": candles["instrument"],
            "time": candles["time"],
            "true_range": ranges,
            "atr": values,
            "suspect": suspect,
        }
    )


def _take_known(candles: pd.DataFrame, known: pd.DataFrame, ranges: Floats, values: Floats) -> dict[int, int]:
    """Write known rows into `ranges` and `values`; give how many there are by the instrument's first row."""
    names, known_names = (frame["instrument"].to_numpy(dtype=object) for frame in (candles, known))
    first_row = {names[start]: start for start, _ in Grouped(candles).stretches()}
    times, known_times = micros(candles["time"]), micros(known["time"])
    known_ranges, known_values = floats(known, "true_range"), floats(known, "atr")
    taken: dict[int, int] = {}
    for start, stop in Grouped(known).stretches():
        row = first_row[known_names[start]]
        here = slice(row, row + stop - start)
        if not np.array_equal(times[here], known_times[start:stop]):
            raise ValueError("known rows must be of the leading candles")
        ranges[here], values[here] = known_ranges[start:stop], known_values[start:stop]
        taken[row] = stop - start
    return taken


def _wilder(ranges: Floats, values: Floats, known: int, period: int) -> None:
    """Fill `values` behind its first `known` entries; `ranges[0]` has no predecessor, or is known."""
    at = known
    steps = ranges.tolist()
    if at == 0 or np.isnan(values[at - 1]):
        if len(steps) <= period:
            return
        total = 0.0
        for step in steps[1 : period + 1]:
            total += step
        values[period] = total / period
        at = period + 1
    value = float(values[at - 1])
    before = period - 1
    tail = []
    for step in steps[at:]:
        value = (value * before + step) / period
        tail.append(value)
    values[at:] = tail
