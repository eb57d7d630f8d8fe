"""Dagster's partitions are the candles: keys, windows, and the fast answers agree with Dagster's own."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd
import pytest

from spike_assets.defs.partitions import partition_key, partition_times, partitions
from spike_assets.granularity import GRANULARITIES, H1, H4, NEW_YORK, D, Granularity, W
from spike_assets.market_hours import Window, candle_close, candle_times, close_of, market_open

# Over a year: both changes of clocks in New York, the weeks between those and Europe's, and two year ends.
YEAR = Window(datetime(2024, 12, 27, 13, 30, tzinfo=UTC), datetime(2026, 1, 9, 22, tzinfo=UTC))
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first_key(definition: dg.TimeWindowPartitionsDefinition, now: datetime) -> str:
    return definition.get_partition_keys(current_time=now)[0]


@EVERY
def test_fast_keys_are_dagsters_keys(granularity: Granularity) -> None:
    theirs = partitions(granularity, YEAR.start).get_partition_keys(current_time=YEAR.end)
    opens = partition_times(granularity, YEAR)
    ended = opens[candle_close(granularity, opens) <= pd.Timestamp(YEAR.end)]
    assert [partition_key(granularity, open_) for open_ in ended.to_pydatetime()] == list(theirs)


@EVERY
def test_keys_never_repeat_and_read_back(granularity: Granularity) -> None:
    opens = list(partition_times(granularity, YEAR).to_pydatetime())
    keys = [partition_key(granularity, open_) for open_ in opens]
    assert len(set(keys)) == len(keys)
    assert [datetime.fromisoformat(key) for key in keys] == opens


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_partitions_are_the_candles_the_market_can_make(granularity: Granularity) -> None:
    pd.testing.assert_index_equal(partition_times(granularity, YEAR), candle_times(granularity, YEAR))


def test_h1_has_one_closed_partition_a_week_besides() -> None:
    opens = partition_times(H1, YEAR)
    pd.testing.assert_index_equal(opens[market_open(opens)], candle_times(H1, YEAR))
    closed = opens[~market_open(opens)]
    assert {(time.strftime("%a %H"), bool(time.astimezone(NEW_YORK).dst())) for time in closed.to_pydatetime()} == {
        ("Fri 21", True),
        ("Sun 21", False),
    }
    assert len(closed) == len(candle_times(W, YEAR))


@pytest.mark.parametrize(
    ("granularity", "start", "key"),
    [
        (H1, "2025-01-01 00:00", "2025-01-01T00:00+0000"),
        (H1, "2025-01-01 00:00:01", "2025-01-01T01:00+0000"),
        (H1, "2025-03-07 21:30", "2025-03-09T21:00+0000"),  # over the weekend
        (H4, "2025-01-01 00:00", "2024-12-31T21:00-0500"),
        (H4, "2025-01-01 02:00", "2024-12-31T21:00-0500"),
        (H4, "2025-01-01 02:00:01", "2025-01-01T01:00-0500"),
        (H4, "2025-03-09 06:30", "2025-03-09T17:00-0400"),  # the night of the March change
        (H4, "2025-11-02 05:30", "2025-11-02T17:00-0500"),  # 01:30 New York, the first time
        (H4, "2025-11-02 06:30", "2025-11-02T17:00-0500"),  # 01:30 New York, the second time
        (D, "2025-01-01 00:00", "2025-01-01T17:00-0500"),
        (D, "2025-03-07 22:00", "2025-03-09T17:00-0400"),
        (D, "2025-07-01 21:00", "2025-07-01T17:00-0400"),
        (W, "2025-01-01 00:00", "2025-01-03T17:00-0500"),
        (W, "2025-10-31 21:00", "2025-10-31T17:00-0400"),
        (W, "2025-10-31 21:00:01", "2025-11-07T17:00-0500"),
    ],
    ids=str,
)
def test_first_partition_is_the_first_candle_at_or_after_the_start(
    granularity: Granularity, start: str, key: str
) -> None:
    begin = utc(start)
    soon = Window(begin, begin + timedelta(days=15))
    assert first_key(partitions(granularity, begin), soon.end) == key
    assert partition_key(granularity, partition_times(granularity, soon)[0].to_pydatetime()) == key


def test_start_may_come_in_any_zone() -> None:
    begin = datetime(2025, 7, 1, 17, tzinfo=NEW_YORK)
    assert partitions(D, begin) == partitions(D, begin.astimezone(UTC))


def test_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        partitions(D, datetime(2025, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("granularity", "key", "end"),
    [
        (H1, "2025-03-07T21:00+0000", "2025-03-07 22:00"),  # Friday's last, in winter
        (H1, "2025-07-04T20:00+0000", "2025-07-04 21:00"),  # Friday's last, in summer
        (H1, "2025-07-04T21:00+0000", "2025-07-04 22:00"),  # closed, rides along
        (H4, "2025-03-07T13:00-0500", "2025-03-07 22:00"),  # excluded neighbours do not stretch it
        (H4, "2025-03-09T17:00-0400", "2025-03-10 01:00"),
        (H4, "2025-11-02T17:00-0500", "2025-11-03 02:00"),
        (D, "2025-03-06T17:00-0500", "2025-03-07 22:00"),
        (D, "2025-10-30T17:00-0400", "2025-10-31 21:00"),
        (W, "2025-03-07T17:00-0500", "2025-03-14 21:00"),  # 167 hours
        (W, "2025-10-31T17:00-0400", "2025-11-07 22:00"),  # 169 hours
    ],
    ids=str,
)
def test_partition_window_is_the_candle(granularity: Granularity, key: str, end: str) -> None:
    open_ = datetime.fromisoformat(key).astimezone(UTC)
    window = partitions(granularity, YEAR.start).time_window_for_partition_key(key)
    assert (window.start, window.end) == (open_, utc(end))
    assert close_of(granularity, open_) == utc(end)


@EVERY
def test_partition_times_are_half_open(granularity: Granularity) -> None:
    first, second = partition_times(granularity, YEAR)[:2].to_pydatetime()
    assert list(partition_times(granularity, Window(first, second))) == [first]
    tick = timedelta(microseconds=1)
    assert list(partition_times(granularity, Window(first + tick, second))) == []
    assert list(partition_times(granularity, Window(first + tick, second + tick))) == [second]


@EVERY
@pytest.mark.parametrize("length", [timedelta(0), timedelta(hours=-5)], ids=str)
def test_empty_window_has_no_partitions(granularity: Granularity, length: timedelta) -> None:
    open_ = datetime(2025, 1, 3, 22, tzinfo=UTC)
    none = partition_times(granularity, Window(open_, open_ + length))
    assert (len(none), none.dtype) == (0, candle_times(granularity, Window(open_, open_)).dtype)
