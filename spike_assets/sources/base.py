"""What a candle source is. No source lives here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window

CANDLE_COLUMNS = ("instrument", "time", "open", "high", "low", "close", "volume")
"""Columns of fetched candles: text, open time (UTC), four float64 prices, float64 volume."""


@dataclass(frozen=True)
class Fetched:
    """What a source answered.

    Attributes
    ----------
    candles
        One row per candle with `CANDLE_COLUMNS`, in the order in which the source gave them: of duplicates
        the last one wins, later on. Not validated: prices may be NaN, times may be off the grid.
    unavailable
        Instruments that the source does not know, with its own words.
    came_at
        Per instrument, when its answer came, on the monotonic clock (seconds): an answer that waits for others in the
        same fetch must not seem newer than it is. Those not named came when the fetch ended.
    pip_locations
        The power of ten of a pip, of instruments of which the source has said it just now.
    """

    candles: pd.DataFrame
    unavailable: dict[str, str] = field(default_factory=dict)
    came_at: dict[str, float] = field(default_factory=dict)
    pip_locations: dict[str, int] = field(default_factory=dict)


class CandleSource(Protocol):
    """Given instruments, a granularity and a window for each, gives the closed candles in them."""

    @property
    def name(self) -> str:
        """How the source is called in settings and in the store's provenance."""
        ...

    @property
    def price(self) -> str:
        """Which price its candles are of: `mid`, `bid` or `ask`."""
        ...

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        """Give the candles that open in each instrument's window and had closed at `now`.

        Raises
        ------
        SourceError
            The source cannot answer and asking again would not help; the text says what to do.
        TransientError
            It may answer when asked again, or the deadline has come.
        """
        ...


def no_candles() -> pd.DataFrame:
    """Give an empty frame of candles with the right columns and types."""
    return pd.DataFrame(
        {
            "instrument": pd.Series(dtype=object),
            "time": pd.DatetimeIndex([], tz="UTC").as_unit("us"),
            **{name: pd.Series(dtype="float64") for name in CANDLE_COLUMNS[2:]},
        }
    )
