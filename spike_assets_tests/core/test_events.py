"""`new_resistance` by hand, and against the slow loop."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core import events as events_core
from spike_assets.core.atr import atr
from spike_assets.core.events import EVENT_NAMESPACE, event_ids, events
from spike_assets.core.quality import validate
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets_tests import oracle
from spike_assets_tests.oracle import Candle
from spike_assets_tests.shared_data import needs_shared
from spike_assets_tests.strategies import candle_lists, examples
from spike_assets_tests.support import candle_frame, candle_list, captured, captured_instruments, plain

MONDAY = datetime(2025, 3, 10, 4, tzinfo=UTC)
RISES = (10.0, 15.0, 9.0, 12.0)
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def of(*prices: tuple[float, float, float, float], start: datetime = MONDAY) -> list[Candle]:
    return [Candle(start + timedelta(hours=i), *each, 100 + i) for i, each in enumerate(prices)]


def found(
    candles: list[Candle],
    values: list[float],
    suspect: list[bool] | None = None,
    granularity: Granularity = H1,
    instrument: str = "EUR_USD",
) -> list[dict[str, Any]]:
    """Give the events among candles whose ATR is given."""
    frame = candle_frame(instrument, candles)
    rows = pd.DataFrame({"atr": values, "suspect": suspect or [False] * len(values)})
    return plain(events(frame, rows, granularity))


def test_a_rising_candle_that_is_answered() -> None:
    candles = of(RISES, (12, 14, 10, 11))
    assert found(candles, [2.0, 4.0]) == [
        {
            "instrument": "EUR_USD",
            "time": datetime(2025, 3, 10, 5, tzinfo=UTC),
            "event_id": str(uuid.uuid5(EVENT_NAMESPACE, "new_resistance|EUR_USD|H1|2025-03-10T05:00:00Z")),
            "closed_at": datetime(2025, 3, 10, 6, tzinfo=UTC),
            "level": 15.0,
            "atr": 4.0,
            "volume": 101,
            "rebound": -3.0,
            "rebound_atr": -0.75,
            "day_of_week": 0,
            "hour_of_day": 6,
            "suspect": False,
        }
    ]


def test_level_is_the_higher_of_both_highs() -> None:
    assert found(of(RISES, (12, 16, 10, 11)), [2.0, 4.0])[0]["level"] == 16.0


@pytest.mark.parametrize(
    ("before", "candle", "value", "is_event"),
    [
        (RISES, (12, 14, 10, 11), 4.0, True),
        ((12, 15, 9, 12), (12, 14, 10, 11), 4.0, False),  # the first did not rise
        ((12, 15, 9, 10), (12, 14, 10, 11), 4.0, False),
        (RISES, (12, 14, 10, 12), 4.0, False),  # the second did not fall
        (RISES, (12, 14, 10, 13), 4.0, False),
        (RISES, (12, 14, 10, 11), 10.0, False),  # 3 is not more than 0.3 of 10
        (RISES, (12, 14, 10, 11), 9.99, True),
        (RISES, (12, 14, 10, 11), 11.0, False),
        (RISES, (12, 14, 10, 11), 0.0, False),  # without range there is nothing to measure by
        (RISES, (12, 14, 10, 11), -1.0, False),
        (RISES, (12, 14, 10, 11), np.nan, False),
    ],
)
def test_what_makes_an_event(before: Any, candle: Any, value: float, is_event: bool) -> None:
    assert len(found(of(before, candle), [1.0, value])) == is_event


def test_atr_of_the_first_candle_does_not_matter() -> None:
    assert len(found(of(RISES, (12, 14, 10, 11)), [np.nan, 4.0])) == 1


@pytest.mark.parametrize(
    ("suspect", "is_suspect"),
    [([False, False], False), ([True, False], True), ([False, True], True), ([True, True], True)],
)
def test_either_candle_may_be_suspect(suspect: list[bool], is_suspect: bool) -> None:
    assert found(of(RISES, (12, 14, 10, 11)), [2.0, 4.0], suspect)[0]["suspect"] is is_suspect


def test_previous_candle_is_the_stored_one_across_a_weekend() -> None:
    friday, sunday = datetime(2025, 3, 14, 20, tzinfo=UTC), datetime(2025, 3, 16, 21, tzinfo=UTC)
    candles = [Candle(friday, *RISES, 5), Candle(sunday, 12, 14, 10, 11, 6)]
    event = found(candles, [2.0, 4.0])[0]
    assert (event["time"], event["closed_at"]) == (sunday, datetime(2025, 3, 16, 22, tzinfo=UTC))
    assert (event["day_of_week"], event["hour_of_day"]) == (6, 22)


@pytest.mark.parametrize(
    ("granularity", "time", "closed_at"),
    [
        (H1, "2025-03-10 23:00", "2025-03-11 00:00"),
        (H4, "2025-03-06 22:00", "2025-03-07 02:00"),
        (H4, "2025-03-10 21:00", "2025-03-11 01:00"),
        (D, "2025-03-06 22:00", "2025-03-07 22:00"),
        (D, "2025-03-10 21:00", "2025-03-11 21:00"),
        (W, "2025-03-07 22:00", "2025-03-14 21:00"),
        (W, "2025-10-31 21:00", "2025-11-07 22:00"),
    ],
    ids=str,
)
def test_weekday_and_hour_are_of_the_close(granularity: Granularity, time: str, closed_at: str) -> None:
    opens, closes = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (time, closed_at))
    candles = [Candle(opens - timedelta(days=7), *RISES, 5), Candle(opens, 12, 14, 10, 11, 6)]
    event = found(candles, [2.0, 4.0], granularity=granularity)[0]
    assert event["closed_at"] == closes
    assert (event["day_of_week"], event["hour_of_day"]) == (closes.weekday(), closes.hour)


def test_instruments_do_not_touch() -> None:
    one, two = candle_frame("EUR_USD", of(RISES)), candle_frame("USD_JPY", of((12, 14, 10, 11)))
    rows = pd.DataFrame({"atr": [4.0, 4.0], "suspect": [True, False]})
    assert events(pd.concat([one, two], ignore_index=True), rows, H1).empty


def test_no_candles_no_events() -> None:
    rows = pd.DataFrame({"atr": pd.Series(dtype="float64"), "suspect": pd.Series(dtype=bool)})
    none = events(candle_frame("EUR_USD", []), rows, H1)
    some = events(
        candle_frame("EUR_USD", of(RISES, (12, 14, 10, 11))), pd.DataFrame({"atr": [4.0] * 2, "suspect": False}), H1
    )
    assert none.empty
    assert list(none.columns) == list(some.columns)
    assert none["closed_at"].dtype == some["closed_at"].dtype == "datetime64[us, UTC]"


# --- ids --------------------------------------------------------------------------------------------------------------


def test_ids_never_change() -> None:
    times = pd.DatetimeIndex(["2025-03-10 05:00"], tz="UTC").as_unit("us")
    assert str(EVENT_NAMESPACE) == "6f1c4f0e-1f4e-5f7a-9d0b-6d1f3a5b8c27"
    assert event_ids(["EUR_USD"], H1, times) == ["f9a23b52-b573-5bd7-9ea3-e067007ddc98"]


@EVERY
def test_ids_are_uuid5_of_what_an_event_is(granularity: Granularity) -> None:
    times = pd.DatetimeIndex(["1999-12-31 22:00", "2025-03-10 05:00"], tz="UTC").as_unit("us")
    names = [
        f"new_resistance|EUR_USD|{granularity}|1999-12-31T22:00:00Z",
        f"new_resistance|USD_JPY|{granularity}|2025-03-10T05:00:00Z",
    ]
    given_ids = event_ids(["EUR_USD", "USD_JPY"], granularity, times)
    assert given_ids == [str(uuid.uuid5(EVENT_NAMESPACE, name)) for name in names]
    assert given_ids == [str(oracle.uuid5(name)) for name in names]
    assert all(uuid.UUID(one).version == 5 for one in given_ids)


# --- the slow loop ----------------------------------------------------------------------------------------------------


def slow(granularity: Granularity, lists: dict[str, list[Candle]], period: int) -> list[dict[str, Any]]:
    return [
        {"instrument": name, **row}
        for name, candles in lists.items()
        for row in oracle.events(name, granularity.name, candles, oracle.atrs(candles, period))
    ]


@EVERY
@examples(60)
@given(st.data(), st.sampled_from([2, 3, 14]))
def test_equals_the_slow_loop(granularity: Granularity, data: st.DataObject, period: int) -> None:
    lists = {name: data.draw(candle_lists(granularity, most=80), label=name) for name in ("EUR_USD", "USD_JPY")}
    frame = pd.concat([candle_frame(*item) for item in lists.items()], ignore_index=True)
    assert plain(events(frame, atr(frame, period), granularity)) == slow(granularity, lists, period)


@needs_shared
@EVERY
def test_equals_the_slow_loop_on_captured_candles(granularity: Granularity) -> None:
    folder = f"fx_{granularity.schema}"
    count = 0
    for instrument in captured_instruments(folder):
        candles = validate(captured(folder, instrument), granularity, datetime(2026, 1, 1, tzinfo=UTC)).candles[-1200:]
        rows = plain(events(candles, atr(candles), granularity))
        assert rows == slow(granularity, {instrument: candle_list(candles, instrument)}, 14)
        count += len(rows)
    assert count > 50


def test_the_slow_loop_shares_no_constant() -> None:
    assert oracle.NAMESPACE == EVENT_NAMESPACE
    assert events_core.REJECTION_ATRS == 0.3
