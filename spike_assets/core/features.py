"""Features of each event: how it stands to the events and candles before it.

All of them look back only: most at the events before, `resistances_*` and `candles_since_previous` at how many
candles lie between, `relative_volume` and `volume_z` at the volumes of the same slot.
The `sequence_*` features are in `core.sequence`.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.grouped import (
    Bools,
    Floats,
    Grouped,
    Ints,
    floats,
    instrument_codes,
    micros,
    nullable_int,
    nullable_text,
    positions,
)
from spike_assets.core.sequence import sequence
from spike_assets.granularity import Granularity

PATTERN_LENGTHS = (3, 4, 5, 6)
RESISTANCE_SPANS = (10, 20, 30, 50)
"""Over how many candles events are counted."""
VOLUME_SAMPLES = 20
"""How many earlier candles of the same slot a volume is compared with, at most …"""
VOLUME_SAMPLES_LEAST = 10
"""… and at least."""

LOOKBACK_EVENTS = max(PATTERN_LENGTHS)
"""How many earlier events a row depends on (`pattern_run` alone reaches further, through `previous_run`)."""
LOOKBACK_CANDLES = max(RESISTANCE_SPANS) - 1
"""How many earlier candles a row depends on, besides those of its slot and those back to the previous event."""

_MAD_TO_SIGMA = 1.4826
_MICROS_PER_HOUR = 3_600_000_000


def features(
    events: pd.DataFrame, candles: pd.DataFrame, granularity: Granularity, previous_run: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Give the features of each event.

    The result is right for every event that has its whole lookback among the given rows, or all there is.

    Parameters
    ----------
    events
        instrument, time, closed_at, level, atr, volume (`core.events.events`); sorted by (instrument, time).
    candles
        instrument, time, volume of the same instruments over the same stretch; sorted by (instrument, time).
        Every event is at one of them.
    previous_run
        instrument, time, pattern_run: already known runs of some of the events. Where an instrument's run
        began before the given events, one known row puts it right.

    Returns
    -------
    DataFrame
        One row per event, same order, with the columns and NULL rules of the table `features` (design §8):
        float64 with NaN, `Int64`, `boolean`, and text with None.
    """
    grouped = Grouped(events)
    level, value, volume = (floats(events, name) for name in ("level", "atr", "volume"))
    closed_at = micros(events["closed_at"]).astype(np.float64)
    hours = (closed_at - grouped.shift(closed_at)) / _MICROS_PER_HOUR
    distance = level - grouped.shift(level)
    distance_atr = distance / value
    before = grouped.shift(volume)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_roc = np.where(before == 0, np.nan, (volume - before) / before)
    volume_roc_change = volume_roc - grouped.shift(volume_roc)
    hours_before = grouped.shift(hours)
    known = ~np.isnan(distance)
    higher = distance > 0
    counts = _CandleCounts(events, candles)
    relative_volume, volume_z = against_slot(events, candles, granularity)
    columns: dict[str, object] = {
        "instrument": events["instrument"],
        "time": events["time"],
        "distance": distance,
        "distance_atr": distance_atr,
        "distance_velocity": distance - grouped.shift(distance),
        "pattern": nullable_text(np.where(higher, "HH", "LH"), known),
        "pattern_run": nullable_int(_pattern_run(events, grouped, higher, known, previous_run)),
        **{f"pattern_{n}": _last_patterns(grouped, higher, n) for n in PATTERN_LENGTHS},
        "hours_since_previous": hours,
        "candles_since_previous": nullable_int(counts.since_previous(grouped)),
        "frequency": nullable_text(np.where(hours < hours_before, "higher", "lower"), ~np.isnan(hours_before)),
        "volume_roc": volume_roc,
        "volume_roc_change": volume_roc_change,
        "volume_trend": nullable_text(
            np.where(volume_roc_change > 0, "accelerating", "decelerating"), ~np.isnan(volume_roc_change)
        ),
        "relative_volume": relative_volume,
        "volume_z": volume_z,
        **{f"resistances_{n}": counts.events_among_last(n) for n in RESISTANCE_SPANS},
        **sequence(grouped, distance_atr),
    }
    return pd.DataFrame(columns)


def _last_patterns(grouped: Grouped, higher: Bools, n: int) -> npt.NDArray[np.object_]:
    """Give the last n patterns as text, oldest first, HH = 1; the instrument's first event has none."""
    code = np.zeros(len(higher), dtype=np.int64)
    for back in range(n - 1, -1, -1):
        code = code * 2 + grouped.shift(higher.astype(np.int64), back, fill=0)
    names = np.array([format(code, f"0{n}b") for code in range(2**n)], dtype=object)
    return nullable_text(names[code], grouped.rank >= n)


def _pattern_run(
    events: pd.DataFrame, grouped: Grouped, higher: Bools, known: Bools, previous_run: pd.DataFrame | None
) -> Floats:
    same = known & grouped.shift(known, fill=False).astype(bool)
    same &= higher == grouped.shift(higher, fill=False).astype(bool)
    began = np.where(same, 0, grouped.position)
    began = np.maximum.accumulate(began)
    run = (grouped.position - began + 1).astype(np.float64)
    if previous_run is not None and len(previous_run):
        run += _unseen_part_of_run(events, previous_run, run, began)
    run[~known] = np.nan
    return run


def _unseen_part_of_run(events: pd.DataFrame, previous_run: pd.DataFrame, run: Floats, began: Ints) -> Floats:
    """Give, per event, by how much its run is longer than the given events show."""
    at = positions(events, previous_run)
    more = np.where(at < 0, np.nan, floats(previous_run, "pattern_run")[at]) - run
    unseen = np.zeros(len(run))
    there = np.flatnonzero(~np.isnan(more))
    unseen[began[there]] = more[there]
    return unseen[began]


class _CandleCounts:
    """Where the events stand among the candles."""

    def __init__(self, events: pd.DataFrame, candles: pd.DataFrame) -> None:
        grouped = Grouped(candles)
        self._at = _candle_of(events, candles)
        self._first = grouped.start[self._at]
        is_event = np.zeros(len(candles) + 1, dtype=np.int64)
        is_event[self._at + 1] = 1
        self._events_before = np.cumsum(is_event)

    def since_previous(self, grouped: Grouped) -> Floats:
        at = self._at.astype(np.float64)
        return np.asarray(at - grouped.shift(at))

    def events_among_last(self, n: int) -> Ints:
        oldest = np.maximum(self._at - n + 1, self._first)
        return np.asarray(self._events_before[self._at + 1] - self._events_before[oldest], dtype=np.int64)


def _candle_of(events: pd.DataFrame, candles: pd.DataFrame) -> Ints:
    """Give the row of each event's candle."""
    at = positions(events, candles)
    if (at < 0).any():
        raise ValueError("every event needs its candle")
    return at


def against_slot(events: pd.DataFrame, candles: pd.DataFrame, granularity: Granularity) -> tuple[Floats, Floats]:
    """Give `relative_volume` and `volume_z` of each event; of every candle, where the candles are given twice."""
    slots = market_hours.slot(granularity, market_hours.utc_index(candles["time"]))
    by_slot = np.lexsort((np.arange(len(candles)), slots, instrument_codes(candles)))
    place = np.empty(len(candles), dtype=np.int64)
    place[by_slot] = np.arange(len(candles))
    group = (instrument_codes(candles) * (slots.max(initial=0) + 1) + slots)[by_slot]
    volumes = floats(candles, "volume")[by_slot]
    logs = _log_of_counts(volumes)
    at = place[_candle_of(events, candles)]
    relative, z = np.full(len(events), np.nan), np.full(len(events), np.nan)
    for chunk in np.array_split(np.arange(len(events)), max(1, len(events) // 50_000)):
        relative[chunk], z[chunk] = _robust(at[chunk], group, volumes, logs)
    return relative, z


def _log_of_counts(volumes: Floats) -> Floats:
    """Give ln of whole numbers, each by libm on its own: a vectorised log may round by its place in the array."""
    counts, back = np.unique(volumes, return_inverse=True)
    return np.array([math.log(count) if count > 0 else -math.inf for count in counts.tolist()])[back]


def _robust(at: Ints, group: Ints, volumes: Floats, logs: Floats) -> tuple[Floats, Floats]:
    back = at[:, None] - np.arange(1, VOLUME_SAMPLES + 1)
    there = back >= 0
    back = np.maximum(back, 0)
    sampled = there & (group[back] == group[at][:, None])
    samples = np.count_nonzero(sampled, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = _median(np.where(sampled, volumes[back], np.inf), samples)
        relative = volumes[at] / middle
        log_middle = _median(np.where(sampled, logs[back], np.inf), samples)
        deviation = np.abs(np.where(sampled, logs[back], np.inf) - log_middle[:, None])
        deviation[~sampled] = np.inf
        mad = _median(deviation, samples)
        z = np.round((logs[at] - log_middle) / (_MAD_TO_SIGMA * mad), 2)
    enough = samples >= VOLUME_SAMPLES_LEAST
    relative[~enough | (middle == 0)] = np.nan
    # A sample without volume has no logarithm; while they are few the medians do not see them.
    z[~enough | (mad == 0) | ~np.isfinite(mad) | ~np.isfinite(z)] = np.nan
    return relative, z


def _median(rows: Floats, samples: Ints) -> Floats:
    """Give the median of the first `samples` numbers of each row after sorting; the rest of a row is infinite."""
    ordered = np.sort(rows, axis=1)
    last = np.maximum(samples, 1)
    line = np.arange(len(rows))
    return np.asarray((ordered[line, (last - 1) // 2] + ordered[line, last // 2]) / 2)
