"""Reading what OANDA answers, held against real captures."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from spike_assets.granularity import H1, D, Granularity
from spike_assets.sources.oanda import answers
from spike_assets.sources.oanda.client import Answer, SenselessError
from spike_assets_tests.shared_data import SHARED, needs_shared

NOW = datetime(2025, 3, 10, 6, 0, 3, tzinfo=UTC)


def answer(body: Any) -> Answer:
    return Answer(body, NOW, "42")


def candle(**values: Any) -> dict[str, Any]:
    prices = {"o": "1.1", "h": "1.3", "l": "1.0", "c": "1.2"}
    return {"complete": True, "volume": 7, "time": "2025-03-10T05:00:00.000000000Z", "mid": prices} | values


def body(*candles: Any, **values: Any) -> dict[str, Any]:
    return {"instrument": "EUR_USD", "granularity": "H1", "candles": list(candles)} | values


def read(content: Any, granularity: Granularity = H1, instrument: str = "EUR_USD", price: str = "mid") -> answers.Told:
    return answers.candles(answer(content), granularity, instrument, price)


def test_a_candle() -> None:
    told = read(body(candle(), candle(time="2025-03-10T06:00:00.000000000Z", complete=False)))
    assert told.candles.iloc[0].to_dict() == {
        "instrument": "EUR_USD",
        "time": datetime(2025, 3, 10, 5, tzinfo=UTC),
        "open": 1.1,
        "high": 1.3,
        "low": 1.0,
        "close": 1.2,
        "volume": 7.0,
    }
    assert told.complete.tolist() == [True, False]
    assert told.sent_at == NOW


def test_none() -> None:
    told = read(body())
    assert len(told.candles) == len(told.complete) == 0


def test_an_instrument_may_be_written_with_a_slash() -> None:
    assert len(read(body(candle(), instrument="EUR/USD")).candles) == 1


def test_a_number_that_is_none_concerns_its_candle_only() -> None:
    told = read(body(candle(mid={"o": "1.1", "h": "abc", "l": "1.0", "c": "1.2"}), candle(volume=None)))
    assert math.isnan(told.candles["high"][0])
    assert told.candles["high"][1] == 1.3
    assert told.candles["volume"].isna().tolist() == [False, True]


SENSELESS = [
    {},
    {"errorMessage": "no"},
    body(candle(), instrument="USD_JPY"),
    body(candle(), granularity="H4"),
    body(candle(), candles=None),
    body("candle"),
    body({"mid": {}}),
    body(candle(time="1741582800.000000000")),
    body(candle(time="yesterday Z")),
    body(candle(time=None)),
    body(candle(mid=None)),
    body(candle(mid={"o": "1.1"})),
    body({key: value for key, value in candle().items() if key != "complete"}),
]


@pytest.mark.parametrize("content", SENSELESS, ids=lambda content: json.dumps(content)[:60])
def test_what_was_not_asked_for_makes_no_sense(content: Any) -> None:
    with pytest.raises(SenselessError):
        read(content)


def test_latest_candles_come_by_instrument() -> None:
    parts = [body(candle()), body(candle(volume=9), instrument="USD_JPY")]
    told = answers.latest(answer({"latestCandles": parts}), H1, ["USD_JPY", "EUR_USD"], "mid")
    assert {name: says.candles["volume"][0] for name, says in told.items()} == {"USD_JPY": 9, "EUR_USD": 7}


@pytest.mark.parametrize(
    "content", [{}, {"latestCandles": None}, {"latestCandles": ["x"]}, {"latestCandles": []}], ids=str
)
def test_latest_candles_of_everybody_or_none(content: Any) -> None:
    with pytest.raises(SenselessError):
        answers.latest(answer(content), H1, ["EUR_USD"], "mid")


@pytest.mark.parametrize(
    "content",
    [{}, {"instruments": []}, {"instruments": [{}]}, {"instruments": [{"name": "X", "pipLocation": "y"}]}],
    ids=str,
)
def test_a_list_of_instruments_has_names_and_pips(content: Any) -> None:
    with pytest.raises(SenselessError):
        answers.pip_locations(answer(content))


def captured(name: str) -> Any:
    return json.loads((SHARED / "oanda_json" / name).read_text())


@needs_shared
def test_a_captured_answer_of_three_prices() -> None:
    content = captured("candles_USD_CAD_D_count2_bma_last_incomplete.json")
    closes = {price: read(content, D, "USD_CAD", price).candles["close"].tolist() for price in answers.PRICES}
    assert closes == {"mid": [1.2606, 1.26095], "bid": [1.26037, 1.26084], "ask": [1.26082, 1.26106]}
    assert read(content, D, "USD_CAD").complete.tolist() == [True, False]


@needs_shared
def test_a_captured_page() -> None:
    told = read(captured("candles_GBP_USD_D_count100_ask_alignment20NY.json"), D, "GBP_USD", "ask")
    assert len(told.candles) == 100
    assert told.candles["time"].is_monotonic_increasing
    assert told.complete.tolist() == [True] * 99 + [False]


@needs_shared
@pytest.mark.parametrize("year", [2017, 2018])
def test_captured_lists_of_instruments(year: int) -> None:
    pips = answers.pip_locations(answer(captured(f"account_instruments_{year}.json")))
    assert (pips["EUR_USD"], pips["USD_JPY"], pips["USD_THB"]) == (-4, -2, -2)
    assert "USD_RON" not in pips


def test_whoever_cannot_be_read_does_not_silence_the_others() -> None:
    parts = [body(candle()), body(candle(mid=None), instrument="USD_JPY")]
    told = answers.latest(answer({"latestCandles": parts}), H1, ["USD_JPY", "EUR_USD", "GBP_USD"], "mid")
    assert list(told) == ["EUR_USD"]
