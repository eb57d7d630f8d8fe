"""Features by hand, against the slow loop, and the same whether seen whole or through a lookback."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core import features as features_core
from spike_assets.core.atr import atr
from spike_assets.core.events import events
from spike_assets.core.features import LOOKBACK_CANDLES, LOOKBACK_EVENTS, features
from spike_assets.core.quality import validate
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, candle_times
from spike_assets.store.rows import storable
from spike_assets.store.tables import FEATURES
from spike_assets_tests import oracle
from spike_assets_tests.oracle import Candle
from spike_assets_tests.shared_data import needs_shared
from spike_assets_tests.strategies import candle_lists, examples, grid
from spike_assets_tests.support import candle_frame, candle_list, captured, captured_instruments, plain, simulated

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
TIMES = grid(H1)


def candles_of(volumes: list[int], granularity: Granularity = H1, stride: int = 1) -> pd.DataFrame:
    """Give candles of which only volumes and times matter."""
    times = grid(granularity)[::stride][: len(volumes)]
    return candle_frame(
        "EUR_USD", [Candle(time, 1.0, 1.0, 1.0, 1.0, volume) for time, volume in zip(times, volumes, strict=True)]
    )


def events_at(
    candles: pd.DataFrame, places: list[int], levels: list[float], value: float = 1.0, granularity: Granularity = H1
) -> pd.DataFrame:
    """Give events at some of the candles."""
    rows = candles.iloc[places]
    closes = [oracle.close_of(granularity.name, time.to_pydatetime()) for time in rows["time"]]
    return pd.DataFrame(
        {
            "instrument": rows["instrument"].to_numpy(),
            "time": rows["time"].to_numpy(),
            "closed_at": pd.DatetimeIndex(closes),
            "level": levels,
            "atr": value,
            "volume": rows["volume"].to_numpy(),
        }
    ).assign(time=pd.DatetimeIndex(rows["time"]))


def rows_for(
    places: list[int], levels: list[float], volumes: list[int] | None = None, value: float = 1.0
) -> list[dict[str, Any]]:
    """Give the features of events at these candles of sixty."""
    candles = candles_of(volumes or [10] * 60)
    return plain(features(events_at(candles, places, levels, value), candles, H1))


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def test_distance_from_level_to_level() -> None:
    rows = rows_for([1, 3, 4, 9], [5.0, 7.0, 6.5, 6.5], value=0.5)
    assert column(rows, "distance") == [None, 2.0, -0.5, 0.0]
    assert column(rows, "distance_atr") == [None, 4.0, -1.0, 0.0]
    assert column(rows, "distance_velocity") == [None, None, -2.5, 0.5]
    assert column(rows, "sequence_last") == [None, 4.0, -1.0, 0.0]
    assert column(rows, "sequence_count") == [0, 1, 2, 3]


def test_patterns_and_their_runs() -> None:
    rows = rows_for(list(range(1, 10)), [5.0, 6.0, 7.0, 8.0, 8.0, 7.0, 9.0, 10.0, 11.0])
    assert column(rows, "pattern") == [None, "HH", "HH", "HH", "LH", "LH", "HH", "HH", "HH"]
    assert column(rows, "pattern_run") == [None, 1, 2, 3, 1, 2, 1, 2, 3]
    assert column(rows, "pattern_3") == [None, None, None, "111", "110", "100", "001", "011", "111"]
    assert column(rows, "pattern_4") == [None] * 4 + ["1110", "1100", "1001", "0011", "0111"]
    assert column(rows, "pattern_5") == [None] * 5 + ["11100", "11001", "10011", "00111"]
    assert column(rows, "pattern_6") == [None] * 6 + ["111001", "110011", "100111"]


def test_how_long_ago() -> None:
    rows = rows_for([0, 2, 3, 6, 9], [1.0] * 5)
    assert column(rows, "hours_since_previous") == [None, 2.0, 1.0, 3.0, 3.0]
    assert column(rows, "candles_since_previous") == [None, 2, 1, 3, 3]
    assert column(rows, "frequency") == [None, None, "higher", "lower", "lower"]


def test_hours_count_weekends_and_candles_do_not() -> None:
    friday = TIMES.index(datetime(2018, 3, 9, 21, tzinfo=UTC))
    candles = candles_of([1] * (friday + 3))
    rows = plain(features(events_at(candles, [friday - 1, friday + 1], [1.0, 2.0]), candles, H1))
    assert rows[1]["candles_since_previous"] == 2
    assert rows[1]["hours_since_previous"] == 49.0  # the clocks changed, too: 50 by New York's


def test_hours_are_from_close_to_close() -> None:
    candles = candles_of([1] * 30, W)
    at = next(i for i, time in enumerate(candles["time"]) if time.to_pydatetime().hour == 21)
    rows = plain(features(events_at(candles, [at - 2, at - 1, at], [1.0, 2.0, 3.0], granularity=W), candles, W))
    assert column(rows, "hours_since_previous") == [None, 167.0, 168.0]


def test_volume_against_the_event_before() -> None:
    volumes = [10] * 60
    for place, volume in {1: 100, 2: 150, 3: 0, 4: 80, 5: 80, 6: 120, 7: 120}.items():
        volumes[place] = volume
    rows = rows_for([1, 2, 3, 4, 5, 6, 7], [1.0] * 7, volumes)
    assert column(rows, "volume_roc") == [None, 0.5, -1.0, None, 0.0, 0.5, 0.0]
    assert column(rows, "volume_roc_change") == [None, None, -1.5, None, None, 0.5, -0.5]
    assert column(rows, "volume_trend") == [None, None, "decelerating", None, None, "accelerating", "decelerating"]


def test_resistances_among_the_last_candles() -> None:
    rows = rows_for([0, 1, 10, 11, 21, 30, 50, 59], [1.0] * 8)
    assert column(rows, "resistances_10") == [1, 2, 2, 2, 1, 2, 1, 2]
    assert column(rows, "resistances_20") == [1, 2, 3, 4, 3, 3, 1, 2]
    assert column(rows, "resistances_30") == [1, 2, 3, 4, 5, 5, 3, 3]
    assert column(rows, "resistances_50") == [1, 2, 3, 4, 5, 6, 6, 6]


def slot_rows(volumes: list[int], granularity: Granularity = W, stride: int = 1) -> dict[str, Any]:
    """Give the features of one event, at the last of some candles of one slot."""
    candles = candles_of(volumes, granularity, stride)
    only = events_at(candles, [len(volumes) - 1], [1.0], granularity=granularity)
    return plain(features(only, candles, granularity))[0]


def test_relative_volume_wants_ten_samples() -> None:
    assert slot_rows([8] * 9 + [16])["relative_volume"] is None
    assert slot_rows([8] * 10 + [16])["relative_volume"] == 2.0


def test_relative_volume_is_against_the_median_of_the_last_twenty() -> None:
    twenty = [1, 100] * 9 + [7, 9]
    assert slot_rows([*twenty, 16])["relative_volume"] == 16 / ((7 + 9) / 2)
    assert slot_rows([50] * 30 + [*twenty, 16])["relative_volume"] == 2.0
    assert slot_rows([50] * 30 + [*twenty[1:], 16])["relative_volume"] == 16 / ((9 + 50) / 2)


def test_relative_volume_against_nothing() -> None:
    assert slot_rows([0] * 11 + [5] * 9 + [16])["relative_volume"] is None
    assert slot_rows([0] * 10 + [5] * 10 + [16])["relative_volume"] == 16 / 2.5
    assert slot_rows([5] * 20 + [0])["relative_volume"] == 0.0


def test_volume_z_is_robust() -> None:
    volumes = [10] * 5 + [20] * 5 + [40] * 5 + [80] * 5
    middle = (math.log(20) + math.log(40)) / 2
    # Half of the samples lie half a doubling away, half of them one and a half: the median is one doubling.
    expected = round((math.log(500) - middle) / (1.4826 * math.log(2)), 2)
    assert slot_rows([*volumes, 500])["volume_z"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "volumes",
    [
        [10, 20] * 4 + [10, 100],  # nine samples
        [10] * 11 + [30] * 9 + [100],  # MAD 0
        [10, 20] * 10 + [0],  # no logarithm
        [0] * 12 + [5, 6, 7, 8, 9, 10, 11, 12] + [100],  # median 0
        [0] * 10 + [5, 6, 7, 8, 9, 10, 11, 12, 13, 14] + [100],  # half of them
    ],
)
def test_volume_z_is_null(volumes: list[int]) -> None:
    assert slot_rows(volumes)["volume_z"] is None


def test_a_few_samples_without_volume_do_not_matter() -> None:
    some = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    row = slot_rows([0, *some, 55])
    assert row["relative_volume"] == 55 / 50
    assert row["volume_z"] == round((math.log(55) - math.log(50)) / (1.4826 * math.log(50 / 30)), 2)


@pytest.mark.parametrize(("granularity", "stride"), [(H1, 24), (H4, 6), (D, 5), (W, 1)], ids=str)
def test_only_candles_of_the_slot_count(granularity: Granularity, stride: int) -> None:
    last = 12 * stride
    volumes = [8 if (last - i) % stride == 0 else 999 for i in range(last)] + [16]
    assert slot_rows(volumes, granularity)["relative_volume"] == 2.0
    assert slot_rows(volumes[3 * stride :], granularity)["relative_volume"] is None


def test_slot_is_new_yorks_hour_in_every_season() -> None:
    times = candle_times(H1, Window(datetime(2025, 2, 24, tzinfo=UTC), datetime(2025, 3, 15, tzinfo=UTC)))
    ten = [8 if time.astimezone(oracle.NEW_YORK).hour == 10 else 999 for time in times.to_pydatetime()]
    candles = candle_frame(
        "EUR_USD", [Candle(t, 1, 1, 1, 1, v) for t, v in zip(times.to_pydatetime(), ten, strict=True)]
    )
    places = [i for i, volume in enumerate(ten) if volume == 8]
    rows = plain(features(events_at(candles, places, [1.0] * len(places)), candles, H1))
    assert column(rows, "relative_volume") == [None] * 10 + [1.0] * (len(places) - 10)
    assert {time.hour for time in candles["time"].iloc[places[10:]]} == {14}
    assert {time.hour for time in candles["time"].iloc[places[:10]]} == {15}


def test_an_instrument_knows_nothing_of_the_others() -> None:
    one = candles_of([5, 10] * 40)
    first = events_at(one, [30, 40, 79], [1.0, 2.0, 1.5])
    two, second = one.assign(instrument="USD_JPY"), first.assign(instrument="USD_JPY")
    both = features(pd.concat([first, second]), pd.concat([one, two], ignore_index=True), H1)
    alone = plain(features(first, one, H1))
    assert plain(both) == alone + [row | {"instrument": "USD_JPY"} for row in alone]


def test_columns_are_those_of_the_table() -> None:
    for places in ([], [3, 5]):
        candles = candles_of([1] * 9)
        found = features(events_at(candles, places, [1.0] * len(places)), candles, H1)
        assert tuple(found.columns) == FEATURES.names
        stored = storable(FEATURES, found)
        assert str(stored["pattern_run"].dtype) == "Int64"
        assert str(stored["sequence_is_accelerating"].dtype) == "boolean"
        assert stored["resistances_10"].dtype == np.int64


def test_every_event_needs_its_candle() -> None:
    candles = candles_of([1] * 9)
    with pytest.raises(ValueError, match="needs its candle"):
        features(events_at(candles, [3, 5], [1.0, 2.0]), candles.drop(index=5), H1)


# --- the slow loop ----------------------------------------------------------------------------------------------------


def fast(granularity: Granularity, candles: pd.DataFrame, period: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = events(candles, atr(candles, period), granularity)
    return found, features(found, candles, granularity)


def slow(granularity: Granularity, lists: dict[str, list[Candle]], period: int) -> list[dict[str, Any]]:
    rows = []
    for name, candles in lists.items():
        found = oracle.events(name, granularity.name, candles, oracle.atrs(candles, period))
        rows += [{"instrument": name, **row} for row in oracle.features(granularity.name, candles, found)]
    return rows


@EVERY
@examples(100)
@given(st.data(), st.sampled_from([2, 2, 3, 14]))
def test_equals_the_slow_loop(granularity: Granularity, data: st.DataObject, period: int) -> None:
    lists = {name: data.draw(candle_lists(granularity), label=name) for name in ("EUR_USD", "USD_JPY")}
    frame = pd.concat([candle_frame(*item) for item in lists.items()], ignore_index=True)
    assert plain(fast(granularity, frame, period)[1]) == slow(granularity, lists, period)


@EVERY
def test_equals_the_slow_loop_on_simulated_candles(granularity: Granularity) -> None:
    start = datetime(2024, 9, 1, tzinfo=UTC)
    window = Window(start, start + {"H1": 80, "H4": 200, "D": 900, "W": 3000}[granularity.name] * timedelta(days=1))
    candles = validate(simulated(granularity, ("EUR_USD", "USD_TRY"), window), granularity, NOW + timedelta(days=5000))
    lists = {name: candle_list(candles.candles, name) for name in ("EUR_USD", "USD_TRY")}
    rows = plain(fast(granularity, candles.candles, 14)[1])
    assert len(rows) > 60
    assert sum(row["volume_z"] is not None for row in rows) > 30
    assert rows == slow(granularity, lists, 14)


@needs_shared
@EVERY
def test_equals_the_slow_loop_on_captured_candles(granularity: Granularity) -> None:
    folder = f"fx_{granularity.schema}"
    scored = 0
    for instrument in captured_instruments(folder):
        candles = validate(captured(folder, instrument), granularity, NOW).candles[-900:].reset_index(drop=True)
        rows = plain(fast(granularity, candles, 14)[1])
        assert rows == slow(granularity, {instrument: candle_list(candles, instrument)}, 14)
        scored += sum(row["volume_z"] is not None for row in rows)
    assert scored > 50


# --- seen through a lookback ------------------------------------------------------------------------------------------


@EVERY
@examples(60)
@given(st.data())
def test_a_lookback_is_all_that_a_row_needs(granularity: Granularity, data: st.DataObject) -> None:
    candles = candle_frame("EUR_USD", data.draw(candle_lists(granularity)))
    found, whole = fast(granularity, candles, 2)
    if len(found) <= LOOKBACK_EVENTS:
        return
    first = data.draw(st.integers(LOOKBACK_EVENTS, len(found) - 1), label="first event to know")
    place = candles["time"].searchsorted(found["time"])
    start = min(
        place[first - LOOKBACK_EVENTS],
        max(0, place[first] - LOOKBACK_CANDLES),
        *_samples(granularity, candles, place[first:]),
    )
    seen = found["time"] >= candles["time"].iloc[start]
    known = whole.loc[[first - 1], ["instrument", "time", "pattern_run"]]
    rows = features(found[seen].reset_index(drop=True), candles[start:].reset_index(drop=True), granularity, known)
    assert plain(rows[rows["time"] >= found["time"].iloc[first]]) == plain(whole[first:])


def _samples(granularity: Granularity, candles: pd.DataFrame, places: Any) -> list[int]:
    """Give where the oldest candle lies that each of some volumes is compared with."""
    slots = [oracle.slot_of(granularity.name, time.to_pydatetime()) for time in candles["time"]]
    return [([i for i in range(place) if slots[i] == slots[place]] or [place])[-20:][0] for place in places]


def test_a_run_goes_on_from_a_known_one() -> None:
    candles = candles_of([1] * 60)
    levels = [float(i) for i in range(12)]
    found = events_at(candles, list(range(10, 22)), levels)
    whole = features(found, candles, H1)
    known = whole.loc[[7], ["instrument", "time", "pattern_run"]]
    rows = features(found[5:].reset_index(drop=True), candles, H1, known)
    assert plain(rows)[3]["pattern_run"] == 8
    assert plain(rows)[-1]["pattern_run"] == 11
    unknown = features(found[5:].reset_index(drop=True), candles, H1)
    assert plain(unknown)[-1]["pattern_run"] == 6


def test_a_known_run_that_was_broken_since_says_nothing() -> None:
    candles = candles_of([1] * 60)
    found = events_at(candles, list(range(10, 18)), [1.0, 2.0, 3.0, 4.0, 3.0, 5.0, 6.0, 7.0])
    whole = features(found, candles, H1)
    known = whole.loc[[3], ["instrument", "time", "pattern_run"]]
    rows = features(found[2:].reset_index(drop=True), candles, H1, known)
    assert plain(rows)[1]["pattern_run"] == 3
    assert [row["pattern_run"] for row in plain(rows)[2:]] == [1, 1, 2, 3]


def test_declared_lookbacks() -> None:
    assert (LOOKBACK_EVENTS, LOOKBACK_CANDLES, features_core.VOLUME_SAMPLES) == (6, 49, 20)
