"""What the platform knows of its own running: state, passes, unavailable instruments, backfills, provenance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.instruments import PRICES, Grid, instrument
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import BACKFILLS, GRIDS, PASSES, PIPS, PROVENANCE, STATE, UNAVAILABLE

MEANING = "provenance"
"""What is kept by this name: what the store's numbers mean. Shared by all who add to them."""


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a store mean."""

    source: str
    price: str
    atr_period: int
    formula_version: int
    simultaneous_share: float = 0.5


class Priced(NamedTuple):
    """Round numbers of an instrument, and from which candle's close they follow."""

    priced_at: datetime
    pip_location: int
    grid: Grid

    @property
    def meaning(self) -> tuple[int, Grid]:
        """What alerts depend on."""
        return self.pip_location, self.grid


@dataclass(frozen=True)
class Running:
    """A pass that has begun, and has not told of its end.

    Attributes
    ----------
    since, until
        When it began, and when it has to have ended; UTC.
    process
        `host/pid` of its process.
    """

    trigger: str
    since: datetime
    until: datetime
    process: str
    pass_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class State:
    """Where a granularity stands; times are UTC.

    `last_processed` is the end of the last successful pass's window; `live_since` when the first live pass went well;
    `running` the pass under way that began last.
    """

    last_processed: datetime | None = None
    last_run: datetime | None = None
    last_success: datetime | None = None
    consecutive_failures: int = 0
    total_events_detected: int = 0
    running: Running | None = None
    live_since: datetime | None = None


@dataclass(frozen=True)
class Pass:
    """One pass, as it went; or, while its status is `running`, as it began, `ended_at` being when it has to end."""

    granularity: str
    trigger: str
    window_start: datetime | None
    window_end: datetime | None
    started_at: datetime
    ended_at: datetime
    status: str
    candles: int = 0
    events: int = 0
    quarantined: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    process: str | None = None
    pass_id: UUID = field(default_factory=uuid4)


_UNFINISHED = tuple(
    next(column for column in PASSES.columns if column.name == name)
    for name in ("pass_id", "trigger", "started_at", "ended_at", "process")
)


class Ops:
    """The schema `ops` (all but `pending`), through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def state(self, granularity: Granularity) -> State | None:
        """Give where a granularity stands; None when nothing was recorded, or it was lost."""
        columns = STATE.columns[1:]
        rows = self._connection.rows(
            f"SELECT {', '.join(column.name for column in columns)} FROM ops.processing_state WHERE granularity = ?",  # noqa: S608
            columns,
            [granularity.name],
        )
        if not rows:
            return None
        row = dict(zip((column.name for column in columns), rows[0], strict=True))
        return State(
            row["last_processed"],
            row["last_run"],
            row["last_success"],
            row["consecutive_failures"],
            row["total_events_detected"],
            _running(row),
            row["live_since"],
        )

    def claim_state(self, granularity: Granularity) -> None:
        """Keep others from recording where a granularity stands, until the transaction ends."""
        self._connection.claim(f"state {granularity}")

    def write_state(self, granularity: Granularity, state: State) -> None:
        """Record where a granularity stands."""
        running = state.running
        who = (str(running.pass_id), *list(asdict(running).values())[:4]) if running else (None,) * 5
        values = [*list(asdict(state).values())[:5], *who, state.live_since]
        names = STATE.names[1:]
        # Most often it is there: an update takes a quarter of an upsert's time.
        updates = ", ".join(f"{name} = ?" for name in names)
        if not self._connection.change(
            f"UPDATE ops.processing_state SET {updates} WHERE granularity = ?",  # noqa: S608
            [*values, granularity.name],
        ):
            self._connection.execute(
                f"INSERT INTO ops.processing_state (granularity, {', '.join(names)}) VALUES (?{', ?' * len(names)})",  # noqa: S608
                [granularity.name, *values],
            )

    def forget(self, granularity: Granularity) -> None:
        """Remove all that follows from a granularity's candles, or says how it came to them."""
        self.claim_state(granularity)
        for table in ("processing_state", "backfills", "instruments", "grids"):
            self._connection.execute(f"DELETE FROM ops.{table} WHERE granularity = ?", [granularity.name])  # noqa: S608

    def record(self, done: Pass) -> None:
        """Record a pass, when it begins and when it ends; how it ended first stays."""
        values = asdict(done) | {"pass_id": str(done.pass_id), "stages": json.dumps(done.stages)}
        ended = [name for name in values if name not in ("pass_id", "granularity", "trigger", "started_at", "process")]
        if not self._connection.change(
            f"UPDATE ops.passes SET {', '.join(f'{name} = ?' for name in ended)}"  # noqa: S608
            " WHERE pass_id = CAST(? AS UUID) AND status = 'running'",
            [*(values[name] for name in ended), values["pass_id"]],
        ):
            self._connection.execute(
                f"INSERT INTO ops.passes ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"  # noqa: S608
                " ON CONFLICT (pass_id) DO NOTHING",
                list(values.values()),
            )

    def unfinished(self, granularity: Granularity) -> list[Running]:
        """Give the passes that have begun and not told of their end, oldest first."""
        rows = self._connection.rows(
            "SELECT pass_id, trigger, started_at, ended_at, process FROM ops.passes"
            " WHERE granularity = ? AND status = 'running' ORDER BY started_at",
            _UNFINISHED,
            [granularity.name],
        )
        return [
            Running(trigger, since, until, process, UUID(str(pass_id)))
            for pass_id, trigger, since, until, process in rows
        ]

    def last_error(self, granularity: Granularity) -> str | None:
        """Give what was said of the newest pass that did not end well; None when all did."""
        rows = self._connection.rows(
            "SELECT error FROM ops.passes WHERE granularity = ? AND error IS NOT NULL ORDER BY ended_at DESC LIMIT 1",
            [column for column in PASSES.columns if column.name == "error"],
            [granularity.name],
        )
        return rows[0][0] if rows else None

    def provenance(self) -> Provenance | None:
        """Give what the store's numbers mean; None while nobody has said so."""
        columns = PROVENANCE.columns[1:]
        sql = f"SELECT {', '.join(column.name for column in columns)} FROM ops.provenance"  # noqa: S608
        for source, price, atr_period, formula_version, share in self._connection.rows(sql, columns):
            return Provenance(source, price, atr_period, formula_version, 0.5 if share is None else share)
        return None

    def write_provenance(self, provenance: Provenance) -> None:
        """Record what the store's numbers mean from now on."""
        names = PROVENANCE.names[1:]
        self._connection.execute(
            f"INSERT INTO ops.provenance AS t (id, {', '.join(names)}) VALUES (1{', ?' * len(names)})"  # noqa: S608
            f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in names)}",
            list(asdict(provenance).values()),
        )

    def unavailable(self, granularity: Granularity) -> pd.DataFrame:
        """Give the instruments that the source does not know: instrument, unavailable_since, asked_at, reason."""
        return self._connection.frame(
            "SELECT instrument, unavailable_since, asked_at, reason FROM ops.instruments WHERE granularity = ?"
            " ORDER BY instrument",
            UNAVAILABLE.columns[1:],
            [granularity.name],
        )

    def write_unavailable(self, granularity: Granularity, instrument: str, reason: str, now: datetime) -> None:
        """Record that the source, asked `now`, does not know an instrument; since when is kept."""
        self._connection.execute(
            "INSERT INTO ops.instruments AS t (granularity, instrument, unavailable_since, asked_at, reason)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (granularity, instrument)"
            " DO UPDATE SET asked_at = EXCLUDED.asked_at, reason = EXCLUDED.reason",
            [granularity.name, instrument, now, now, reason],
        )

    def write_available(self, granularity: Granularity, instrument: str) -> None:
        """Record that the source knows an instrument after all."""
        self._connection.execute(
            "DELETE FROM ops.instruments WHERE granularity = ? AND instrument = ?", [granularity.name, instrument]
        )

    def pips(self) -> dict[str, int]:
        """Give the power of ten of a pip, of each instrument of which the broker's list has said it."""
        return dict(self._connection.rows("SELECT instrument, pip_location FROM ops.pips", PIPS.columns))

    def write_pips(self, locations: Mapping[str, int]) -> None:
        """Record what the broker's list says of pips; what is known already is not touched."""
        known = self.pips()
        for name, location in sorted(locations.items()):  # in one order: others may be at the same rows
            if known.get(name) != location:
                self._connection.execute(
                    "INSERT INTO ops.pips AS t (instrument, pip_location) VALUES (?, ?)"
                    " ON CONFLICT (instrument) DO UPDATE SET pip_location = EXCLUDED.pip_location",
                    [name, location],
                )

    def grids(self, granularity: Granularity) -> dict[str, Priced]:
        """Give the round numbers of each instrument that none are declared for, as written down."""
        sql = f"SELECT {', '.join(GRIDS.names)} FROM ops.grids WHERE granularity = ?"  # noqa: S608
        return {
            name: Priced(at, location, Grid(*grid))
            for _, name, at, location, *grid in self._connection.rows(sql, GRIDS.columns, [granularity.name])
        }

    def write_grid(self, granularity: Granularity, instrument: str, priced: Priced) -> None:
        """Write down the round numbers of an instrument."""
        names = GRIDS.names
        self._connection.execute(
            f"INSERT INTO ops.grids AS t ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
            " ON CONFLICT (granularity, instrument)"
            f" DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in names[2:])}",
            [granularity.name, instrument, priced.priced_at, priced.pip_location, *priced.grid],
        )

    def decimals(self, names: Sequence[str]) -> dict[str, int]:
        """Give how many decimals prices have: as declared; of others as the broker says, or the rule."""
        pips = {} if all(name in PRICES for name in names) else self.pips()
        return {
            name: 1 - pips[name] if name in pips and name not in PRICES else instrument(name).decimals for name in names
        }

    def backfilled_until(self, granularity: Granularity, start: datetime, instruments: str) -> datetime | None:
        """Give how far an unfinished backfill from `start` has come."""
        rows = self._connection.rows(
            "SELECT done_until FROM ops.backfills WHERE granularity = ? AND from_time = ? AND instruments = ?",
            BACKFILLS.columns[-1:],
            [granularity.name, start, instruments],
        )
        return rows[0][0] if rows else None

    def write_backfilled(self, granularity: Granularity, start: datetime, instruments: str, until: datetime) -> None:
        """Record how far a backfill from `start` has come."""
        self._connection.execute(
            "INSERT INTO ops.backfills AS t (granularity, from_time, instruments, done_until) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (granularity, from_time, instruments) DO UPDATE SET done_until = EXCLUDED.done_until",
            [granularity.name, start, instruments, until],
        )

    def finish_backfill(self, granularity: Granularity, start: datetime, instruments: str) -> None:
        """Forget how far a backfill had come: it is done."""
        self._connection.execute(
            "DELETE FROM ops.backfills WHERE granularity = ? AND from_time = ? AND instruments = ?",
            [granularity.name, start, instruments],
        )


def _running(row: Mapping[str, Any]) -> Running | None:
    since, until = row["running_since"], row["running_until"]
    if since is None or until is None:
        return None
    return Running(row["running_trigger"], since, until, row["running_process"], UUID(str(row["running_pass"])))
