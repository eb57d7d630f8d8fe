"""Candles with what is known of each, and what tells that some have changed."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.store.engine import Connection
from spike_assets.store.queries.parts import NEWEST, Key, N, limits, moment, of, of_instruments
from spike_assets.store.tables import ATR, CANDLES

CANDLE_COLUMNS = (
    *of(CANDLES, "instrument", "time", "open", "high", "low", "close", "volume"),
    *of(ATR, "atr", "suspect", optional=True),
)
"""A candle with its ATR, NULL where the stage has not come so far."""


class CandleQueries:
    """Reads of candles, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def candles(
        self, granularity: Granularity, start: datetime, end: datetime, instruments: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Give candles that open in `[start, end)` with their ATR, sorted by (instrument, time)."""
        where, named = of_instruments("c", instruments)
        return self._connection.frame(
            "SELECT c.instrument, c.time, c.open, c.high, c.low, c.close, c.volume, a.atr, a.suspect"  # noqa: S608
            f" FROM {granularity.schema}.candles AS c LEFT JOIN {granularity.schema}.atr AS a"
            " ON a.instrument = c.instrument AND a.time = c.time AND a.time >= ? AND a.time < ?"
            f" WHERE c.time >= ? AND c.time < ?{where} ORDER BY c.instrument, c.time",
            CANDLE_COLUMNS,
            [start, end, start, end, *named],
        )

    def closes(
        self,
        granularity: Granularity,
        instrument: str,
        *,
        since: datetime | None = None,
        before: datetime | None = None,
        above: float | None = None,
    ) -> pd.DataFrame:
        """Give time and close of an instrument's candles that open in `[since, before)`, oldest first.

        Parameters
        ----------
        above
            Only those that close above this.
        """
        where, parameters = limits(("time >= ?", since), ("time < ?", before), ("close > ?", above))
        return self._connection.frame(
            f"SELECT time, close FROM {granularity.schema}.candles WHERE instrument = ?{where} ORDER BY time",  # noqa: S608
            of(CANDLES, "time", "close"),
            [instrument, *parameters],
        )

    def broken_at(self, granularity: Granularity, key: Key) -> datetime | None:
        """Give the open of the first candle behind an event that closed above its level; None when none has."""
        schema = granularity.schema
        found = self._connection.frame(
            f"SELECT MIN(c.time) AS newest FROM {schema}.candles AS c WHERE c.instrument = ? AND c.time > ?"  # noqa: S608
            f" AND c.close > (SELECT e.level FROM {schema}.events AS e WHERE e.instrument = ? AND e.time = ?)",
            [NEWEST],
            [*key, *key],
        )
        return moment(found["newest"].iloc[0])

    def fetched_since(self, granularity: Granularity, since: datetime, before: datetime) -> pd.DataFrame:
        """Give, of candles fetched at or after `since` that open before `before`, per instrument: n, newest fetch."""
        return self._connection.frame(
            "SELECT instrument, COUNT(*) AS n, MAX(fetched_at) AS newest"  # noqa: S608
            f" FROM {granularity.schema}.candles WHERE fetched_at >= ? AND time < ? GROUP BY instrument",
            (*of(CANDLES, "instrument"), N, NEWEST),
            [since, before],
        )

    def newest_fetch(self, granularity: Granularity) -> datetime | None:
        """Give when candles were fetched last; None before the first."""
        found = self._connection.frame(
            f"SELECT MAX(fetched_at) AS newest FROM {granularity.schema}.candles",  # noqa: S608
            [NEWEST],
        )
        return moment(found["newest"].iloc[0])

    def marked(self, granularity: Granularity, before: datetime) -> list[str]:
        """Give the instruments of which candles that open before a time wait for a stage."""
        found = self._connection.frame(
            "SELECT DISTINCT instrument FROM ops.pending WHERE granularity = ? AND from_time < ? ORDER BY instrument",
            of(CANDLES, "instrument"),
            [granularity.name, before],
        )
        return [str(name) for name in found["instrument"]]
