"""Which numbers are round for which instrument: as declared, and for all others those of its oldest stored close.

What follows from stored candles alone is the same in whatever order they came. It is written down, so that it is seen
when an older candle gives other numbers: then all alerts of the instrument are looked at again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.instruments import GRIDS, grid_at, instrument
from spike_assets.store.data import Span
from spike_assets.store.ops import Priced
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES

_JUST_BEHIND = timedelta(microseconds=1)


@dataclass(frozen=True)
class RoundNumbers:
    """Per instrument its round numbers, and how many decimals its prices have."""

    by_instrument: dict[str, Priced]

    @classmethod
    def of(cls, session: Session, granularity: Granularity, names: Sequence[str]) -> "RoundNumbers":
        """Give the round numbers of instruments; of one that is not declared and has no candle there are none."""
        each = {name: _declared(name) for name in names if name in GRIDS}
        others = [name for name in names if name not in GRIDS]
        return cls(each | _of_oldest_closes(session, granularity, others) if others else each)

    def keep(self, session: Session, granularity: Granularity) -> list[str]:
        """Write down what is not declared; give the instruments whose numbers were others before."""
        followed = {name: one for name, one in self.by_instrument.items() if name not in GRIDS}
        if not followed:
            return []
        stored = session.ops.grids(granularity)
        new = {name: one for name, one in followed.items() if one != stored.get(name)}
        for name, priced in new.items():
            session.ops.write_grid(granularity, name, priced)
        return [n for n, one in new.items() if n in stored and one.meaning != stored[n].meaning]


def _declared(name: str) -> Priced:
    return Priced(EARLIEST, instrument(name).pip_location, GRIDS[name])


def _of_oldest_closes(session: Session, granularity: Granularity, names: Sequence[str]) -> dict[str, Priced]:
    pips = session.ops.pips()
    locations = {name: pips.get(name, instrument(name).pip_location) for name in names}
    return {
        name: Priced(time, locations[name], grid_at(close, locations[name]))
        for name, time, close in _oldest_closes(session, granularity, names)
    }


def _oldest_closes(
    session: Session, granularity: Granularity, names: Sequence[str]
) -> Iterator[tuple[str, datetime, float]]:
    """Give the open and the close of each instrument's oldest candle, of those that have one."""
    stored = session.ops.grids(granularity)
    # The oldest one known, or one before it: nothing else has to be looked at, while there is any.
    until = [Span(name, EARLIEST, stored[name].priced_at + _JUST_BEHIND) for name in names if name in stored]
    found = _first_closes(session, granularity, until)
    if unknown := [name for name in names if name not in found]:
        oldest = session.data.oldest(granularity)
        exactly = [Span(n, oldest[n], oldest[n] + _JUST_BEHIND) for n in unknown if n in oldest]
        found |= _first_closes(session, granularity, exactly)
    return ((name, *found[name]) for name in names if name in found)


def _first_closes(
    session: Session, granularity: Granularity, spans: Sequence[Span]
) -> dict[str, tuple[datetime, float]]:
    """Give the open and the close of the first candle in each span, of those that have one."""
    if not spans:
        return {}
    rows = session.data.read(granularity, CANDLES, spans, ["instrument", "time", "close"])
    first = rows.drop_duplicates("instrument")
    times = pd.DatetimeIndex(first["time"]).to_pydatetime()
    return {str(n): (t, float(c)) for n, t, c in zip(first["instrument"], times, first["close"], strict=True)}
