"""The simulated market is the same for everybody, whole, and looks like a market."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window, candle_close, candle_times, utc_index
from spike_assets.sources.base import CandleSource, no_candles
from spike_assets.sources.resample import resample
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.sources.test_resample import rows_of, slow_resample

SOURCE: CandleSource = SimulatedSource()
FOREVER = Deadline.after(timedelta(days=1))
LATER = datetime(2026, 1, 1, tzinfo=UTC)
SOME = ("EUR_USD", "AUD_JPY", "USD_HKD", "USD_RON", "XAU_THB")
BIG = Window(datetime(2022, 9, 7, 3, tzinfo=UTC), datetime(2024, 4, 17, 12, tzinfo=UTC))


def window(start: str, end: str) -> Window:
    return Window(datetime.fromisoformat(f"{start}:00Z"), datetime.fromisoformat(f"{end}:00Z"))


def ask(granularity: Granularity, windows: dict[str, Window], now: datetime = LATER) -> pd.DataFrame:
    return SOURCE.fetch(granularity, windows, now=now, deadline=FOREVER).candles


@cache
def big_answer(granularity: Granularity) -> pd.DataFrame:
    return ask(granularity, dict.fromkeys(SOME, BIG))


GOLDEN = {
    # The open moves by an hour with New York's clocks, on 2025-03-09 and 2025-11-02.
    ("EUR_USD", H1, window("2025-03-07T20", "2025-03-09T23")): [
        ("2025-03-07T20:00", 1.04577, 1.04602, 1.04381, 1.04433, 2493),
        ("2025-03-07T21:00", 1.04433, 1.04478, 1.04412, 1.04446, 798),
        ("2025-03-09T21:00", 1.04537, 1.04559, 1.04507, 1.0451, 666),
        ("2025-03-09T22:00", 1.0451, 1.04561, 1.04483, 1.0454, 625),
    ],
    ("EUR_USD", H1, window("2025-10-31T19", "2025-11-02T23")): [
        ("2025-10-31T19:00", 0.93831, 0.93882, 0.93778, 0.9378, 2051),
        ("2025-10-31T20:00", 0.9378, 0.93813, 0.93775, 0.93782, 871),
        ("2025-11-02T22:00", 0.93763, 0.93774, 0.93728, 0.9377, 457),
    ],
    ("AUD_JPY", H1, window("2003-06-02T12", "2003-06-02T14")): [
        ("2003-06-02T12:00", 71.855, 71.91, 71.822, 71.859, 2503),
        ("2003-06-02T13:00", 71.859, 71.919, 71.807, 71.886, 3932),
    ],
    ("NZD_SGD", H1, window("2000-01-03T05", "2000-01-03T06")): [
        ("2000-01-03T05:00", 1.06235, 1.06261, 1.06235, 1.06242, 346),
    ],
    ("USD_HKD", H4, window("2024-11-01T13", "2024-11-04T02")): [
        ("2024-11-01T13:00", 7.77139, 7.77352, 7.77127, 7.77333, 1251),
        ("2024-11-01T17:00", 7.77333, 7.77368, 7.77287, 7.77323, 465),
        ("2024-11-03T22:00", 7.77319, 7.77371, 7.77262, 7.77271, 514),
    ],
    ("AUD_JPY", D, window("2024-03-07T00", "2024-03-12T00")): [
        ("2024-03-07T22:00", 90.198, 90.415, 89.625, 90.157, 44435),
        ("2024-03-10T21:00", 90.216, 91.244, 90.026, 91.162, 43839),
        ("2024-03-11T21:00", 91.162, 91.667, 90.884, 91.404, 43575),
    ],
    ("EUR_USD", W, window("2024-10-25T00", "2024-11-09T00")): [
        ("2024-10-25T21:00", 1.1082, 1.10844, 1.0846, 1.09502, 329582),
        ("2024-11-01T21:00", 1.09344, 1.10529, 1.08633, 1.08774, 335570),
        ("2024-11-08T22:00", 1.08809, 1.09511, 1.08008, 1.09419, 335663),
    ],
    ("XAU_EUR", D, window("2025-06-02T00", "2025-06-03T00")): [
        ("2025-06-02T21:00", 0.59156, 0.59426, 0.5879, 0.59394, 11774),
    ],
}


@pytest.mark.parametrize("asked", GOLDEN, ids=lambda asked: f"{asked[0]}-{asked[1]}")
def test_candles_are_these_to_the_bit(asked: tuple[str, Granularity, Window]) -> None:
    symbol, granularity, span = asked
    expected = [(symbol, datetime.fromisoformat(f"{time}Z"), *numbers) for time, *numbers in GOLDEN[asked]]
    assert rows_of(ask(granularity, {symbol: span})) == expected


def test_says_what_it_is() -> None:
    assert (SOURCE.name, SOURCE.price) == ("simulated", "mid")


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_order_of_asking_does_not_matter(granularity: Granularity, data: st.DataObject) -> None:
    moments = st.datetimes(BIG.start.replace(tzinfo=None), BIG.end.replace(tzinfo=None)).map(
        lambda moment: moment.replace(tzinfo=UTC)
    )
    spans = st.tuples(moments, moments).map(lambda pair: Window(*pair))  # some of them backwards
    shared = data.draw(spans)
    symbols = data.draw(st.lists(st.sampled_from(SOME), unique=True))
    windows = {symbol: data.draw(st.just(shared) | spans) for symbol in symbols}
    now = data.draw(moments | st.just(LATER))

    got = ask(granularity, windows, now)
    big = big_answer(granularity)
    closed = np.asarray(candle_close(granularity, utc_index(big["time"])) <= pd.Timestamp(now))
    for symbol in SOME:
        span = windows.get(symbol, Window(BIG.end, BIG.start))
        inside = (big["instrument"] == symbol) & (big["time"] >= span.start) & (big["time"] < span.end) & closed
        pd.testing.assert_frame_equal(
            got[got["instrument"] == symbol].reset_index(drop=True),
            big[inside].reset_index(drop=True),
            check_exact=True,
        )


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_has_exactly_the_candles_that_the_market_can_make(granularity: Granularity) -> None:
    expected = candle_times(granularity, BIG)
    for _, candles in big_answer(granularity).groupby("instrument"):
        assert list(candles["time"]) == list(expected)


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_coarse_candles_are_made_of_its_own_h1_candles(granularity: Granularity) -> None:
    span = window("2024-02-20T10", "2024-04-03T15")
    hours = ask(H1, dict.fromkeys(SOME, span))
    made = rows_of(ask(granularity, dict.fromkeys(SOME, span)))
    slow = slow_resample(rows_of(hours), granularity)
    assert rows_of(resample(hours, granularity)) == slow
    # The window cuts H1 candles elsewhere than coarse ones: compare what both hold whole.
    assert set(slow) - set(made) <= {row for row in slow if row[1] < span.start}
    assert {row for row in made if (row[0], row[1]) in {other[:2] for other in slow}} <= set(slow)
    assert len(set(made) & set(slow)) >= 5 * {"H4": 180, "D": 29, "W": 5}[granularity.name]


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_gives_a_candle_only_once_it_has_closed(granularity: Granularity) -> None:
    span = window("2024-10-20T00", "2024-11-20T00")
    for open_ in candle_times(granularity, window("2024-10-31T00", "2024-11-12T00"))[:40]:
        close = candle_close(granularity, utc_index([open_]))[0].to_pydatetime()
        assert ask(granularity, {"EUR_USD": span}, close)["time"].iloc[-1] == open_
        assert ask(granularity, {"EUR_USD": span}, close - timedelta(microseconds=1))["time"].iloc[-1] < open_


def test_types_are_those_of_a_source() -> None:
    for windows in ({}, {"EUR_USD": Window(BIG.end, BIG.start)}, {"EUR_USD": BIG}, dict.fromkeys(SOME, BIG)):
        assert ask(D, windows).dtypes.to_dict() == no_candles().dtypes.to_dict()


def test_what_is_no_symbol_is_unavailable_and_stops_nobody() -> None:
    fetched = SOURCE.fetch(D, {"eurusd": BIG, "EUR_USD": BIG}, now=LATER, deadline=FOREVER)
    assert fetched.unavailable == {"eurusd": "'eurusd' is not an instrument; write it like EUR_USD"}
    assert set(fetched.candles["instrument"]) == {"EUR_USD"}


def test_stops_at_its_deadline() -> None:
    with pytest.raises(DeadlineError, match="simulating 1 instruments"):
        SOURCE.fetch(H1, {"EUR_USD": BIG}, now=LATER, deadline=Deadline(0.0, lambda: 1.0))


def test_starts_2025_at_the_prices_of_2025() -> None:
    opens = ask(H1, dict.fromkeys(INSTRUMENTS, window("2025-01-05T22", "2025-01-05T23"))).set_index("instrument")[
        "open"
    ]
    rough = {"EUR_USD": 1.1, "AUD_JPY": 97, "USD_HUF": 360, "USD_TRY": 40, "USD_RON": 4.5, "USD_HKD": 7.78}
    rough |= {"GBP_USD": 1.29, "EUR_CHF": 0.98, "USD_PHP": 57.5, "USD_MXN": 20.2, "EUR_AUD": 1.72}
    assert opens[list(rough)].to_dict() == pytest.approx(rough, rel=0.01)


@pytest.fixture(scope="module")
def year() -> pd.DataFrame:
    return ask(H1, dict.fromkeys(INSTRUMENTS, window("2024-01-01T00", "2025-01-01T00")))


def test_candles_are_valid_and_continuous(year: pd.DataFrame) -> None:
    assert (year["high"] >= year[["open", "close"]].max(axis=1)).all()
    assert (year["low"] <= year[["open", "close"]].min(axis=1)).all()
    assert (year["low"] > 0).all()
    assert (year["volume"] >= 1).all()
    assert (year["volume"] == np.floor(year["volume"])).all()
    grouped = year.groupby("instrument", sort=False)
    previous = grouped["close"].shift()
    within_week = grouped["time"].diff() == pd.Timedelta(hours=1)
    assert (year["open"] == previous)[within_week].all()
    monday = (year["open"] / previous - 1).abs()[~within_week & previous.notna()]
    assert 0 < monday.median() < 0.002
    assert monday.max() < 0.02


def test_looks_like_a_market(year: pd.DataFrame) -> None:
    moves = year.groupby("instrument")["close"].agg(lambda close: np.log(close).diff().std() * 100)
    majors = ["EUR_USD", "GBP_USD", "AUD_JPY", "EUR_JPY", "NZD_JPY"]
    assert moves[majors].between(0.08, 0.15).all()
    assert moves.drop("USD_HKD").between(0.05, 0.2).all()
    assert moves["USD_HKD"] < 0.01
    yen = year.pivot_table(index="time", columns="instrument", values="close").pct_change()
    assert yen["CAD_JPY"].corr(yen["CHF_JPY"]) > 0.3

    local = year.assign(hour=year["time"].dt.tz_convert("America/New_York").dt.hour)
    volume = local.groupby("hour")["volume"].median()
    reach = local.assign(reach=(local["high"] - local["low"]) / local["open"]).groupby("hour")["reach"].mean()
    assert volume.idxmin() == reach.idxmin() == 17
    assert volume.idxmax() in range(8, 11)
    assert reach.idxmax() in range(8, 11)
    bursts = local["volume"] > 2 * local.groupby(["instrument", "hour"])["volume"].transform("median")
    assert 0.01 < bursts.mean() < 0.03


def test_events_come_as_often_as_in_real_markets_and_bad_prints_never(year: pd.DataFrame) -> None:
    rates = []
    for _, candles in year.groupby("instrument"):
        opens, highs, lows, closes = (candles[name].to_list() for name in ("open", "high", "low", "close"))
        atr, found = 0.0, 0
        for nth in range(1, len(opens)):
            true_range = max(highs[nth], closes[nth - 1]) - min(lows[nth], closes[nth - 1])
            if nth > 100:
                body = max(opens[nth], closes[nth]), min(opens[nth], closes[nth])
                assert highs[nth] - body[0] < 5 * atr
                assert body[1] - lows[nth] < 5 * atr
            atr = atr * 13 / 14 + true_range / 14
            red_after_green = closes[nth - 1] > opens[nth - 1] and closes[nth] < opens[nth]
            found += red_after_green and highs[nth] - closes[nth] > 0.3 * atr
        rates.append(found / len(opens))
    assert min(rates) > 0.15
    assert max(rates) < 0.25


@settings(max_examples=20, deadline=None)
@given(st.from_regex(r"[A-Z]{3}_[A-Z]{3}", fullmatch=True), st.integers(0, 10**6))
def test_any_symbol_has_candles_in_any_year(symbol: str, seed: int) -> None:
    start = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=random.Random(seed).randrange(9000))
    candles = ask(D, {symbol: Window(start, start + timedelta(days=7))})
    assert len(candles) == 5
    assert (candles["low"] > 0).all()
    assert (candles["high"] >= candles["low"]).all()
