"""The tables of one granularity, declared as data: columns, kinds, and what they mean.

`schema.sql` creates them (a test holds the two together), `docs/data.md` prints them, Dagster shows them as
column schemas. How rows are read and written is the business of `store`.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "uuid", "time", "float", "int", "bool"]

SQL_TYPES: dict[Kind, str] = {
    "text": "VARCHAR",
    "uuid": "UUID",
    "time": "TIMESTAMPTZ",
    "float": "DOUBLE PRECISION",
    "int": "BIGINT",
    "bool": "BOOLEAN",
}
"""The type of each kind, understood by every engine."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its kind, what it means with its unit, and whether it may be NULL (and when)."""

    name: str
    kind: Kind
    meaning: str
    null: str = ""

    @property
    def nullable(self) -> bool:
        """Whether the column may be NULL."""
        return bool(self.null)


@dataclass(frozen=True)
class Table:
    """A table of one granularity; its rows are kept by `key`, in key order.

    `bookkeeping` names columns that say how a row came about. They are outside the invariant.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("instrument", "time")
    bookkeeping: tuple[str, ...] = ()
    keeps_infinities: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def content(self) -> tuple[Column, ...]:
        """The columns that the invariant is about, besides the key."""
        return tuple(c for c in self.columns if c.name not in (*self.key, *self.bookkeeping))


_INSTRUMENT = Column("instrument", "text", "currency pair, as OANDA writes it")
_TIME = Column("time", "time", "open of the candle")
_NO_PREVIOUS = "on an instrument's first event"

CANDLES = Table(
    "candles",
    "Closed candles, as fetched last.",
    (
        _INSTRUMENT,
        _TIME,
        Column("open", "float", "first price"),
        Column("high", "float", "highest price"),
        Column("low", "float", "lowest price"),
        Column("close", "float", "last price"),
        Column("volume", "int", "prices created in the candle (ticks)"),
        Column("fetched_at", "time", "when these values were fetched last"),
    ),
    bookkeeping=("fetched_at",),
)

ATR = Table(
    "atr",
    "Average true range of each candle.",
    (
        _INSTRUMENT,
        _TIME,
        Column("true_range", "float", "true range, price units", null="on an instrument's first candle"),
        Column(
            "atr",
            "float",
            "average true range, price units",
            null="on an instrument's first `SPIKE_ATR_PERIOD` candles",
        ),
        Column("suspect", "bool", "high or low lies more than 10 of the previous candle's ATR beyond open and close"),
    ),
)

EVENTS = Table(
    "events",
    "New resistance levels.",
    (
        _INSTRUMENT,
        Column("time", "time", "open of the second candle"),
        Column("event_id", "uuid", "UUIDv5 of kind, instrument, granularity and time"),
        Column("closed_at", "time", "close of the second candle"),
        Column("level", "float", "the resistance: the higher of both highs, price units"),
        Column("atr", "float", "ATR of the second candle, price units"),
        Column("volume", "int", "volume of the second candle, ticks"),
        Column("rebound", "float", "close - high of the second candle, price units (negative)"),
        Column("rebound_atr", "float", "rebound, in ATRs"),
        Column("day_of_week", "int", "weekday of closed_at in UTC, Monday = 0"),
        Column("hour_of_day", "int", "hour of closed_at in UTC"),
        Column("suspect", "bool", "either candle is suspect"),
    ),
)

_FEWER_THAN = "with fewer than {} events before"
_SLOT = "below 10 samples or at median 0"


def _sequence(name: str, kind: Kind, meaning: str, least: int) -> Column:
    return Column(f"sequence_{name}", kind, meaning, null=_FEWER_THAN.format(least))


FEATURES = Table(
    "features",
    "Features of each event; k is the event, k-1 the instrument's event before, s its last (up to) four distance_atr.",
    (
        _INSTRUMENT,
        Column("time", "time", "open of the event's candle"),
        Column("distance", "float", "level(k) - level(k-1), price units", null=_NO_PREVIOUS),
        Column("distance_atr", "float", "distance, in ATRs of k", null=_NO_PREVIOUS),
        Column("distance_velocity", "float", "distance(k) - distance(k-1), price units", null=_FEWER_THAN.format(2)),
        Column("pattern", "text", "`HH` if distance > 0 else `LH`", null=_NO_PREVIOUS),
        Column("pattern_run", "int", "how many times in a row this pattern has come", null=_NO_PREVIOUS),
        *(
            Column(f"pattern_{n}", "text", f"the last {n} patterns, oldest first, HH = 1", null=_FEWER_THAN.format(n))
            for n in (3, 4, 5, 6)
        ),
        Column("hours_since_previous", "float", "closed_at(k) - closed_at(k-1), hours", null=_NO_PREVIOUS),
        Column("candles_since_previous", "int", "candles from k-1 (exclusive) to k", null=_NO_PREVIOUS),
        Column("frequency", "text", "`higher` if hours_since_previous fell, else `lower`", null=_FEWER_THAN.format(2)),
        Column(
            "volume_roc", "float", "(volume(k) - volume(k-1)) / volume(k-1)", null=f"{_NO_PREVIOUS}, or volume(k-1) = 0"
        ),
        Column("volume_roc_change", "float", "volume_roc(k) - volume_roc(k-1)", null="where either is"),
        Column(
            "volume_trend",
            "text",
            "`accelerating` if volume_roc_change > 0 else `decelerating`",
            null="with volume_roc_change",
        ),
        Column("relative_volume", "float", "volume / median of the last 20 of its slot", null=_SLOT),
        Column(
            "volume_z",
            "float",
            "robust z of ln volume over the same samples, 2 decimals",
            null=f"{_SLOT}, MAD 0 or volume 0",
        ),
        *(Column(f"resistances_{n}", "int", f"events among the last {n} candles") for n in (10, 20, 30, 50)),
        _sequence("last", "float", "s_n, ATRs", 1),
        Column("sequence_count", "int", "n, 0 to 4"),
        _sequence("mean", "float", "mean of s, ATRs", 1),
        _sequence("std", "float", "population standard deviation of s, ATRs", 1),
        _sequence("change", "float", "s_n - s_1, ATRs", 1),
        _sequence("change_rate", "float", "change / |s_1|, 0 at s_1 = 0", 1),
        _sequence("final_velocity", "float", "s_n - s_(n-1), ATRs", 2),
        _sequence("acceleration", "float", "change of the last two velocities, ATRs", 3),
        _sequence("curvature", "float", "|acceleration| / max(|velocity before|, 0.0001)", 3),
        _sequence("jerk", "float", "change of acceleration, ATRs", 4),
        _sequence("is_accelerating", "bool", "acceleration > 0", 3),
        _sequence("is_geometric_decay", "bool", "every |s_i| < 0.9 |s_(i-1)|", 2),
        _sequence("urgency", "int", "1 to 3: how large |s_n| is, plus 1 when accelerating", 1),
        _sequence("confidence", "float", "n/4, times 1.2 when steady, at most 1", 1),
    ),
)

_OF_A_GROUP = "of a group"

ALERTS = Table(
    "alerts",
    "Significant events, one row each, and one row per group of instruments that met resistance at once.",
    (
        Column("instrument", "text", "currency pair; `*` of a group"),
        Column("time", "time", "open of the event's candle"),
        Column("alert_id", "uuid", "UUIDv5 of the event's id; of a group of rule, granularity and time"),
        Column("event_id", "uuid", "the event", null=_OF_A_GROUP),
        Column("closed_at", "time", "close of the candle"),
        Column("level", "float", "the resistance, price units", null=_OF_A_GROUP),
        Column("rules", "text", "rules that hold, with commas"),
        Column("reasons", "text", "JSON: per rule the numbers that it holds by"),
        Column(
            "members", "text", "the other instruments of its group, of a group all; with commas", null="without one"
        ),
    ),
)

QUARANTINE = Table(
    "quarantine",
    "Candles that failed validation, as they came.",
    (
        _INSTRUMENT,
        Column("time", "time", "the time that the candle claims"),
        Column("reason", "text", "the first rule that it broke (`core.quality.REASONS`)"),
        *(
            Column(price, "float", f"{price} as given, perhaps infinite", null="where it was no number")
            for price in ("open", "high", "low", "close")
        ),
        Column("volume", "float", "volume as given", null="where it was no number"),
        Column("fetched_at", "time", "when it was fetched last"),
    ),
    key=("instrument", "time", "reason"),
    bookkeeping=("fetched_at",),
    keeps_infinities=True,
)

TABLES: dict[str, Table] = {table.name: table for table in (CANDLES, ATR, EVENTS, FEATURES, ALERTS, QUARANTINE)}
"""The tables of every granularity, upstream first."""

DERIVED: tuple[Table, ...] = (ATR, EVENTS, FEATURES, ALERTS)
"""The tables that can be recomputed from `candles`, upstream first."""
