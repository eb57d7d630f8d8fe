"""Which candle times have a partition, and what it is called: for whoever tells Dagster something without importing it.

What partitions are declared as is in `granularity`; `defs/partitions` hands that to Dagster. This module gives the same
answers, in milliseconds where Dagster needs seconds on years of partitions (it walks a cron through every one).
"""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets import market_hours
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window

KEY_FORMAT = "%Y-%m-%dT%H:%M%z"
"""A key is the candle's open in the granularity's zone; with its offset it never repeats, autumn or not."""


def partition_key(granularity: Granularity, open_: datetime) -> str:
    """Give the key of the partition of the candle that opens at `open_`."""
    return open_.astimezone(granularity.zone).strftime(KEY_FORMAT)


def partition_times(granularity: Granularity, window: Window) -> pd.DatetimeIndex:
    """Give the opens in `window` of all candles that have a partition, in order.

    For H1 these include the one hour a week that is closed in this season and open in the other; for the other
    granularities they are `market_hours.candle_times`.
    """
    first = pd.Timestamp(window.start).ceil("h")  # every grid has its opens on the hour
    hours = market_hours.utc_index(pd.date_range(first, window.end, freq="h", inclusive="left"))
    opens = hours[market_hours.on_grid(granularity, hours)]
    local = opens.tz_convert(granularity.zone)
    return opens[~_excluded(granularity)[(local.day_of_week + 1) % 7, local.hour]]


def _excluded(granularity: Granularity) -> npt.NDArray[np.bool_]:
    """Give the exclusions as a table: day of the week as cron counts it (Sunday is 0) by hour."""
    table = np.zeros((7, 24), dtype=np.bool_)
    for cron in granularity.partition_exclusions:
        _, hours, _, _, days = cron.split()
        table[np.ix_(_cron_field(days, 7), _cron_field(hours, 24))] = True
    return table


def _cron_field(field: str, size: int) -> list[int]:
    if field == "*":
        return list(range(size))
    spans = [part.split("-") for part in field.split(",")]
    return [value for span in spans for value in range(int(span[0]), int(span[-1]) + 1)]
