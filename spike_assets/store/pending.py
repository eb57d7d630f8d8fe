"""What changed upstream of a stage and was not worked off yet: `ops.pending`.

A commit that changes rows marks every stage downstream in the same transaction, so a crash forgets nothing.
A mark is a closed range `[from_time, to_time]` of one instrument. Nothing here knows what a stage computes.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import PENDING
from spike_assets.store.tables import Column


class Mark(NamedTuple):
    """A closed range `from_time <= time <= to_time` of one instrument's candles, UTC."""

    instrument: str
    from_time: datetime
    to_time: datetime


_COLUMNS = PENDING.columns[2:]
_COUNT = (Column("n", "int", "how many"),)


class Pending:
    """The marks, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, granularity: Granularity, stage: str) -> list[Mark]:
        """Give the marks of a stage, overlapping ones as one, sorted by (instrument, from_time)."""
        found = self._connection.frame(
            "SELECT instrument, from_time, to_time FROM ops.pending WHERE granularity = ? AND stage = ?"
            " ORDER BY instrument, from_time",
            _COLUMNS,
            [granularity.name, stage],
        )
        from_times, to_times = (pd.DatetimeIndex(found[name]).to_pydatetime() for name in ("from_time", "to_time"))
        return _merged(map(Mark, found["instrument"], from_times, to_times))

    def count(self, granularity: Granularity) -> int:
        """Give how many marks there are, over all stages."""
        counted = self._connection.frame(
            "SELECT COUNT(*) AS n FROM ops.pending WHERE granularity = ?", _COUNT, [granularity.name]
        )
        return int(counted["n"].iloc[0])

    def mark(self, granularity: Granularity, stages: Sequence[str], marks: Sequence[Mark]) -> None:
        """Mark a changed range per instrument for each of the stages."""
        if not marks or not stages:
            return
        self._connection.load("marks", _COLUMNS, _frame(marks))
        self._connection.execute(
            "INSERT INTO ops.pending AS t (granularity, stage, instrument, from_time, to_time)"  # noqa: S608
            " SELECT ?, s.stage, m.instrument, m.from_time, m.to_time"
            f" FROM marks AS m CROSS JOIN (VALUES {', '.join(['(?)'] * len(stages))}) AS s(stage)"
            " ON CONFLICT (granularity, stage, instrument, from_time)"
            " DO UPDATE SET to_time = EXCLUDED.to_time WHERE t.to_time < EXCLUDED.to_time",
            [granularity.name, *stages],
        )

    def clear(self, granularity: Granularity, stage: str, worked_off: Sequence[Mark] | None = None) -> None:
        """Remove the marks that begin inside the given ranges (one per instrument), or all."""
        if worked_off is None:
            self._connection.execute(
                "DELETE FROM ops.pending WHERE granularity = ? AND stage = ?", [granularity.name, stage]
            )
            return
        self._connection.load("worked_off", _COLUMNS, _frame(worked_off))
        self._connection.execute(
            "DELETE FROM ops.pending AS t USING worked_off WHERE t.granularity = ? AND t.stage = ?"
            " AND t.instrument = worked_off.instrument"
            " AND t.from_time >= worked_off.from_time AND t.from_time <= worked_off.to_time",
            [granularity.name, stage],
        )


def _frame(marks: Sequence[Mark]) -> pd.DataFrame:
    instruments, from_times, to_times = zip(*marks, strict=True)
    return pd.DataFrame(
        {
            "instrument": pd.Series(instruments, dtype=object),
            "from_time": pd.DatetimeIndex(from_times).as_unit("us"),
            "to_time": pd.DatetimeIndex(to_times).as_unit("us"),
        }
    )


def _merged(marks: Iterable[Mark]) -> list[Mark]:
    merged: list[Mark] = []
    for mark in marks:
        last = merged[-1] if merged else None
        if last and last.instrument == mark.instrument and mark.from_time <= last.to_time:
            merged[-1] = last._replace(to_time=max(last.to_time, mark.to_time))
        else:
            merged.append(mark)
    return merged
