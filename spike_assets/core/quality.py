"""Which fetched candles may be stored, and why the others may not. Where they are kept is not decided here."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.grouped import Bools, floats
from spike_assets.granularity import Granularity

PRICES = ("open", "high", "low", "close")

REASONS = (
    "price_not_finite",
    "price_not_positive",
    "high_below_low",
    "body_outside_range",
    "volume_missing",
    "volume_negative",
    "volume_fractional",
    "volume_too_large",
    "off_grid",
    "in_future",
    "market_closed",
)
"""Why a candle is refused, in the order in which the rules are tried; the first that holds is given."""

_LARGEST_COUNT = 2.0**53
"""Beyond it floats skip whole numbers, and further on they do not fit an int64."""


@dataclass(frozen=True)
class Validated:
    """Fetched candles, told apart.

    Attributes
    ----------
    candles
        The valid ones, sorted by (instrument, time), of duplicates the last, `volume` as int64.
    rejected
        The others as they came, with `reason`, of equal (instrument, time, reason) the last.
    """

    candles: pd.DataFrame
    rejected: pd.DataFrame


def validate(candles: pd.DataFrame, granularity: Granularity, now: datetime) -> Validated:
    """Tell candles that may be stored from those that belong into quarantine.

    Parameters
    ----------
    candles
        As `sources.base.CANDLE_COLUMNS`, in the order in which they came.
    now
        UTC; a candle that closes later is in the future.

    Raises
    ------
    ValueError
        An instrument or a time is missing: without a key nothing can be kept, not even in quarantine.
    """
    if candles["instrument"].isna().any() or candles["time"].isna().any():
        raise ValueError("every candle needs an instrument and a time")
    reason = _reasons(candles, granularity, now)
    fine = reason == ""
    valid = candles[fine].astype({"volume": "int64"})
    valid = valid.drop_duplicates(["instrument", "time"], keep="last")
    rejected = candles[~fine].assign(reason=reason[~fine])
    rejected = rejected.drop_duplicates(["instrument", "time", "reason"], keep="last")
    return Validated(_sorted(valid, ["instrument", "time"]), _sorted(rejected, ["instrument", "time", "reason"]))


def _sorted(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return frame.sort_values(by, ignore_index=True)


def _reasons(
    candles: pd.DataFrame, granularity: Granularity, now: datetime
) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    open_, high, low, close = (floats(candles, name) for name in PRICES)
    volume = floats(candles, "volume")
    times = market_hours.utc_index(candles["time"])
    finite = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close)
    body_low, body_high = np.minimum(open_, close), np.maximum(open_, close)
    broken: dict[str, Bools] = {
        "price_not_finite": ~finite,
        "price_not_positive": np.minimum(body_low, low) <= 0,
        "high_below_low": high < low,
        "body_outside_range": (body_high > high) | (body_low < low),
        "volume_missing": ~np.isfinite(volume),
        "volume_negative": volume < 0,
        "volume_fractional": volume != np.floor(volume),
        "volume_too_large": volume > _LARGEST_COUNT,
        "off_grid": ~market_hours.on_grid(granularity, times),
        "in_future": np.asarray(market_hours.candle_close(granularity, times) > pd.Timestamp(now)),
        "market_closed": ~market_hours.traded(granularity, times),
    }
    reason = np.full(len(candles), "", dtype=object)
    for name in reversed(REASONS):
        reason[broken[name]] = name
    return reason
