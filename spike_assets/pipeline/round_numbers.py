"""Which numbers are round for which instrument: as declared, and for all others those of its oldest stored close.

What follows from stored candles alone is the same in whatever order they came. It is written down, so that it is seen
when an older candle gives other numbers: then all alerts of the instrument are looked at again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from spike_assets.granularity import EARLIEST, LATEST, Granularity
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
    def of(cls, session: Session, granularity: Granularity, names: Iterable[str]) -> "RoundNumbers":
        """Give the round numbers of instruments; of one that is not declared and has no candle there are none."""
        stored = session.ops.grids(granularity)
        each = {name: _priced(session, granularity, name, stored.get(name)) for name in names}
        return cls({name: priced for name, priced in each.items() if priced is not None})

    def keep(self, session: Session, granularity: Granularity) -> list[str]:
        """Write down what is not declared; give the instruments whose numbers were others before."""
        stored = session.ops.grids(granularity)
        new = {name: one for name, one in self.by_instrument.items() if name not in GRIDS and one != stored.get(name)}
        for name, priced in new.items():
            session.ops.write_grid(granularity, name, priced)
        return [n for n, one in new.items() if n in stored and one.meaning != stored[n].meaning]


def _priced(session: Session, granularity: Granularity, name: str, known: Priced | None) -> Priced | None:
    if name in GRIDS:
        return Priced(EARLIEST, instrument(name).pip_location, GRIDS[name])
    location = session.ops.pips().get(name, instrument(name).pip_location)
    oldest = known and _oldest_close(session, granularity, name, known.priced_at + _JUST_BEHIND)
    oldest = oldest or _oldest_close(session, granularity, name, LATEST)
    return oldest and Priced(oldest[0], location, grid_at(oldest[1], location))


def _oldest_close(
    session: Session, granularity: Granularity, name: str, before: datetime
) -> tuple[datetime, float] | None:
    """Give the open and the close of the oldest candle; None where there is none before a time."""
    span = Span(name, EARLIEST, before)
    rows = session.data.read(granularity, CANDLES, [span], ["instrument", "time", "close"])
    return None if rows.empty else (rows["time"].iloc[0].to_pydatetime(), float(rows["close"].iloc[0]))
