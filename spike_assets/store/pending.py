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
    """A closed range `from_time <= time <= to_time` of one instrument's candles, UTC.

    `since` is where the change began, when this is the rest of a longer mark; None when it is the whole of it.
    """

    instrument: str
    from_time: datetime
    to_time: datetime
    since: datetime | None = None

    @property
    def began(self) -> datetime:
        """Where the change began."""
        return self.since or self.from_time


_COLUMNS = PENDING.columns[2:]
_COUNT = (Column("n", "int", "how many"),)


class Pending:
    """The marks, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, granularity: Granularity, stage: str) -> list[Mark]:
        """Give the marks of a stage, overlapping ones as one, sorted by (instrument, from_time)."""
        found = self._connection.frame(
            "SELECT instrument, from_time, to_time, since_time FROM ops.pending WHERE granularity = ? AND stage = ?"
            " ORDER BY instrument, from_time",
            _COLUMNS,
            [granularity.name, stage],
        )
        times = [pd.DatetimeIndex(found[name]).to_pydatetime() for name in ("from_time", "to_time", "since_time")]
        return _merged(_mark(*row) for row in zip(found["instrument"], *times, strict=True))

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
            "INSERT INTO ops.pending AS t (granularity, stage, instrument, from_time, to_time, since_time)"  # noqa: S608
            " SELECT ?, s.stage, m.instrument, m.from_time, m.to_time, m.since_time"
            f" FROM marks AS m CROSS JOIN (VALUES {', '.join(['(?)'] * len(stages))}) AS s(stage)"
            " ON CONFLICT (granularity, stage, instrument, from_time)"
            " DO UPDATE SET to_time = GREATEST(t.to_time, EXCLUDED.to_time),"
            " since_time = LEAST(t.since_time, EXCLUDED.since_time)"
            " WHERE t.to_time < EXCLUDED.to_time OR t.since_time > EXCLUDED.since_time",
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
    return pd.DataFrame(
        {
            "instrument": pd.Series([mark.instrument for mark in marks], dtype=object),
            "from_time": pd.DatetimeIndex([mark.from_time for mark in marks]).as_unit("us"),
            "to_time": pd.DatetimeIndex([mark.to_time for mark in marks]).as_unit("us"),
            "since_time": pd.DatetimeIndex([mark.began for mark in marks]).as_unit("us"),
        }
    )


def _mark(instrument: str, from_time: datetime, to_time: datetime, since: datetime) -> Mark:
    return Mark(instrument, from_time, to_time, since if since < from_time else None)


def _merged(marks: Iterable[Mark]) -> list[Mark]:
    merged: list[Mark] = []
    for mark in marks:
        last = merged[-1] if merged else None
        if last and last.instrument == mark.instrument and mark.from_time <= last.to_time:
            began = min(last.began, mark.began)
            merged[-1] = _mark(last.instrument, last.from_time, max(last.to_time, mark.to_time), began)
        else:
            merged.append(mark)
    return merged
