"""Prices and volumes of the simulated market, and the source that gives them.

The walks themselves are `noise`, how far they go is `currencies`.
"""

import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity, W
from spike_assets.market_hours import Window, candle_close, candle_open, candle_times
from spike_assets.sources.base import Fetched, no_candles
from spike_assets.sources.resample import Floats, candle_frame, closed_before, from_micros, micros, micros_of
from spike_assets.sources.simulated.currencies import Pair, currency, pair, walks
from spike_assets.sources.simulated.noise import Ints, halves, hashes, key, walk, walk_keys

ACTIVITY: tuple[int, ...] = (1, 2, 4, 4, 4, 3, 3, 3, 4, 6, 8, 7, 6, 5, 6, 9, 10, 9, 7, 5, 4, 4, 4, 2)
"""How much happens in each hour, from 17:00 New York on: the steps that the walks take in it."""

DAYS, HOURS = 5, 24
WEEK = DAYS * HOURS
"""H1 candles of a week, Sunday 17:00 to Friday 17:00 New York, in every season: clocks change at weekends."""
WEEKEND = 6
"""Steps that the walks take between two weeks: Monday's gap."""
BURST_ODDS = 50
"""One hour in so many has three to eight times its volume."""

_MEAN_STEPS = sum(ACTIVITY) / HOURS
_WEEK_STEPS = DAYS * sum(ACTIVITY) + WEEKEND
_STEPS = WEEKEND + np.cumsum((0, *ACTIVITY * DAYS), dtype=np.int64)
"""Steps from one Friday's close to the open of the week and to each close in it, shape `(121,)`."""

_PER_STEP = 0.01 / math.sqrt(_MEAN_STEPS)
"""Turns the per cent of an average hour into the share of one step."""
_WICK = 1.8
"""The longest possible wick, in hourly standard deviations; the mean is a quarter of it."""

_LEVEL_WEEK = 2870
"""The week of 2025-01-05, whose open is the declared level; week 0 is that of 1970-01-04."""
_HOUR = 3_600_000_000
_CHUNK = 64
"""Weeks that are computed at a time, so that what lies between stays in the processor's cache."""


class SimulatedSource:
    """A deterministic market for any OANDA-style symbol, from long before 2000 until now."""

    @property
    def name(self) -> str:
        """How the source is called."""
        return "simulated"

    @property
    def price(self) -> str:
        """Which price the candles are of."""
        return "mid"

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        """Give the candles that open in each instrument's window and had closed at `now`.

        Returns
        -------
        Fetched
            Per instrument times ascending, none missing; instruments with one window come together. What is
            no symbol is unavailable.

        Raises
        ------
        DeadlineError
            The time was up on the way.
        """
        unavailable: dict[str, str] = {}
        alike: dict[tuple[int, int], list[Pair]] = {}
        closed = closed_before(granularity, now)
        for symbol, window in windows.items():
            try:
                known = pair(symbol)
            except ValueError as error:
                unavailable[symbol] = str(error)
                continue
            span = micros_of(window.start), min(micros_of(window.end), closed)
            alike.setdefault(span, []).append(known)
        frames = [_candles(granularity, pairs, *span, deadline) for span, pairs in alike.items()]
        return Fetched(pd.concat(frames, ignore_index=True) if frames else no_candles(), unavailable)


def _candles(granularity: Granularity, pairs: list[Pair], start: int, end: int, deadline: Deadline) -> pd.DataFrame:
    """Give the pairs' candles that open in `[start, end)`, microseconds since 1970."""
    if start >= end:
        return no_candles()
    # Whole weeks are computed and cut afterwards: all of them hold equally many candles.
    edges = from_micros(np.array([start, end - 1]))
    first = candle_open(W, edges)[0].to_pydatetime()
    last = candle_close(W, edges)[1].to_pydatetime()
    opens = micros(candle_times(granularity, Window(first, last)))
    weeks = np.arange(_week(first), _week(last), dtype=np.int64)
    per_week = len(opens) // len(weeks)
    low, high = (int(edge) for edge in np.searchsorted(opens, (start, end)))
    numbers = np.empty((5, len(pairs), high - low))
    for at in range(low // per_week, -(-high // per_week), _CHUNK):
        deadline.check(f"simulating {len(pairs)} instruments")
        begin = at * per_week
        chunk = _coarse(_hours(pairs, weeks[at : at + _CHUNK]), WEEK // per_week)
        cut = slice(max(low - begin, 0), min(high - begin, chunk.shape[2]))
        numbers[:, :, begin + cut.start - low : begin + cut.stop - low] = chunk[:, :, cut]
    symbols = np.array([one.symbol for one in pairs], dtype=object).repeat(high - low)
    return candle_frame(symbols, np.tile(opens[low:high], len(pairs)), list(numbers.reshape(5, -1)))


def _week(friday: datetime) -> int:
    """Count the weeks from that of 1970-01-04; half a day's slack swallows the change of clocks."""
    return (micros_of(friday) - 34 * _HOUR) // (7 * 24 * _HOUR)


def _coarse(candles: Floats, hours: int) -> Floats:
    """Join every `hours` H1 candles, shape `(5, pairs, candles)`, into one."""
    if hours == 1:
        return candles
    open_, high, low, close, volume = candles.reshape(5, candles.shape[1], -1, hours)
    total = np.zeros(volume.shape[:2])
    for hour in range(hours):
        total += volume[:, :, hour]
    return np.stack([open_[:, :, 0], high.max(axis=2), low.min(axis=2), close[:, :, -1], total])


def _hours(pairs: list[Pair], weeks: Ints) -> Floats:
    """Give the H1 candles of consecutive weeks: open, high, low, close and volume, each `(pairs, 120 weeks)`."""
    path = np.stack(_paths(pairs, (weeks[:, None] * _WEEK_STEPS + _STEPS).ravel())).reshape(
        len(pairs), len(weeks), WEEK + 1
    )
    open_ = path[:, :, :-1].reshape(len(pairs), -1)
    close = path[:, :, 1:].reshape(len(pairs), -1)
    hours = (weeks[:, None] * WEEK + np.arange(WEEK)).ravel()
    activity = np.tile(np.array(ACTIVITY * DAYS) / _MEAN_STEPS, len(weeks))

    reach = open_ * _column([_WICK * one.volatility for one in pairs]) * np.sqrt(activity)
    up, down = (
        np.floor(reach * luck * other) for luck, other in (_uniforms(pairs, side, hours) for side in ("up", "down"))
    )
    noise, burst = _uniforms(pairs, "volume", hours)
    burst *= BURST_ODDS
    times = np.where(burst < 1.0, 3.0 + 5.0 * burst, 1.0)
    volume = np.floor(_column([one.volume for one in pairs]) * activity * (0.6 + 0.8 * noise) * times)

    unit = _column([one.ticks_per_unit for one in pairs])
    high = np.maximum(open_, close) + up
    low = np.maximum(np.minimum(open_, close) - down, 1.0)
    return np.stack([open_ / unit, high / unit, low / unit, close / unit, np.maximum(volume, 1.0)])


def _paths(pairs: list[Pair], steps: Ints) -> list[Floats]:
    """Give each pair's price in whole ticks after so many steps (ascending)."""
    names = sorted({name for one in pairs for side in (one.base, one.quote) for name in walks(side)})
    keys = np.array([walk_keys(name) for name in names], dtype=np.uint64)
    since = walk(keys, steps) - walk(keys, np.array([_LEVEL_WEEK * _WEEK_STEPS + WEEKEND]))
    own = dict(zip(names, since * _column([currency(name).volatility * _PER_STEP for name in names]), strict=True))
    paths = []
    for one in pairs:
        move = _moves(own, one.base) - _moves(own, one.quote)
        # Like exp, and as symmetric, but exact: twice up is as far as twice down, and never below zero.
        ratio = np.where(move >= 0.0, 1.0 + move, 1.0 / (1.0 - np.minimum(move, 0.0)))
        paths.append(np.maximum(np.rint(one.level * ratio), 1.0))
    return paths


def _moves(own: dict[str, Floats], name: str) -> Floats:
    total = own[name]
    for other in walks(name)[1:]:
        total = total + own[other]
    return total


def _uniforms(pairs: list[Pair], purpose: str, counters: Ints) -> tuple[Floats, Floats]:
    """Give two numbers from 0 to 1 for each pair and counter."""
    keys = np.array([key(one.symbol, purpose) for one in pairs], dtype=np.uint64)
    return halves(hashes(keys, counters))


def _column(values: list[float]) -> Floats:
    return np.array(values)[:, None]
