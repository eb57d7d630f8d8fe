"""H1, H4, D and W declared as data: how candles are cut, when ticks come, how long a pass may take.

Nothing here computes; `market_hours` turns these declarations into times.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

UTC = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")

EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Between these, every time that a person may give lies."""

GRID_ANCHOR = datetime(1970, 1, 2, 17)  # noqa: DTZ001 - wall clock: a Friday, 17:00, in the granularity's own zone
"""Every grid counts its steps from here, in wall-clock time of the granularity's zone."""


@dataclass(frozen=True)
class Granularity:
    """One candle length and everything that follows from it.

    Attributes
    ----------
    name
        `H1`, `H4`, `D` or `W`, as OANDA writes it.
    step
        Wall-clock distance between two candle opens, in `zone`.
    zone
        The zone in which the grid is regular: UTC for H1, New York for the others.
    slot
        What `relative_volume` compares: the New York hour, the New York weekday, or every candle.
    lookback
        A first guess of how far back the features of a candle look; reads widen themselves where it is short.
    crons
        When ticks come, in UTC.
    partition_cron, partition_exclusions
        The Dagster partitions, in `zone`: every window, and those in which the market is always closed.
    timeout
        What one pass may take, all attempts together.
    retries
        How often a transient fault is tried again inside the timeout.
    """

    name: str
    step: timedelta
    zone: ZoneInfo
    slot: Literal["hour", "weekday", "any"]
    lookback: timedelta
    crons: tuple[str, ...]
    partition_cron: str
    partition_exclusions: tuple[str, ...]
    timeout: timedelta
    retries: int = 2

    @property
    def schema(self) -> str:
        """Name of the store's schema and of the asset group: `h1`, `h4`, `d`, `w`."""
        return self.name.lower()

    def __str__(self) -> str:
        return self.name


H1 = Granularity(
    name="H1",
    step=timedelta(hours=1),
    zone=UTC,
    slot="hour",
    lookback=timedelta(days=35),
    crons=("5 * * * *",),
    partition_cron="0 * * * *",
    # Closed in both seasons; Friday 21:00 and Sunday 21:00 are open in one of them.
    partition_exclusions=("0 22-23 * * 5", "0 * * * 6", "0 0-20 * * 0"),
    timeout=timedelta(seconds=30),
)
H4 = Granularity(
    name="H4",
    step=timedelta(hours=4),
    zone=NEW_YORK,
    slot="hour",
    lookback=timedelta(days=35),
    # The product's contract is UTC; the second line is the same tick in New York's winter.
    crons=("5 1,5,9,13,17,21 * * *", "5 2,6,10,14,18,22 * * *"),
    partition_cron="0 1,5,9,13,17,21 * * *",
    partition_exclusions=("0 17,21 * * 5", "0 1,5,9,13,17,21 * * 6", "0 1,5,9,13 * * 0"),
    timeout=timedelta(seconds=30),
)
D = Granularity(
    name="D",
    step=timedelta(days=1),
    zone=NEW_YORK,
    slot="weekday",
    lookback=timedelta(weeks=26),
    crons=("5 21 * * *", "5 22 * * *"),
    partition_cron="0 17 * * *",
    partition_exclusions=("0 17 * * 5,6",),
    timeout=timedelta(seconds=60),
)
W = Granularity(
    name="W",
    step=timedelta(weeks=1),
    zone=NEW_YORK,
    slot="any",
    lookback=timedelta(weeks=60),
    crons=("5 21 * * 0",),
    partition_cron="0 17 * * 5",
    partition_exclusions=(),
    timeout=timedelta(seconds=60),
)

GRANULARITIES: dict[str, Granularity] = {g.name: g for g in (H1, H4, D, W)}
"""All granularities by name, finest first."""
