"""Every bad candle gets its reason, and nothing else is lost."""

import csv
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.quality import REASONS, validate
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.sources.base import no_candles
from spike_assets_tests.shared_data import SHARED, needs_shared
from spike_assets_tests.strategies import examples
from spike_assets_tests.support import captured

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONDAY = datetime(2025, 3, 10, 5, tzinfo=UTC)
FINE: dict[str, Any] = {
    "instrument": "EUR_USD",
    "time": MONDAY,
    "open": 1.5,
    "high": 2.0,
    "low": 1.0,
    "close": 1.25,
    "volume": 7.0,
}
INF, NAN = math.inf, math.nan


def frame(*candles: dict[str, Any]) -> pd.DataFrame:
    """Give candles that are fine but for what is said of each."""
    rows = pd.DataFrame([FINE | candle for candle in candles])
    rows["time"] = pd.DatetimeIndex([row["time"] for _, row in rows.iterrows()]).as_unit("us")
    return rows.astype(dict.fromkeys(("open", "high", "low", "close", "volume"), "float64"))


def reason(granularity: Any = H1, now: Any = NOW, **candle: Any) -> str:
    """Give why a candle is refused, `` when it is not."""
    told_apart = validate(frame(candle), granularity, now)
    assert len(told_apart.candles) + len(told_apart.rejected) == 1
    return "" if len(told_apart.candles) else str(told_apart.rejected["reason"].iloc[0])


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_fine_candle_is_kept_as_it_came() -> None:
    told_apart = validate(frame({}), H1, NOW)
    assert told_apart.rejected.empty
    assert told_apart.candles.to_dict("records") == [FINE | {"volume": 7}]
    assert told_apart.candles["volume"].dtype == np.int64


@pytest.mark.parametrize("price", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_price_must_be_finite(price: str, value: float) -> None:
    assert reason(**{price: value}) == "price_not_finite"


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0])
@pytest.mark.parametrize("price", ["open", "low", "close"])
def test_a_price_must_be_positive(price: str, value: float) -> None:
    assert reason(**{price: value}) == "price_not_positive"


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({"high": 0.9}, "high_below_low"),
        ({"high": -1.0}, "high_below_low"),
        ({"open": 2.1}, "body_outside_range"),
        ({"close": 2.1}, "body_outside_range"),
        ({"open": 0.9}, "body_outside_range"),
        ({"close": 0.9}, "body_outside_range"),
        ({"high": 1.4}, "body_outside_range"),
        ({"low": 1.4}, "body_outside_range"),
        ({"open": 2.0, "close": 1.0}, ""),  # the whole range
        ({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, ""),  # flat
    ],
)
def test_prices_must_be_in_order(prices: dict[str, float], expected: str) -> None:
    assert reason(**prices) == expected


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (NAN, "volume_missing"),
        (INF, "volume_missing"),
        (-INF, "volume_missing"),
        (-1.0, "volume_negative"),
        (-0.5, "volume_negative"),
        (0.5, "volume_fractional"),
        (2.0**53 + 2, "volume_too_large"),
        (2.0**63, "volume_too_large"),
        (1e300, "volume_too_large"),
        (2.0**53, ""),
        (0.0, ""),
        (-0.0, ""),
        (1e12, ""),
    ],
)
def test_volume_is_a_count(volume: float, expected: str) -> None:
    assert reason(volume=volume) == expected


@pytest.mark.parametrize(
    ("granularity", "time", "expected"),
    [
        (H1, "2025-03-10 05:30", "off_grid"),
        (H1, "2025-03-10 05:00:00.000001", "off_grid"),
        (H4, "2025-03-10 01:00", ""),  # 21:00 New York in summer
        (H4, "2025-03-10 02:00", "off_grid"),  # that of winter
        (H4, "2025-03-06 02:00", ""),
        (H4, "2025-03-06 01:00", "off_grid"),
        (D, "2025-03-10 21:00", ""),
        (D, "2025-03-10 22:00", "off_grid"),
        (D, "2025-03-05 22:00", ""),
        (W, "2025-03-07 22:00", ""),
        (W, "2025-03-14 21:00", ""),
        (W, "2025-03-14 22:00", "off_grid"),
        (W, "2025-03-09 21:00", "off_grid"),
    ],
    ids=str,
)
def test_a_candle_opens_on_the_grid(granularity: Granularity, time: str, expected: str) -> None:
    assert reason(granularity, time=utc(time)) == expected


@pytest.mark.parametrize(
    ("granularity", "time", "close"),
    [
        (H1, "2025-03-10 05:00", "2025-03-10 06:00"),
        (H4, "2025-03-10 05:00", "2025-03-10 09:00"),
        (D, "2025-03-10 21:00", "2025-03-11 21:00"),
        (W, "2025-03-07 22:00", "2025-03-14 21:00"),  # the week of 167 hours
    ],
    ids=str,
)
def test_a_candle_that_closes_later_is_in_the_future(granularity: Granularity, time: str, close: str) -> None:
    assert reason(granularity, utc(close), time=utc(time)) == ""
    assert reason(granularity, utc(close) - timedelta(microseconds=1), time=utc(time)) == "in_future"


@pytest.mark.parametrize(
    ("granularity", "time", "expected"),
    [
        (H1, "2025-03-14 20:00", ""),
        (H1, "2025-03-14 21:00", "market_closed"),  # Friday 17:00 New York, summer
        (H1, "2025-03-07 21:00", ""),
        (H1, "2025-03-07 22:00", "market_closed"),  # and winter
        (H1, "2025-03-15 12:00", "market_closed"),
        (H1, "2025-03-16 20:00", "market_closed"),
        (H1, "2025-03-16 21:00", ""),
        (H4, "2025-03-14 21:00", "market_closed"),
        (H4, "2025-03-16 21:00", ""),
        (D, "2025-03-14 21:00", "market_closed"),
        (D, "2025-03-15 21:00", "market_closed"),
        (D, "2025-03-16 21:00", ""),
        (W, "2025-03-14 21:00", ""),
    ],
    ids=str,
)
def test_a_closed_market_makes_no_candle_but_the_week(granularity: Granularity, time: str, expected: str) -> None:
    assert reason(granularity, time=utc(time)) == expected


def test_the_first_rule_that_is_broken_is_given() -> None:
    broken: dict[str, Any] = {"time": utc("2031-03-15 12:30"), "volume": NAN, "open": NAN, "high": -2.0, "low": -1.0}
    mended: list[dict[str, Any]] = [
        {"open": 3.0},
        {"open": -1.5, "close": -1.5, "high": 0.5, "low": 1.5},
        {"open": 3.0, "close": 3.0},
        {"low": 0.25},
        {"high": 4.0},
        {"volume": -0.5},
        {"volume": 0.5},
        {"volume": 1e18},
        {"volume": 1.0},
        {"time": utc("2031-03-15 12:00")},
        {"time": utc("2025-03-15 12:00")},
        {"time": MONDAY},
    ]
    given_reasons = [reason(**broken)]
    for change in mended:
        broken |= change
        given_reasons.append(reason(**broken))
    assert list(dict.fromkeys(given_reasons)) == [*REASONS, ""]


@pytest.mark.parametrize("missing", ["instrument", "time"])
def test_a_candle_without_a_key_is_an_error(missing: str) -> None:
    candles = frame({}, {"time": MONDAY + timedelta(hours=1)})
    candles.loc[1, missing] = None if missing == "instrument" else pd.NaT
    with pytest.raises(ValueError, match="needs an instrument and a time"):
        validate(candles, H1, NOW)


def test_of_duplicates_the_last_wins() -> None:
    told_apart = validate(frame({"close": 1.25}, {"close": 1.5}, {"close": 1.75}), H1, NOW)
    assert told_apart.candles["close"].tolist() == [1.75]
    assert told_apart.rejected.empty


def test_a_bad_duplicate_does_not_hide_a_good_one() -> None:
    told_apart = validate(frame({"close": 1.25}, {"close": NAN}), H1, NOW)
    assert told_apart.candles["close"].tolist() == [1.25]
    assert told_apart.rejected["reason"].tolist() == ["price_not_finite"]


def test_of_rejected_ones_the_last_is_kept_per_reason() -> None:
    told_apart = validate(frame({"volume": -1}, {"high": 0.5}, {"volume": -2}), H1, NOW)
    assert told_apart.rejected[["reason", "volume"]].to_numpy().tolist() == [
        ["high_below_low", 7.0],
        ["volume_negative", -2.0],
    ]


def test_rejected_ones_are_kept_as_they_came() -> None:
    rejected = validate(frame({"open": INF, "volume": NAN}), H1, NOW).rejected
    assert rejected["open"].tolist() == [INF]
    assert rejected["volume"].isna().all()


def test_nothing_in_nothing_out() -> None:
    told_apart = validate(no_candles(), H1, NOW)
    assert told_apart.candles.empty
    assert told_apart.rejected.empty
    assert told_apart.candles["volume"].dtype == np.int64
    assert "reason" in told_apart.rejected


def test_sorted_whatever_the_order() -> None:
    later = MONDAY + timedelta(hours=1)
    told_apart = validate(
        frame({"time": later}, {"instrument": "AUD_USD", "time": later}, {}, {"instrument": "AUD_USD"}), H1, NOW
    )
    assert told_apart.candles[["instrument", "time"]].to_numpy().tolist() == [
        ["AUD_USD", MONDAY],
        ["AUD_USD", later],
        ["EUR_USD", MONDAY],
        ["EUR_USD", later],
    ]


numbers = st.sampled_from([NAN, INF, -INF, 1e300, -1.0, -0.0, 0.0, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.5])
some_candles = st.fixed_dictionaries(
    {
        "instrument": st.sampled_from(["EUR_USD", "USD_JPY"]),
        "time": st.sampled_from([MONDAY, MONDAY + timedelta(minutes=30), utc("2025-03-15 12:00"), utc("2030-01-01")]),
        "open": numbers,
        "high": numbers,
        "low": numbers,
        "close": numbers,
        "volume": numbers,
    }
)


def breaks(candle: dict[str, Any], granularity: Granularity) -> str:
    """Say the rules once more, one candle at a time."""
    prices = [candle[name] for name in ("open", "high", "low", "close")]
    open_, high, low, close = prices
    if not all(math.isfinite(price) for price in prices):
        return "price_not_finite"
    if min(open_, low, close) <= 0:
        return "price_not_positive"
    if high < low:
        return "high_below_low"
    if not low <= open_ <= high or not low <= close <= high:
        return "body_outside_range"
    volume = candle["volume"]
    if not math.isfinite(volume):
        return "volume_missing"
    if volume < 0:
        return "volume_negative"
    if volume != int(volume):
        return "volume_fractional"
    if volume > 2**53:
        return "volume_too_large"
    by_time = {
        MONDAY: "",
        MONDAY + timedelta(minutes=30): "off_grid",
        utc("2025-03-15 12:00"): "market_closed",
        utc("2030-01-01"): "in_future",
    }
    if granularity is not H1 and candle["time"] == utc("2025-03-15 12:00"):
        return "off_grid"
    return by_time[candle["time"]]


@examples(200)
@given(st.lists(some_candles, max_size=12))
def test_every_candle_ends_on_one_side(candles: list[dict[str, Any]]) -> None:
    rows = frame(*candles) if candles else no_candles()
    told_apart = validate(rows, H1, NOW)
    expected: dict[Any, dict[str, Any]] = {}
    for candle in candles:
        expected[candle["instrument"], candle["time"], breaks(candle, H1)] = candle
    kept = {(c["instrument"], c["time"], ""): c for c in told_apart.candles.to_dict("records")}
    kept |= {(c["instrument"], c["time"], c["reason"]): c for c in told_apart.rejected.to_dict("records")}
    assert list(told_apart.candles["instrument"]) == sorted(told_apart.candles["instrument"])
    assert kept.keys() == expected.keys()
    for key, candle in expected.items():
        for name in ("open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(kept[key][name], candle[name])


# --- captured candles -------------------------------------------------------------------------------------------------


def manifest() -> list[dict[str, str]]:
    if not SHARED.is_dir():
        return []
    with (SHARED / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["set"] in ("fx_h1", "fx_h4", "fx_d", "fx_w")]


@needs_shared
@pytest.mark.parametrize("row", manifest(), ids=lambda row: f"{row['set']}/{row['instrument']}")
def test_captured_candles_are_fine_but_for_weekends(row: dict[str, str]) -> None:
    granularity = GRANULARITIES[row["granularity"]]
    candles = captured(row["set"], row["instrument"])
    told_apart = validate(candles, granularity, NOW)
    weekend = 0 if granularity is W else int(float(row["fri17_to_sun17_ny_candles"]))
    assert set(told_apart.rejected["reason"]) <= {"market_closed"}
    assert len(told_apart.rejected) == weekend
    assert len(told_apart.candles) == len(candles) - weekend == int(row["rows"]) - weekend


@needs_shared
@pytest.mark.parametrize(("instrument", "bad"), [("USD_RON", 240), ("USD_PHP", 572)])
def test_defects_of_raw_files(instrument: str, bad: int) -> None:
    with (SHARED / "dirty_samples" / f"{instrument}_D_yahoo_raw.csv").open(encoding="utf-8", newline="") as file:
        raw = list(csv.DictReader(file))
    name = {key.lower(): key for key in raw[0]}
    monday = utc("2025-03-10 21:00")
    rows = [
        {"time": monday, **{p: float(row[name[p]]) for p in ("open", "high", "low", "close")}, "volume": 0.0}
        for row in raw
    ]
    candles = frame(*rows)
    candles["instrument"] = [f"{i}" for i in range(len(candles))]
    rejected = validate(candles, D, NOW).rejected
    assert set(rejected["reason"]) <= {"body_outside_range", "high_below_low"}
    assert len(rejected) == bad
