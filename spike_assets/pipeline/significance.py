"""How often the rules of `core.significance` hit on what is stored, and how often chance alone would.

Reads, and changes nothing. A rule that hits no more often than chance is worth no more than a coin; this says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from spike_assets.core.alerts import Rules
from spike_assets.core.features import against_slot
from spike_assets.core.grouped import Bools, Floats, Ints, micros
from spike_assets.core.significance import Simultaneous
from spike_assets.deadline import Deadline
from spike_assets.granularity import EARLIEST, LATEST, Granularity
from spike_assets.pipeline.alerts import rules
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.round_numbers import RoundNumbers
from spike_assets.store.data import Span
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES, EVENTS, FEATURES

_LIMIT = timedelta(minutes=10)
_MICROS_PER_DAY = 86_400_000_000
_COIN, _FIRST_COIN = 1 / 8, 1 / 4
"""What a fair coin gives for a run of exactly three; more at an instrument's first three patterns, where no fourth one
before them can be the same."""


@dataclass(frozen=True)
class Hits:
    """How often a rule hit events of an instrument.

    `expected` is how many hits chance alone would give.
    """

    rule: str
    instrument: str
    events: int
    observed: int
    expected: float


@dataclass(frozen=True)
class Groups:
    """How often many instruments had an event at once.

    Attributes
    ----------
    times
        Candle times with at least one event.
    observed, expected
        Groups found, and how many there would be if every instrument had its events when it pleased.
    days
        Days from the first to the last candle.
    """

    times: int
    observed: int
    expected: float
    days: float


@dataclass(frozen=True)
class Significance:
    """What was found: per rule and instrument, and for the groups."""

    granularity: Granularity
    hits: tuple[Hits, ...]
    groups: Groups


def significance(
    pipeline: Pipeline, granularity: Granularity, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Significance:
    """Hold every stored event of the configured instruments against the rules."""
    hits: list[Hits] = []
    traded: dict[str, Ints] = {}
    happened: dict[str, Ints] = {}
    for n, name in enumerate(pipeline.instruments):
        progress(n, len(pipeline.instruments))
        with pipeline.store.reading(Deadline.after(_LIMIT), "significance") as session:
            candles, events = _read(session, granularity, name)
            numbers = RoundNumbers.of(session, granularity, [name] if len(events) else [])
        traded[name], happened[name] = micros(candles["time"]), micros(events["time"])
        if len(events):
            hits += _hits(name, candles, events, granularity, rules(numbers, pipeline.simultaneous_share))
    return Significance(granularity, tuple(hits), _groups(traded, happened, Simultaneous(pipeline.simultaneous_share)))


def _read(session: Session, granularity: Granularity, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    spans = [Span(name, EARLIEST, LATEST)]
    candles = session.data.read(granularity, CANDLES, spans, ["instrument", "time", "close", "volume"])
    events = session.data.read(granularity, EVENTS, spans, ["instrument", "time", "level", "atr"])
    described = session.data.read(granularity, FEATURES, spans)
    joined = events.merge(described, on=["instrument", "time"]).merge(candles, on=["instrument", "time"])
    return candles, joined


def _hits(name: str, candles: pd.DataFrame, events: pd.DataFrame, granularity: Granularity, rules: Rules) -> list[Hits]:
    levels, spikes, patterns = rules.level, rules.volume, rules.pattern
    relative, z = against_slot(candles, candles, granularity)
    usual = spikes.reasons(pd.DataFrame({"relative_volume": relative, "volume_z": z}))
    coin = _coin(events["pattern_run"].notna().to_numpy())
    return [
        Hits(rule, name, len(events), observed, float(expected))
        for rule, observed, expected in (
            (levels.name, len(levels.reasons(events)), levels.chances(events).sum()),
            (spikes.name, len(spikes.reasons(events)), len(events) * len(usual) / len(candles)),
            (patterns.name, len(patterns.reasons(events)), coin.sum()),
        )
    ]


def _coin(known: Bools) -> Floats:
    """Give for each event the chance that a fair coin completes a pattern there."""
    nth = np.cumsum(known)
    return np.where(nth == 3, _FIRST_COIN, np.where(nth > 3, _COIN, 0.0))


def _groups(traded: dict[str, Ints], happened: dict[str, Ints], rule: Simultaneous) -> Groups:
    """Count groups, and what independent instruments with the same rates of events would give."""
    times = np.unique(np.concatenate(list(traded.values())))
    there = _matrix(times, list(traded.values()))
    here = _matrix(times, list(happened.values()))
    rates = np.array([len(happened[name]) / max(1, len(traded[name])) for name in traded])
    present, counts = np.unique(there, axis=0, return_counts=True)
    chance = [_at_least(rates[row], rule.threshold(int(row.sum()))) for row in present]
    least = np.array([rule.threshold(n) for n in range(there.shape[1] + 1)])
    members = here.sum(axis=1)
    return Groups(
        times=int((members > 0).sum()),
        observed=int((members >= least[there.sum(axis=1)]).sum()),
        expected=float(np.dot(chance, counts)),
        days=float(times[-1] - times[0]) / _MICROS_PER_DAY if len(times) else 0.0,
    )


def _matrix(times: Ints, each: Sequence[Ints]) -> Bools:
    """Tell at which times (rows) each instrument (column) has an entry."""
    found = np.zeros((len(times), len(each)), dtype=bool)
    for column, mine in enumerate(each):
        found[np.searchsorted(times, mine), column] = True
    return found


def _at_least(rates: Floats, least: int) -> float:
    """Give the chance that at least so many of independent things happen, each at its own rate."""
    exactly = np.zeros(len(rates) + 1)
    exactly[0] = 1.0
    for rate in rates:
        exactly[1:] = exactly[1:] * (1 - rate) + exactly[:-1] * rate
        exactly[0] *= 1 - rate
    return float(exactly[least:].sum())
