"""The FX week: by tables that a person can check, by golden calendars, by properties and on captured candles."""

import ast
import csv
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_assets.granularity import GRANULARITIES, H1, H4, NEW_YORK, D, Granularity, W
from spike_assets.market_hours import (
    Window,
    candle_close,
    candle_open,
    candle_times,
    close_of,
    last_closed,
    market_open,
    next_close,
    nth_candle_before,
    on_grid,
    slot,
    traded,
    utc_index,
)
from spike_assets_tests.shared_data import SHARED, needs_shared

GOLDEN = Path(__file__).parent / "golden"
TICK = timedelta(microseconds=1)
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def utc(text: str) -> datetime:
    """Read a time on a clock in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ny(text: str, *, again: bool = False) -> datetime:
    """Read a time on a clock in New York; `again` means the second time the clock shows it that night."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK, fold=int(again)).astimezone(UTC)


def open_of(granularity: Granularity, time: datetime) -> datetime:
    return one(candle_open(granularity, utc_index([time])))


def one(times: pd.DatetimeIndex) -> datetime:
    (time,) = times.to_pydatetime()
    assert isinstance(time, datetime)
    return time


def same(left: pd.DatetimeIndex, right: pd.DatetimeIndex) -> bool:
    return left.dtype == right.dtype and left.equals(right)


# --- when the market is open ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "is_open"),
    [
        # the edges of an ordinary week, winter and summer
        (ny("2025-01-10 16:59:59"), True),
        (ny("2025-01-10 17:00"), False),
        (ny("2025-01-11 12:00"), False),
        (ny("2025-01-12 16:59:59"), False),
        (ny("2025-01-12 17:00"), True),
        (ny("2025-01-13 00:00"), True),
        (ny("2025-01-15 17:00"), True),
        (utc("2025-01-10 21:59:59"), True),
        (utc("2025-01-10 22:00"), False),
        (utc("2025-07-11 20:59:59"), True),
        (utc("2025-07-11 21:00"), False),
        (utc("2025-07-13 20:59:59"), False),
        (utc("2025-07-13 21:00"), True),
        # March 2025: closes in winter time, opens in summer time
        (utc("2025-03-07 21:59:59"), True),
        (utc("2025-03-07 22:00"), False),
        (utc("2025-03-09 20:59:59"), False),
        (utc("2025-03-09 21:00"), True),
        # New York has summer time, Europe not yet; then both
        (utc("2025-03-14 20:59:59"), True),
        (utc("2025-03-14 21:00"), False),
        (utc("2025-03-28 21:00"), False),
        (utc("2025-03-30 21:00"), True),
        # Europe has winter time again, New York not yet
        (utc("2025-10-26 20:59:59"), False),
        (utc("2025-10-26 21:00"), True),
        (utc("2025-10-31 20:59:59"), True),
        (utc("2025-10-31 21:00"), False),
        # November 2025: closes in summer time, opens in winter time
        (utc("2025-11-02 21:59:59"), False),
        (utc("2025-11-02 22:00"), True),
        # 2026
        (utc("2026-03-06 21:59:59"), True),
        (utc("2026-03-06 22:00"), False),
        (utc("2026-03-08 20:59:59"), False),
        (utc("2026-03-08 21:00"), True),
        (utc("2026-10-30 21:00"), False),
        (utc("2026-11-01 21:59:59"), False),
        (utc("2026-11-01 22:00"), True),
        # holidays are not closed by rule: brokers just send no candles
        (utc("2025-12-25 12:00"), True),
        (utc("2026-01-01 00:00"), True),
    ],
    ids=str,
)
def test_market_open(time: datetime, is_open: bool) -> None:
    assert market_open(utc_index([time])).tolist() == [is_open]


# --- where candles begin and end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "time", "opens", "closes"),
    [
        (H1, utc("2025-01-15 12:00"), utc("2025-01-15 12:00"), utc("2025-01-15 13:00")),
        (H1, utc("2025-01-15 12:59:59"), utc("2025-01-15 12:00"), utc("2025-01-15 13:00")),
        (H1, utc("2024-12-31 23:30"), utc("2024-12-31 23:00"), utc("2025-01-01 00:00")),
        # H4 at 17, 21, 1, 5, 9, 13 New York
        (H4, utc("2025-01-15 22:00"), utc("2025-01-15 22:00"), utc("2025-01-16 02:00")),
        (H4, utc("2025-01-15 21:59"), utc("2025-01-15 18:00"), utc("2025-01-15 22:00")),
        (H4, utc("2025-07-15 21:00"), utc("2025-07-15 21:00"), utc("2025-07-16 01:00")),
        (H4, utc("2025-07-15 20:59"), utc("2025-07-15 17:00"), utc("2025-07-15 21:00")),
        (H4, utc("2025-01-01 00:00"), utc("2024-12-31 22:00"), utc("2025-01-01 02:00")),
        # between the American and the European change
        (H4, utc("2025-03-20 12:00"), utc("2025-03-20 09:00"), utc("2025-03-20 13:00")),
        (H4, utc("2025-10-29 12:00"), utc("2025-10-29 09:00"), utc("2025-10-29 13:00")),
        # the March nights: 01:00 to 05:00 is three hours
        (H4, ny("2025-03-09 01:59:59"), ny("2025-03-09 01:00"), ny("2025-03-09 05:00")),
        (H4, utc("2025-03-09 06:00"), utc("2025-03-09 06:00"), utc("2025-03-09 09:00")),
        (H4, utc("2025-03-09 07:00"), utc("2025-03-09 06:00"), utc("2025-03-09 09:00")),
        (H4, utc("2025-03-09 09:00"), utc("2025-03-09 09:00"), utc("2025-03-09 13:00")),
        (H4, utc("2026-03-08 08:59"), utc("2026-03-08 06:00"), utc("2026-03-08 09:00")),
        # the November nights: 01:00 to 05:00 is five hours, and 01:00 comes twice
        (H4, ny("2025-11-02 00:59:59"), ny("2025-11-01 21:00"), ny("2025-11-02 01:00")),
        (H4, ny("2025-11-02 01:00"), utc("2025-11-02 05:00"), utc("2025-11-02 10:00")),
        (H4, ny("2025-11-02 01:30"), utc("2025-11-02 05:00"), utc("2025-11-02 10:00")),
        (H4, ny("2025-11-02 01:00", again=True), utc("2025-11-02 05:00"), utc("2025-11-02 10:00")),
        (H4, ny("2025-11-02 01:30", again=True), utc("2025-11-02 05:00"), utc("2025-11-02 10:00")),
        (H4, ny("2025-11-02 04:59:59"), utc("2025-11-02 05:00"), utc("2025-11-02 10:00")),
        (H4, ny("2025-11-02 05:00"), utc("2025-11-02 10:00"), utc("2025-11-02 14:00")),
        (H4, utc("2026-11-01 06:30"), utc("2026-11-01 05:00"), utc("2026-11-01 10:00")),
        # D at 17:00 New York
        (D, utc("2025-01-15 21:59:59"), utc("2025-01-14 22:00"), utc("2025-01-15 22:00")),
        (D, utc("2025-01-15 22:00"), utc("2025-01-15 22:00"), utc("2025-01-16 22:00")),
        (D, utc("2025-07-15 21:00"), utc("2025-07-15 21:00"), utc("2025-07-16 21:00")),
        (D, utc("2025-01-01 00:00"), utc("2024-12-31 22:00"), utc("2025-01-01 22:00")),
        (D, utc("2025-03-09 12:00"), utc("2025-03-08 22:00"), utc("2025-03-09 21:00")),  # 23 hours
        (D, utc("2025-11-02 12:00"), utc("2025-11-01 21:00"), utc("2025-11-02 22:00")),  # 25 hours
        # W at 17:00 New York on Friday
        (W, utc("2025-01-17 21:59:59"), utc("2025-01-10 22:00"), utc("2025-01-17 22:00")),
        (W, utc("2025-01-17 22:00"), utc("2025-01-17 22:00"), utc("2025-01-24 22:00")),
        (W, utc("2025-01-01 00:00"), utc("2024-12-27 22:00"), utc("2025-01-03 22:00")),
        (W, utc("2025-03-12 00:00"), utc("2025-03-07 22:00"), utc("2025-03-14 21:00")),  # 167 hours
        (W, utc("2025-11-05 00:00"), utc("2025-10-31 21:00"), utc("2025-11-07 22:00")),  # 169 hours
        (W, utc("2026-03-11 00:00"), utc("2026-03-06 22:00"), utc("2026-03-13 21:00")),
        (W, utc("2026-11-04 00:00"), utc("2026-10-30 21:00"), utc("2026-11-06 22:00")),
    ],
    ids=str,
)
def test_candle_of_a_time(granularity: Granularity, time: datetime, opens: datetime, closes: datetime) -> None:
    assert open_of(granularity, time) == opens
    assert one(candle_close(granularity, utc_index([opens]))) == closes
    assert close_of(granularity, opens) == closes
    assert close_of(granularity, time) == closes


@pytest.mark.parametrize(
    ("granularity", "time", "hours"),
    [
        (H1, utc("2025-03-09 06:00"), 1),
        (H4, ny("2025-03-09 01:00"), 3),
        (H4, ny("2025-03-09 05:00"), 4),
        (H4, ny("2025-11-02 01:00"), 5),
        (H4, ny("2025-11-01 21:00"), 4),
        (D, ny("2025-03-08 17:00"), 23),
        (D, ny("2025-11-01 17:00"), 25),
        (D, ny("2025-06-01 17:00"), 24),
        (W, ny("2025-03-07 17:00"), 167),
        (W, ny("2025-03-14 17:00"), 168),
        (W, ny("2025-10-31 17:00"), 169),
        (W, ny("2026-03-06 17:00"), 167),
        (W, ny("2026-10-30 17:00"), 169),
    ],
    ids=str,
)
def test_length_of_a_candle(granularity: Granularity, time: datetime, hours: int) -> None:
    assert close_of(granularity, time) - time == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("granularity", "time", "is_open"),
    [
        (H1, utc("2025-01-15 12:00"), True),
        (H1, utc("2025-01-15 12:00:00.000001"), False),
        (H1, utc("2025-01-11 12:00"), True),  # the grid goes on through the weekend
        (H4, utc("2025-01-15 22:00"), True),
        (H4, utc("2025-01-15 21:00"), False),
        (H4, utc("2025-07-15 21:00"), True),
        (H4, utc("2025-07-15 22:00"), False),
        (H4, utc("2025-03-20 13:00"), True),  # Europe still has winter time, the grid is New York's
        (H4, utc("2025-03-20 14:00"), False),
        (H4, ny("2025-11-02 01:00"), True),
        (H4, ny("2025-11-02 01:00", again=True), False),
        (D, utc("2025-01-15 22:00"), True),
        (D, utc("2025-01-15 00:00"), False),
        (D, utc("2025-07-15 21:00"), True),
        (D, utc("2025-07-15 22:00"), False),
        (W, ny("2025-01-17 17:00"), True),
        (W, ny("2025-01-19 17:00"), False),  # Sunday's first trade is not where the candle opens
        (W, ny("2025-03-07 17:00"), True),
        (W, ny("2025-10-31 17:00"), True),
    ],
    ids=str,
)
def test_on_grid(granularity: Granularity, time: datetime, is_open: bool) -> None:
    assert on_grid(granularity, utc_index([time])).tolist() == [is_open]


@pytest.mark.parametrize(
    ("granularity", "opens", "is_traded"),
    [
        (H1, ny("2025-01-10 16:00"), True),
        (H1, ny("2025-01-10 17:00"), False),
        (H1, ny("2025-01-12 16:00"), False),
        (H1, ny("2025-01-12 17:00"), True),
        (H1, utc("2025-07-11 21:00"), False),  # has a partition, but the market is closed in summer
        (H1, utc("2025-01-12 21:00"), False),  # and this one in winter
        (H4, ny("2025-01-10 13:00"), True),
        (H4, ny("2025-01-10 17:00"), False),
        (H4, ny("2025-01-12 13:00"), False),
        (H4, ny("2025-01-12 17:00"), True),
        (H4, ny("2025-03-09 01:00"), False),
        (H4, ny("2025-11-02 01:00"), False),
        (D, ny("2025-01-09 17:00"), True),
        (D, ny("2025-01-10 17:00"), False),
        (D, ny("2025-01-11 17:00"), False),
        (D, ny("2025-01-12 17:00"), True),
        (D, ny("2025-12-24 17:00"), True),
        (W, ny("2025-01-10 17:00"), True),  # opens in a closed market and yet is one
    ],
    ids=str,
)
def test_traded(granularity: Granularity, opens: datetime, is_traded: bool) -> None:
    assert traded(granularity, utc_index([opens])).tolist() == [is_traded]


@pytest.mark.parametrize(
    ("granularity", "start", "end", "expected"),
    [
        (H1, "2025-01-15 12:00", "2025-01-15 14:00", ["2025-01-15 12:00", "2025-01-15 13:00"]),
        (H1, "2025-01-15 12:01", "2025-01-15 14:01", ["2025-01-15 13:00", "2025-01-15 14:00"]),
        (H1, "2025-03-07 20:30", "2025-03-09 22:30", ["2025-03-07 21:00", "2025-03-09 21:00", "2025-03-09 22:00"]),
        (H1, "2025-10-31 19:30", "2025-11-02 23:00", ["2025-10-31 20:00", "2025-11-02 22:00"]),
        (H4, "2025-03-07 17:00", "2025-03-10 02:00", ["2025-03-07 18:00", "2025-03-09 21:00", "2025-03-10 01:00"]),
        (H4, "2025-10-31 17:00", "2025-11-03 02:00", ["2025-10-31 17:00", "2025-11-02 22:00"]),
        (D, "2025-03-06 00:00", "2025-03-11 00:00", ["2025-03-06 22:00", "2025-03-09 21:00", "2025-03-10 21:00"]),
        (D, "2025-10-30 21:00", "2025-11-03 22:00", ["2025-10-30 21:00", "2025-11-02 22:00"]),
        (D, "2025-12-31 00:00", "2026-01-02 00:00", ["2025-12-31 22:00", "2026-01-01 22:00"]),
        (W, "2025-03-01 00:00", "2025-03-21 00:00", ["2025-03-07 22:00", "2025-03-14 21:00"]),
        (W, "2025-10-31 21:00", "2025-11-07 22:00", ["2025-10-31 21:00"]),
        # nothing: the weekend, the inside of a candle, an empty window, one that ends before it starts
        (H1, "2025-01-10 22:00", "2025-01-12 22:00", []),
        (D, "2025-01-10 22:00", "2025-01-12 22:00", []),
        (H4, "2025-01-15 10:01", "2025-01-15 14:00", []),
        (H1, "2025-01-15 12:00", "2025-01-15 12:00", []),
        (H1, "2025-01-15 14:00", "2025-01-15 12:00", []),
    ],
    ids=str,
)
def test_candle_times(granularity: Granularity, start: str, end: str, expected: list[str]) -> None:
    times = candle_times(granularity, Window(utc(start), utc(end)))
    assert list(times.to_pydatetime()) == [utc(text) for text in expected]
    assert str(times.dtype) == "datetime64[us, UTC]"


# --- which candle closed last, which closes next ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "now", "opened", "closed", "closes_next"),
    [
        # a close belongs to the candle that ends, at once
        (H1, "2025-01-15 12:59:59", "2025-01-15 11:00", "2025-01-15 12:00", "2025-01-15 13:00"),
        (H1, "2025-01-15 13:00", "2025-01-15 12:00", "2025-01-15 13:00", "2025-01-15 14:00"),
        (H1, "2025-01-15 13:05", "2025-01-15 12:00", "2025-01-15 13:00", "2025-01-15 14:00"),
        # Friday's last candle stays the newest until Sunday's first has closed
        (H1, "2025-01-10 21:59:59", "2025-01-10 20:00", "2025-01-10 21:00", "2025-01-10 22:00"),
        (H1, "2025-01-10 22:00", "2025-01-10 21:00", "2025-01-10 22:00", "2025-01-12 23:00"),
        (H1, "2025-01-11 12:05", "2025-01-10 21:00", "2025-01-10 22:00", "2025-01-12 23:00"),
        (H1, "2025-01-12 21:59:59", "2025-01-10 21:00", "2025-01-10 22:00", "2025-01-12 23:00"),
        (H1, "2025-01-12 22:00", "2025-01-10 21:00", "2025-01-10 22:00", "2025-01-12 23:00"),
        (H1, "2025-01-12 23:00", "2025-01-12 22:00", "2025-01-12 23:00", "2025-01-13 00:00"),
        (H4, "2025-01-11 12:05", "2025-01-10 18:00", "2025-01-10 22:00", "2025-01-13 02:00"),
        (D, "2025-01-11 12:05", "2025-01-09 22:00", "2025-01-10 22:00", "2025-01-13 22:00"),
        (D, "2025-01-12 22:05", "2025-01-09 22:00", "2025-01-10 22:00", "2025-01-13 22:00"),
        # the weekends on which New York changes its clocks
        (H1, "2025-03-09 21:59", "2025-03-07 21:00", "2025-03-07 22:00", "2025-03-09 22:00"),
        (H4, "2025-03-09 21:05", "2025-03-07 18:00", "2025-03-07 22:00", "2025-03-10 01:00"),
        (D, "2025-03-09 21:05", "2025-03-06 22:00", "2025-03-07 22:00", "2025-03-10 21:00"),
        (H1, "2025-11-02 22:30", "2025-10-31 20:00", "2025-10-31 21:00", "2025-11-02 23:00"),
        (H4, "2025-11-02 06:30", "2025-10-31 17:00", "2025-10-31 21:00", "2025-11-03 02:00"),
        (D, "2025-11-02 21:05", "2025-10-30 21:00", "2025-10-31 21:00", "2025-11-03 22:00"),
        (H4, "2026-03-08 21:05", "2026-03-06 18:00", "2026-03-06 22:00", "2026-03-09 01:00"),
        (D, "2026-11-01 22:05", "2026-10-29 21:00", "2026-10-30 21:00", "2026-11-02 22:00"),
        # between the American and the European change
        (D, "2025-03-20 21:05", "2025-03-19 21:00", "2025-03-20 21:00", "2025-03-21 21:00"),
        (D, "2025-10-29 21:05", "2025-10-28 21:00", "2025-10-29 21:00", "2025-10-30 21:00"),
        # in winter D's summer tick comes before the close and has nothing to do
        (D, "2026-01-15 21:05", "2026-01-13 22:00", "2026-01-14 22:00", "2026-01-15 22:00"),
        (D, "2026-01-15 22:05", "2026-01-14 22:00", "2026-01-15 22:00", "2026-01-16 22:00"),
        (H4, "2026-01-15 21:05", "2026-01-15 14:00", "2026-01-15 18:00", "2026-01-15 22:00"),
        (H4, "2026-01-15 22:05", "2026-01-15 18:00", "2026-01-15 22:00", "2026-01-16 02:00"),
        # W closes on Friday and is asked for on Sunday
        (W, "2025-01-17 21:59:59", "2025-01-03 22:00", "2025-01-10 22:00", "2025-01-17 22:00"),
        (W, "2025-01-17 22:00", "2025-01-10 22:00", "2025-01-17 22:00", "2025-01-24 22:00"),
        (W, "2025-01-19 21:05", "2025-01-10 22:00", "2025-01-17 22:00", "2025-01-24 22:00"),
        (W, "2025-03-16 21:05", "2025-03-07 22:00", "2025-03-14 21:00", "2025-03-21 21:00"),
        (W, "2025-11-09 21:05", "2025-10-31 21:00", "2025-11-07 22:00", "2025-11-14 22:00"),
        # year ends
        (H1, "2026-01-01 00:05", "2025-12-31 23:00", "2026-01-01 00:00", "2026-01-01 01:00"),
        (H4, "2026-01-01 00:05", "2025-12-31 18:00", "2025-12-31 22:00", "2026-01-01 02:00"),
        (D, "2026-01-01 00:05", "2025-12-30 22:00", "2025-12-31 22:00", "2026-01-01 22:00"),
        (W, "2026-01-01 00:05", "2025-12-19 22:00", "2025-12-26 22:00", "2026-01-02 22:00"),
    ],
    ids=str,
)
def test_last_closed_and_next_close(
    granularity: Granularity, now: str, opened: str, closed: str, closes_next: str
) -> None:
    assert last_closed(granularity, utc(now)) == Window(utc(opened), utc(closed))
    assert next_close(granularity, utc(now)) == utc(closes_next)


@EVERY
def test_now_may_come_in_any_zone_and_the_answer_is_utc(granularity: Granularity) -> None:
    now = utc("2025-11-02 06:30")
    local = now.astimezone(NEW_YORK)
    assert last_closed(granularity, local) == last_closed(granularity, now)
    assert next_close(granularity, local) == next_close(granularity, now)
    for time in (last_closed(granularity, local).end, next_close(granularity, local), close_of(granularity, local)):
        assert time.tzinfo is UTC


@pytest.mark.parametrize(
    ("granularity", "time", "n", "expected"),
    [
        (H1, "2025-01-15 12:00", 1, "2025-01-15 11:00"),  # before, not at
        (H1, "2025-01-15 12:30", 1, "2025-01-15 12:00"),
        (H1, "2025-01-12 22:00", 1, "2025-01-10 21:00"),
        (H1, "2025-01-12 22:00", 120, "2025-01-05 22:00"),
        (H1, "2025-03-09 21:00", 120, "2025-03-02 22:00"),  # the week before March's change
        (H1, "2025-03-14 21:00", 120, "2025-03-09 21:00"),
        (H1, "2025-11-07 22:00", 121, "2025-10-31 20:00"),
        (H4, "2025-03-09 21:00", 1, "2025-03-07 18:00"),
        (H4, "2025-03-10 21:00", 7, "2025-03-07 18:00"),
        (H4, "2025-11-02 06:30", 30, "2025-10-26 21:00"),
        (D, "2025-01-12 22:00", 1, "2025-01-09 22:00"),
        (D, "2025-01-12 22:00", 5, "2025-01-05 22:00"),
        (D, "2026-01-01 22:00", 2, "2025-12-30 22:00"),
        (D, "2025-12-28 22:00", 260, "2024-12-29 22:00"),  # fifty-two weeks
        (W, "2025-03-21 21:00", 1, "2025-03-14 21:00"),
        (W, "2025-03-21 21:00", 2, "2025-03-07 22:00"),
        (W, "2025-12-26 22:00", 52, "2024-12-27 22:00"),
    ],
    ids=str,
)
def test_nth_candle_before(granularity: Granularity, time: str, n: int, expected: str) -> None:
    assert nth_candle_before(granularity, utc(time), n) == utc(expected)


@EVERY
@pytest.mark.parametrize("n", [0, -1])
def test_candles_before_are_counted_from_one(granularity: Granularity, n: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        nth_candle_before(granularity, utc("2025-01-15 12:00"), n)


@pytest.mark.parametrize(
    ("granularity", "opens", "expected"),
    [
        (H1, utc("2025-01-15 14:00"), 9),  # New York's hour, winter
        (H1, utc("2025-07-15 13:00"), 9),  # and summer
        (H1, utc("2025-03-20 13:00"), 9),  # and summer there, winter in Europe
        (H1, utc("2025-01-13 03:00"), 22),
        (H4, ny("2025-01-12 17:00"), 17),
        (H4, ny("2025-07-14 01:00"), 1),
        (H4, ny("2025-11-03 05:00"), 5),
        (D, ny("2025-01-12 17:00"), 6),  # Sunday
        (D, ny("2025-01-13 17:00"), 0),
        (D, ny("2025-01-16 17:00"), 3),  # Thursday
        (W, ny("2025-01-10 17:00"), 0),
        (W, ny("2025-07-11 17:00"), 0),
    ],
    ids=str,
)
def test_slot(granularity: Granularity, opens: datetime, expected: int) -> None:
    assert slot(granularity, utc_index([opens])).tolist() == [expected]


@pytest.mark.parametrize(
    ("granularity", "slots"),
    [(H1, set(range(24))), (H4, {1, 5, 9, 13, 17, 21}), (D, {6, 0, 1, 2, 3}), (W, {0})],
    ids=str,
)
def test_slots_of_two_years(granularity: Granularity, slots: set[int]) -> None:
    times = candle_times(granularity, Window(utc("2025-01-01"), utc("2027-01-01")))
    assert set(slot(granularity, times).tolist()) == slots


# --- times ------------------------------------------------------------------------------------------------------------


def test_utc_index_makes_microseconds_in_utc() -> None:
    index = utc_index(pd.DatetimeIndex(["2025-03-09 17:00"], tz="America/New_York").as_unit("s"))
    assert str(index.dtype) == "datetime64[us, UTC]"
    assert one(index) == utc("2025-03-09 21:00")


@pytest.mark.parametrize("times", [[datetime(2025, 1, 1)], pd.DatetimeIndex(["2025-01-01"]), []], ids=repr)  # noqa: DTZ001
def test_naive_times_are_refused(times: object) -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        utc_index(times)


@EVERY
def test_naive_now_is_refused(granularity: Granularity) -> None:
    now = datetime(2025, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="timezone-aware"):
        last_closed(granularity, now)
    with pytest.raises(ValueError, match="timezone-aware"):
        next_close(granularity, now)


@EVERY
def test_no_times_give_no_answers(granularity: Granularity) -> None:
    none = utc_index(pd.DatetimeIndex([], tz="UTC"))
    assert same(candle_open(granularity, none), none)
    assert same(candle_close(granularity, none), none)
    for answer in (on_grid(granularity, none), market_open(none), traded(granularity, none), slot(granularity, none)):
        assert len(answer) == 0


@pytest.mark.parametrize(
    ("end", "truth"), [("2025-01-01 00:00:01", True), ("2025-01-01 00:00", False), ("2024-12-31", False)]
)
def test_window_is_true_when_it_holds_time(end: str, truth: bool) -> None:
    assert bool(Window(utc("2025-01-01"), utc(end))) is truth


# --- golden calendars of 2024, 2025 and 2026 --------------------------------------------------------------------------


def golden(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stamps(rows: list[dict[str, str]], column: str) -> list[datetime]:
    return [datetime.fromisoformat(row[column]) for row in rows]


DAYS = golden("days.csv")
WEEKS = golden("weeks.csv")
SPAN = Window(stamps(DAYS, "open")[0], stamps(DAYS, "close")[-1])


def golden_candles(granularity: Granularity) -> list[tuple[datetime, datetime, bool]]:
    """Give open, close and *traded* of every candle of the golden calendars' grid."""
    if granularity is W:
        return [(*both, True) for both in zip(stamps(WEEKS, "open"), stamps(WEEKS, "close"), strict=True)]
    candles: list[tuple[datetime, datetime, bool]] = []
    for row, open_, close in zip(DAYS, stamps(DAYS, "open"), stamps(DAYS, "close"), strict=True):
        edges = [open_]
        if granularity is H4:
            for hour in row["h4"].split()[1:]:
                past = (int(hour) - edges[-1].hour) % 24
                edges.append(edges[-1] + timedelta(hours=past))
        edges.append(close)
        candles += [(start, end, row["market"] == "open") for start, end in pairwise(edges)]
    return candles


def test_golden_script_makes_the_committed_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GOLDEN / "make_market_hours.py", tmp_path], check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["days.csv", "weeks.csv"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (GOLDEN / path.name).read_bytes(), f"{path.name} is stale: see the script's README"


def test_golden_script_knows_only_the_standard_library() -> None:
    tree = ast.parse((GOLDEN / "make_market_hours.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names | {"collections.abc"}


def test_golden_calendars_cover_three_years() -> None:
    assert Window(utc("2023-12-29 22:00"), utc("2027-01-01 22:00")) == SPAN
    assert (len(DAYS), len(WEEKS)) == (1099, 157)
    assert [row["hours"] for row in WEEKS if row["hours"] != "168"] == ["167", "169"] * 3


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_candles_of_three_years(granularity: Granularity) -> None:
    candles = golden_candles(granularity)
    opens = utc_index([open_ for open_, _, _ in candles])
    closes = utc_index([close for _, close, _ in candles])
    is_traded = np.array([yes for _, _, yes in candles])
    assert same(candle_open(granularity, opens), opens)
    assert same(candle_open(granularity, closes - pd.Timedelta(TICK)), opens)
    assert same(candle_close(granularity, opens), closes)
    assert on_grid(granularity, opens).all()
    assert np.array_equal(traded(granularity, opens), is_traded)
    assert same(candle_times(granularity, SPAN), opens[is_traded])


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_only_these_are_on_the_grid(granularity: Granularity) -> None:
    hours = candle_hours(SPAN)
    opens = {open_ for open_, _, _ in golden_candles(granularity)}
    assert on_grid(granularity, hours).tolist() == [hour in opens for hour in hours.to_pydatetime()]


def candle_hours(window: Window) -> pd.DatetimeIndex:
    return utc_index(pd.date_range(window.start, window.end, freq="h", inclusive="left"))


def test_open_hours_of_three_years() -> None:
    for row, *times in zip(
        WEEKS, *(stamps(WEEKS, name) for name in ("open", "close", "first_open", "last_close")), strict=True
    ):
        open_, close, first_open, last_close = times
        hours = candle_hours(Window(open_, close))
        traded_hours = hours[market_open(hours)]
        assert len(hours) == int(row["hours"])
        assert same(traded_hours, candle_hours(Window(first_open, last_close)))
        for granularity in (H1, H4, D):
            times_of_week = candle_times(granularity, Window(open_, close))
            assert len(times_of_week) == int(row[granularity.schema])
            assert times_of_week[0].to_pydatetime() == first_open
            assert close_of(granularity, times_of_week[-1].to_pydatetime()) == last_close


@pytest.mark.parametrize(("granularity", "every"), [(H4, 17), (D, 2), (W, 1)], ids=str)
def test_last_closed_and_next_close_of_three_years(granularity: Granularity, every: int) -> None:
    candles = [Window(open_, close) for open_, close, is_traded in golden_candles(granularity) if is_traded]
    for (before, candle), (_, after) in list(pairwise(pairwise(candles)))[::every]:
        assert last_closed(granularity, candle.end) == candle
        assert last_closed(granularity, candle.end - TICK) == before
        assert next_close(granularity, candle.end) == after.end


# --- properties -------------------------------------------------------------------------------------------------------

PROPERTY = settings(deadline=None, max_examples=60)

EDGES = [
    ny("2025-03-09 03:00"),
    ny("2026-03-08 03:00"),
    ny("2025-11-02 01:00"),
    ny("2025-11-02 01:00", again=True),
    ny("2026-11-01 01:00", again=True),
    utc("2025-03-30 01:00"),  # Europe changes
    utc("2025-10-26 01:00"),
    ny("2025-03-07 17:00"),
    ny("2025-03-09 17:00"),
    ny("2025-10-31 17:00"),
    ny("2025-11-02 17:00"),
    utc("2025-01-01"),
    utc("2026-01-01"),
]

granularities = st.sampled_from(list(GRANULARITIES.values()))
some_times = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
edge_times = st.builds(
    lambda edge, distance: edge + distance,
    st.sampled_from(EDGES),
    st.one_of(st.sampled_from([-TICK, timedelta(0), TICK]), st.timedeltas(timedelta(hours=-6), timedelta(hours=6))),
)
moments = st.one_of(edge_times, some_times)
spans = st.one_of(st.timedeltas(timedelta(0), timedelta(days=1)), st.timedeltas(timedelta(0), timedelta(days=70)))


@PROPERTY
@given(granularities, moments)
def test_a_time_lies_in_its_candle(granularity: Granularity, time: datetime) -> None:
    opens = open_of(granularity, time)
    assert opens <= time < close_of(granularity, time)
    assert open_of(granularity, opens) == opens
    assert on_grid(granularity, utc_index([time])).tolist() == [time == opens]


@PROPERTY
@given(granularities, moments)
def test_a_candle_closes_where_the_next_one_opens(granularity: Granularity, time: datetime) -> None:
    closes = close_of(granularity, time)
    assert open_of(granularity, closes) == closes
    assert open_of(granularity, closes - TICK) == open_of(granularity, time)


@PROPERTY
@given(granularities, st.lists(moments, min_size=1, max_size=8))
def test_each_time_is_answered_by_itself(granularity: Granularity, times: list[datetime]) -> None:
    index = utc_index(times)
    assert list(candle_open(granularity, index).to_pydatetime()) == [open_of(granularity, time) for time in times]
    assert list(candle_close(granularity, index).to_pydatetime()) == [close_of(granularity, time) for time in times]
    assert market_open(index).tolist() == [market_open(utc_index([time]))[0] for time in times]
    assert slot(granularity, index).tolist() == [slot(granularity, utc_index([time]))[0] for time in times]


@PROPERTY
@given(moments)
def test_market_is_open_by_the_clock_in_new_york(time: datetime) -> None:
    clock = time.astimezone(NEW_YORK)
    minutes = (clock.isoweekday() % 7) * 24 * 60 + clock.hour * 60 + clock.minute  # since Sunday 00:00
    is_open = 17 * 60 <= minutes < (5 * 24 + 17) * 60
    assert market_open(utc_index([time])).tolist() == [is_open]


@PROPERTY
@given(granularities, moments, spans, spans)
def test_adjoining_windows_concatenate(
    granularity: Granularity, start: datetime, first: timedelta, second: timedelta
) -> None:
    middle, end = start + first, start + first + second
    left = candle_times(granularity, Window(start, middle))
    right = candle_times(granularity, Window(middle, end))
    assert same(pd.DatetimeIndex(left.append(right)), candle_times(granularity, Window(start, end)))


@PROPERTY
@given(granularities, moments, spans, spans, spans)
def test_a_slice_is_that_of_the_whole(
    granularity: Granularity, start: datetime, before: timedelta, inside: timedelta, after: timedelta
) -> None:
    window = Window(start + before, start + before + inside)
    whole = candle_times(granularity, Window(start, window.end + after))
    mine = (whole >= pd.Timestamp(window.start)) & (whole < pd.Timestamp(window.end))
    assert same(whole[np.asarray(mine)], candle_times(granularity, window))


@PROPERTY
@given(granularities, moments, spans)
def test_candle_times_are_the_traded_opens_in_order(granularity: Granularity, start: datetime, span: timedelta) -> None:
    times = candle_times(granularity, Window(start, start + span))
    assert times.is_monotonic_increasing
    assert times.is_unique
    assert on_grid(granularity, times).all()
    assert traded(granularity, times).all()
    hours = candle_hours(Window(start.replace(minute=0, second=0, microsecond=0), start + span))
    hours = hours[np.asarray(hours >= pd.Timestamp(start))]
    assert same(times, hours[on_grid(granularity, hours) & traded(granularity, hours)])


@PROPERTY
@given(granularities, moments)
def test_no_candle_closes_between_the_last_and_the_next(granularity: Granularity, now: datetime) -> None:
    last, upcoming = last_closed(granularity, now), next_close(granularity, now)
    assert last.end <= now < upcoming
    assert last.end == close_of(granularity, last.start)
    opens = candle_times(granularity, Window(last.start - timedelta(days=8), upcoming + timedelta(days=8)))
    closes = candle_close(granularity, opens)
    at = closes.get_indexer(utc_index([last.end, upcoming]))
    assert at[1] == at[0] + 1
    assert last_closed(granularity, upcoming).end == upcoming
    assert last_closed(granularity, upcoming - TICK) == last


@PROPERTY
@given(granularities, moments, st.integers(1, 600))
def test_n_candles_lie_between_a_time_and_the_nth_before(granularity: Granularity, time: datetime, n: int) -> None:
    nth = nth_candle_before(granularity, time, n)
    times = candle_times(granularity, Window(nth, time))
    assert len(times) == n
    assert times[0].to_pydatetime() == nth


# --- captured candles -------------------------------------------------------------------------------------------------


def captured() -> list[Path]:
    return sorted(path for name in ("fx_h4", "fx_d", "fx_w") for path in (SHARED / name).glob("*.parquet"))


@needs_shared
@pytest.mark.parametrize("path", captured(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_captured_oanda_candles_are_on_the_grid(path: Path) -> None:
    granularity = GRANULARITIES[path.parent.name.removeprefix("fx_").upper()]
    with duckdb.connect() as connection:
        micros = connection.execute("SELECT epoch_us(time) AS time FROM read_parquet(?)", [str(path)]).fetchnumpy()
    times = utc_index(pd.to_datetime(micros["time"], unit="us", utc=True))
    assert len(times) > 100
    assert on_grid(granularity, times).all()
