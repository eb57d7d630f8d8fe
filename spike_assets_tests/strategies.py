"""Candles that hypothesis makes: short, nasty, quick to make and to shrink."""

import os
from datetime import UTC, datetime
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st

from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window, candle_times
from spike_assets_tests.oracle import Candle

MORE = int(os.environ.get("SPIKE_TEST_EXAMPLES", "1"))
"""How many times more examples than in the suite: a soak's business."""

STRIDES = {"H1": (1, 24), "H4": (1, 6), "D": (1, 5), "W": (1,)}
"""Candles to the next one: the next on the grid, or the next of the same slot, so that slots fill."""

_WIDEST_GAP = {"H1": 64, "H4": 64, "D": 32, "W": 8}
_BODY = 8
_WICKS = (0, 0, 0, 1, 2, 3, 5, 60)
_VOLUMES = (0, 1, 1, 2, 3, 5, 100, 10_000_000)


def examples(n: int, *, of: int | None = None) -> settings:
    """Give settings for n examples in the suite, which stand for `of` where a soak draws more."""
    return settings(max_examples=n if MORE == 1 else (of or n) * MORE)


@cache
def grid(granularity: Granularity) -> list[datetime]:
    """Give candle times over years that hold every kind of clock change."""
    first = {"H1": 2018, "H4": 2014, "D": 2000, "W": 1990}[granularity.name]
    window = Window(datetime(first, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
    return [time.astimezone(UTC) for time in candle_times(granularity, window).to_pydatetime()]


def _numbers(body: int, wicks: int, volume: int) -> tuple[float, float, float, float, int]:
    """Few different prices, so that they meet; now and then a wick that is no market."""
    open_, close = body % _BODY, body // _BODY % _BODY
    high = max(open_, close) + _WICKS[wicks % 8]
    low = min(open_, close) - _WICKS[wicks // 8 % 8]
    # In hundredths of 1; 70 keeps every low positive.
    return (70 + open_) / 100, (70 + high) / 100, (70 + low) / 100, (70 + close) / 100, _VOLUMES[volume % 8]


def _candles(granularity: Granularity, stride: int, raw: bytes) -> list[Candle]:
    times = grid(granularity)
    candles: list[Candle] = []
    at = 0
    for gap, body, wicks, volume in zip(raw[::4], raw[1::4], raw[2::4], raw[3::4], strict=True):
        at += (stride, stride, 1, 2 + gap // 4 % _WIDEST_GAP[granularity.name])[gap % 4]
        candles.append(Candle(times[at], *_numbers(body, wicks, volume)))
    return candles


@st.composite
def candle_lists(draw: st.DrawFn, granularity: Granularity, most: int = 140, least: int = 0) -> list[Candle]:
    """Candles of one instrument: equal prices, no volume, gaps, few of them or many."""
    n = draw(st.integers(least, most))
    stride = draw(st.sampled_from(STRIDES[granularity.name]))
    return _candles(granularity, stride, draw(st.binary(min_size=4 * n, max_size=4 * n)))
