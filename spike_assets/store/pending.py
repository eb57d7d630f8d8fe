"""What changed upstream of a stage and was not worked off yet: `ops.pending`.

A commit that changes rows marks every stage downstream in the same transaction, so a crash forgets nothing.
A mark is a closed range `[from_time, to_time]` of one instrument. Nothing here knows what a stage computes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from spike_assets.errors import StoreError
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


_Key = tuple[str, str, datetime]
"""Stage, instrument, where a mark begins."""
_Reach = tuple[datetime, datetime]
"""Where it ends, and where the change began of which it is the rest."""

_COLUMNS = PENDING.columns[1:]
_COUNT = (Column("n", "int", "how many"),)


@dataclass
class _Held:
    """The marks of a granularity: as they are stored, and as they are to be."""

    stored: Mapping[_Key, _Reach]
    now: dict[_Key, _Reach]

    def add(self, stage: str, mark: Mark) -> None:
        key, reach = (stage, mark.instrument, mark.from_time), (mark.to_time, mark.began)
        known = self.now.get(key, reach)
        self.now[key] = (max(known[0], reach[0]), min(known[1], reach[1]))

    def drop(self, stage: str, ranges: Iterable[Mark] | None) -> None:
        inside = None if ranges is None else {mark.instrument: mark for mark in ranges}
        for key in [key for key in self.now if key[0] == stage and _begins_in(key, inside)]:
            del self.now[key]


def _begins_in(key: _Key, ranges: Mapping[str, Mark] | None) -> bool:
    if ranges is None:
        return True
    mark = ranges.get(key[1])
    return mark is not None and mark.from_time <= key[2] <= mark.to_time


class Pending:
    """The marks, through one open connection. Whoever changes a granularity's marks has its lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[str, _Held] | None = None

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Write what the block marks and clears when it ends: what is marked and worked off inside is never written."""
        if self._held is not None:
            yield
            return
        self._held = {}
        try:
            yield
            for name, held in self._held.items():
                self._write(name, held)
        finally:
            self._held = None

    def hold(self, granularity: Granularity) -> None:
        """Read the marks of a granularity once, for as long as changes are gathered."""
        self._hold(granularity)

    def of(self, granularity: Granularity, stage: str) -> list[Mark]:
        """Give the marks of a stage, overlapping ones as one, sorted by (instrument, from_time)."""
        held = self._now(granularity)
        marks = self._read(granularity) if held is None else held
        of_stage = sorted((name, since, reach) for (one, name, since), reach in marks.items() if one == stage)
        return _merged(_mark(name, since, *reach) for name, since, reach in of_stage)

    def count(self, granularity: Granularity) -> int:
        """Give how many marks there are, over all stages."""
        held = self._now(granularity)
        if held is not None:
            return len(held)
        sql = "SELECT COUNT(*) AS n FROM ops.pending WHERE granularity = ?"
        ((counted,),) = self._connection.rows(sql, _COUNT, [granularity.name])
        return int(counted)

    def mark(self, granularity: Granularity, stages: Sequence[str], marks: Sequence[Mark]) -> None:
        """Mark a changed range per instrument for each of the stages."""
        if not marks or not stages:
            return
        with self.gathered():
            held = self._hold(granularity)
            for stage in stages:
                for mark in marks:
                    held.add(stage, mark)

    def clear(self, granularity: Granularity, stage: str, worked_off: Sequence[Mark] | None = None) -> None:
        """Remove the marks that begin inside the given ranges (one per instrument), or all."""
        with self.gathered():
            self._hold(granularity).drop(stage, worked_off)

    def _now(self, granularity: Granularity) -> Mapping[_Key, _Reach] | None:
        held = (self._held or {}).get(granularity.name)
        return None if held is None else held.now

    def _hold(self, granularity: Granularity) -> _Held:
        if self._held is None:
            raise StoreError("marks were held outside a transaction; report this")
        if granularity.name not in self._held:
            stored = self._read(granularity)
            self._held[granularity.name] = _Held(stored, dict(stored))
        return self._held[granularity.name]

    def _read(self, granularity: Granularity) -> dict[_Key, _Reach]:
        rows = self._connection.rows(
            "SELECT stage, instrument, from_time, to_time, since_time FROM ops.pending WHERE granularity = ?",
            _COLUMNS,
            [granularity.name],
        )
        return {(stage, instrument, since): (until, began) for stage, instrument, since, until, began in rows}

    def _write(self, name: str, held: _Held) -> None:
        gone = [key for key, reach in held.stored.items() if held.now.get(key) != reach]
        new = [(*key, *reach) for key, reach in held.now.items() if held.stored.get(key) != reach]
        emptied = {stage for stage, *_ in gone} - {stage for stage, *_ in held.now}
        if emptied:
            places = ", ".join("?" * len(emptied))
            self._connection.execute(
                f"DELETE FROM ops.pending WHERE granularity = ? AND stage IN ({places})",  # noqa: S608
                [name, *sorted(emptied)],
            )
        if singly := [key for key in gone if key[0] not in emptied]:
            self._connection.load("gone", _COLUMNS[:3], _frame(_COLUMNS[:3], singly))
            self._connection.execute(
                "DELETE FROM ops.pending AS t USING gone WHERE t.granularity = ? AND t.stage = gone.stage"
                " AND t.instrument = gone.instrument AND t.from_time = gone.from_time",
                [name],
            )
        if new:
            self._connection.load("marks", _COLUMNS, _frame(_COLUMNS, new))
            self._connection.execute(
                "INSERT INTO ops.pending (granularity, stage, instrument, from_time, to_time, since_time)"
                " SELECT ?, m.stage, m.instrument, m.from_time, m.to_time, m.since_time FROM marks AS m",
                [name],
            )


def _frame(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    values = dict(zip((column.name for column in columns), zip(*rows, strict=True), strict=True))
    return pd.DataFrame(
        {
            c.name: pd.DatetimeIndex(values[c.name]).as_unit("us")
            if c.kind == "time"
            else pd.Series(values[c.name], dtype=object)
            for c in columns
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
