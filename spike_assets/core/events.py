"""`new_resistance`: where a rising candle is answered by a falling one that leaves a long upper wick."""

import uuid

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.grouped import Floats, Grouped, floats
from spike_assets.core.ids import of_names
from spike_assets.granularity import Granularity

REJECTION_ATRS = 0.3
"""How far below its high, in ATRs, the second candle must at least close."""

EVENT_NAMESPACE = uuid.UUID("6f1c4f0e-1f4e-5f7a-9d0b-6d1f3a5b8c27")
"""Namespace of all event ids; changing it changes every id ever given."""


def event_ids(instruments: "list[str]", granularity: Granularity, times: pd.DatetimeIndex) -> list[str]:
    """Give the UUIDv5 of `new_resistance|EUR_USD|H1|2025-03-10T05:00:00Z` for each event (RFC 9562 §5.5)."""
    stamps = np.datetime_as_string(times.tz_localize(None).to_numpy(), unit="s")
    named = zip(instruments, stamps, strict=True)
    return of_names(EVENT_NAMESPACE, (f"new_resistance|{name}|{granularity.name}|{stamp}Z" for name, stamp in named))


def events(candles: pd.DataFrame, atr: pd.DataFrame, granularity: Granularity) -> pd.DataFrame:
    """Give the `new_resistance` events among consecutive candles.

    An event is at a candle that closes below its open, after one that closed above its open, when
    `high - close > 0.3 x ATR` of that candle. The first candle of an instrument never makes one.

    Parameters
    ----------
    candles
        instrument, time, open, high, low, close, volume; sorted by (instrument, time).
    atr
        `core.atr.atr` of the same candles, row for row.

    Returns
    -------
    DataFrame
        One row per event in the same order, without NULLs: instrument, time (open of the second candle), event_id,
        closed_at, level (price: the higher of both highs), atr (price), volume (ticks), rebound (price: close - high,
        negative), rebound_atr (ATRs), day_of_week (of closed_at in UTC, Monday = 0), hour_of_day (of closed_at in UTC),
        suspect (either candle is a bad print).
    """
    grouped = Grouped(candles)
    open_, high, close = (floats(candles, name) for name in ("open", "high", "close"))
    value = floats(atr, "atr")
    previous_rose = grouped.shift(close) > grouped.shift(open_)
    with np.errstate(invalid="ignore"):
        rejected = (value > 0) & (high - close > REJECTION_ATRS * value)
    at = np.flatnonzero(previous_rose & (close < open_) & rejected)
    suspect = np.asarray(atr["suspect"], dtype=bool)
    either = suspect | grouped.shift(suspect, fill=False).astype(bool)
    times = market_hours.utc_index(candles["time"].iloc[at])
    closed_at = market_hours.candle_close(granularity, times)
    rebound: Floats = (close - high)[at]
    return pd.DataFrame(
        {
            "instrument": candles["instrument"].to_numpy()[at],
            "time": times,
            "event_id": np.array(
                event_ids([str(i) for i in candles["instrument"].to_numpy()[at]], granularity, times),
                dtype=object,
            ),
            "closed_at": closed_at,
            "level": np.maximum(grouped.shift(high), high)[at],
            "atr": value[at],
            "volume": candles["volume"].to_numpy(dtype="int64")[at],
            "rebound": rebound,
            "rebound_atr": rebound / value[at],
            "day_of_week": np.asarray(closed_at.day_of_week, dtype=np.int64),
            "hour_of_day": np.asarray(closed_at.hour, dtype=np.int64),
            "suspect": either[at],
        }
    )
