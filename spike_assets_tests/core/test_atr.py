"""ATR by hand, against TA-Lib on every captured file, and going on from what is known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.atr import atr, true_range
from spike_assets.granularity import H1
from spike_assets_tests import oracle
from spike_assets_tests.oracle import Candle
from spike_assets_tests.shared_data import needs_shared
from spike_assets_tests.strategies import candle_lists, examples
from spike_assets_tests.support import candle_frame, candle_list, captured, captured_instruments, plain

START = datetime(2025, 3, 10, tzinfo=UTC)
FOLDERS = ("fx_h1", "fx_h4", "fx_d", "fx_w", "fx_d_mt5")


def of(*prices: tuple[float, float, float, float]) -> list[Candle]:
    """Give candles, an hour apart, of (open, high, low, close)."""
    return [Candle(START + timedelta(hours=i), *each, 1) for i, each in enumerate(prices)]


BY_HAND = of(
    (10, 12, 8, 11),
    (11, 15, 11, 14),  # 4: 15 - 11, from 11 no further
    (20, 21, 19, 20),  # 7: a gap up, 21 - 14
    (10, 12, 8, 9),  # 12: a gap down, 20 - 8
    (9, 10, 9, 10),  # 1
)


def test_true_range_is_the_widest_of_three() -> None:
    candles = candle_frame("EUR_USD", BY_HAND)
    np.testing.assert_array_equal(atr(candles)["true_range"], [np.nan, 4, 7, 12, 1])
    high, low, close = np.array([3.0, 3.0, 3.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 9.0, 0.5])
    np.testing.assert_array_equal(true_range(high, low, close), [2.0, 8.0, 2.5])


def test_first_atr_is_a_mean_and_then_wilder_smooths() -> None:
    rows = atr(candle_frame("EUR_USD", BY_HAND), 3)
    first = (4 + 7 + 12) / 3
    np.testing.assert_array_equal(rows["atr"], [np.nan, np.nan, np.nan, first, (first * 2 + 1) / 3])


def test_fourteen_unless_told() -> None:
    candles = candle_frame("EUR_USD", of(*[(10, 12, 8, 10)] * 14, (10, 18, 10, 10), (10, 10, 10, 10)))
    values = atr(candles)["atr"]
    assert values[:14].isna().all()
    assert values[14] == (13 * 4 + 8) / 14
    assert values[15] == ((13 * 4 + 8) / 14 * 13 + 0) / 14


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_candles_have_no_atr(n: int) -> None:
    rows = atr(candle_frame("EUR_USD", BY_HAND[:n]), 3)
    assert len(rows) == n
    assert rows["atr"].isna().all()
    assert rows["true_range"].isna().sum() == min(n, 1)
    assert rows["suspect"].dtype == bool


@pytest.mark.parametrize(
    ("last", "is_suspect"),
    [
        ((10, 50, 10, 10), False),  # a wick of 40 = 10 ATRs of 4
        ((10, 50.5, 10, 10), True),
        ((10, 60, 10, 20), False),  # counts from the close where that is higher
        ((10, 60.5, 10, 20), True),
        ((50, 50, 10, 49), False),
        ((50, 50, 8.5, 49), True),  # below
        ((50, 50, 1, 10), False),  # the body reaches down to 10
        ((10, 100, 10, 100), False),  # a long body is a move
    ],
)
def test_a_wick_of_more_than_ten_atrs_is_suspect(last: tuple[float, float, float, float], is_suspect: bool) -> None:
    steady = [(10.0, 12.0, 8.0, 10.0)] * 15
    suspect = atr(candle_frame("EUR_USD", of(*steady, last)))["suspect"]
    assert suspect.tolist() == [False] * 15 + [is_suspect]


def test_nothing_is_suspect_without_an_atr_before() -> None:
    candles = candle_frame("EUR_USD", of(*[(10, 12, 8, 10)] * 14, (10, 900, 1, 10)))
    suspect = atr(candles)["suspect"]
    assert not suspect.any()


def test_instruments_do_not_touch() -> None:
    one, two = candle_frame("EUR_USD", BY_HAND), candle_frame("USD_JPY", of(*[(100, 102, 98, 99)] * 4))
    both = atr(pd.concat([one, two], ignore_index=True), 2)
    alone = pd.concat([atr(one, 2), atr(two, 2)], ignore_index=True)
    pd.testing.assert_frame_equal(both, alone)


def test_bad_print_of_2019_is_suspect_and_little_else() -> None:
    if not captured_instruments("fx_h1"):
        pytest.skip("captured market data is absent")
    candles = captured("fx_h1", "GBP_AUD")
    rows = atr(candles)
    flagged = rows["time"][rows["suspect"]]
    assert datetime(2019, 1, 2, 22, tzinfo=UTC) in set(flagged)
    assert len(flagged) < 5


# --- TA-Lib -----------------------------------------------------------------------------------------------------------


def test_talib_is_used_without_an_unstable_period() -> None:
    unstable_period = vars(talib)["get_unstable_period"]  # not in its stubs
    assert unstable_period("ATR") == 0


@needs_shared
@pytest.mark.parametrize(
    ("folder", "instrument"),
    [(folder, instrument) for folder in FOLDERS for instrument in captured_instruments(folder)],
)
def test_equals_talib_on_captured_candles(folder: str, instrument: str) -> None:
    candles = captured(folder, instrument)
    high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
    ranges = talib.TRANGE(high, low, close)
    for period in (7, 14, 21):
        rows = atr(candles, period)
        expected = talib.ATR(high, low, close, timeperiod=period)
        assert np.array_equal(np.isnan(rows["atr"]), np.isnan(expected))
        assert int(np.isnan(expected).sum()) == period
        np.testing.assert_allclose(rows["atr"], expected, rtol=1e-12, atol=0)
        np.testing.assert_allclose(rows["true_range"], ranges, rtol=1e-12, atol=0)


def test_equals_talib_on_a_random_walk() -> None:
    draw = np.random.default_rng(14)
    close = np.exp(np.cumsum(draw.normal(0, 0.01, 5_000)))
    open_ = np.append(1.0, close[:-1]) * np.exp(draw.normal(0, 0.003, 5_000))
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.997
    times = pd.date_range(START, periods=5_000, freq="h")
    candles = pd.DataFrame({"instrument": "X", "time": times, "open": open_, "high": high, "low": low, "close": close})
    for period in (2, 7, 14, 21, 200):
        expected = talib.ATR(high, low, close, timeperiod=period)
        np.testing.assert_allclose(atr(candles, period)["atr"], expected, rtol=1e-12, atol=0)


# --- the slow loop ----------------------------------------------------------------------------------------------------


def rows_of(frame: pd.DataFrame) -> list[oracle.Atr]:
    return [oracle.Atr(row["true_range"], row["atr"], row["suspect"]) for row in plain(frame)]


@examples(200)
@given(st.lists(candle_lists(H1), min_size=1, max_size=3), st.sampled_from([2, 3, 7, 14]))
def test_equals_the_slow_loop(lists: list[list[Candle]], period: int) -> None:
    frames = [candle_frame(name, candles) for name, candles in zip("ABC", lists, strict=False)]
    rows = atr(pd.concat(frames, ignore_index=True), period)
    assert rows_of(rows) == [row for candles in lists for row in oracle.atrs(candles, period)]


@needs_shared
@pytest.mark.parametrize("folder", FOLDERS)
def test_equals_the_slow_loop_on_captured_candles(folder: str) -> None:
    for instrument in captured_instruments(folder):
        candles = captured(folder, instrument)[-1500:]
        assert rows_of(atr(candles)) == oracle.atrs(candle_list(candles, instrument), 14)


# --- going on from what is known --------------------------------------------------------------------------------------


def same_bits(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    floats = all(left[name].to_numpy().tobytes() == right[name].to_numpy().tobytes() for name in ("true_range", "atr"))
    return floats and left["suspect"].tolist() == right["suspect"].tolist()


@examples(200)
@given(candle_lists(H1, most=60), st.sampled_from([2, 3, 14]), st.data())
def test_going_on_gives_the_bits_of_the_whole(candles: list[Candle], period: int, data: st.DataObject) -> None:
    frame = candle_frame("EUR_USD", candles)
    whole = atr(frame, period)
    split = data.draw(st.integers(0, len(candles)), label="known rows end here")
    warm = split > 0 and not np.isnan(whole["atr"].iloc[split - 1])
    start = data.draw(st.integers(0, split - 1), label="and begin here") if warm else 0
    rows = atr(frame[start:], period, whole[start:split])
    assert same_bits(rows[split - start :], whole[split:])
    assert rows_of(rows[: split - start])[1:] == rows_of(whole[start:split])[1:]


def test_one_candle_at_a_time() -> None:
    one, two = candle_frame("A", BY_HAND), candle_frame("B", BY_HAND[1:])
    whole = atr(pd.concat([one, two], ignore_index=True), 2)
    known = whole.iloc[:0]
    for n in range(1, 6):
        frame = pd.concat([one[:n], two[:n]], ignore_index=True)
        known = atr(frame, 2, known)
    assert same_bits(known, whole)


def test_known_rows_are_taken_as_they_are() -> None:
    candles = candle_frame("EUR_USD", BY_HAND)
    known = atr(candles[:4], 3).assign(atr=[np.nan, np.nan, np.nan, 100.0])
    assert atr(candles, 3, known)["atr"].tolist()[3:] == [100.0, (100.0 * 2 + 1) / 3]


def test_known_rows_must_be_of_the_leading_candles() -> None:
    candles = candle_frame("EUR_USD", BY_HAND)
    with pytest.raises(ValueError, match="leading candles"):
        atr(candles, 3, atr(candles, 3)[1:3])


def test_some_instruments_may_be_unknown() -> None:
    one, two = candle_frame("A", BY_HAND), candle_frame("B", BY_HAND)
    both = pd.concat([one, two], ignore_index=True)
    whole = atr(both, 2)
    assert same_bits(atr(both, 2, whole[5:8]), whole)
    assert same_bits(atr(both, 2, whole[:0]), whole)
