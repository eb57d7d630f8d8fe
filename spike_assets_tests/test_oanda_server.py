"""The loopback OANDA server: it answers as the captures do, as a public client wants it, and fails on demand."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import oandapyV20  # type: ignore[import-untyped]
import pandas as pd
import pytest
import requests
from oandapyV20.contrib.factories import InstrumentsCandlesFactory  # type: ignore[import-untyped]
from oandapyV20.endpoints.accounts import AccountInstruments  # type: ignore[import-untyped]

from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.instruments import INSTRUMENTS, instrument
from spike_assets.market_hours import Window
from spike_assets.sources.base import CandleSource
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.oanda_server import (
    ACCOUNT,
    TOKEN,
    Clock,
    Corrected,
    Doubled,
    Drip,
    Dropped,
    Fault,
    Garbage,
    LateComplete,
    Missing,
    OandaServer,
    Outage,
    Skew,
    Slow,
    Status,
    Truncated,
    Unknown,
    WrongShape,
)
from spike_assets_tests.oanda_server.market import price_text
from spike_assets_tests.oracle import Candle
from spike_assets_tests.shared_data import SHARED, needs_shared
from spike_assets_tests.support import FrameSource, candle_frame, simulated
from spike_assets_tests.support import captured as captured_candles

NOW = datetime(2025, 3, 12, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATEST = f"/v3/accounts/{ACCOUNT}/candles/latest"


def candles_path(symbol: str) -> str:
    return f"/v3/instruments/{symbol}/candles"


class Client:
    """Plain `requests` on a server, over one connection."""

    def __init__(self, server: OandaServer, clock: Clock, session: requests.Session) -> None:
        self.server, self.clock, self.session = server, clock, session

    def get(self, path: str, **query: Any) -> requests.Response:
        named = {name.rstrip("_"): value for name, value in query.items()}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.session.get(self.server.url + path, params=named, headers=headers, timeout=10)

    def candles(self, symbol: str = "EUR_USD", **query: Any) -> list[dict[str, Any]]:
        response = self.get(candles_path(symbol), **{"granularity": "H1", "includeFirst": "true", **query})
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["candles"]
        return found

    def refused(self, path: str, **query: Any) -> tuple[int, str]:
        response = self.get(path, **query)
        body = response.json()
        assert list(body) == ["errorMessage"]
        return response.status_code, body["errorMessage"]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[OandaServer]:
    """One server for all, so that the simulated market is loaded once; `client` resets it."""
    clock = Clock(NOW)
    with OandaServer(SimulatedSource(), clock) as server:
        yield server


@pytest.fixture
def client(shared_server: OandaServer) -> Iterator[Client]:
    clock = shared_server._now
    assert isinstance(clock, Clock)
    clock.set(NOW)
    with requests.Session() as session:
        yield Client(shared_server, clock, session)
    shared_server.faults.clear()
    shared_server.requests.clear()


def on(source: CandleSource, now: datetime, **settings: Any) -> "_Alone":
    return _Alone(source, Clock(now), settings)


class _Alone:
    """A client on a server of its own."""

    def __init__(self, source: CandleSource, clock: Clock, settings: dict[str, Any]) -> None:
        self._clock = clock
        self._server = OandaServer(source, clock, **settings)
        self._session = requests.Session()

    def __enter__(self) -> Client:
        self._server.__enter__()
        return Client(self._server, self._clock, self._session)

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._server.__exit__(None, None, None)


def rfc(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.000000000Z"


def times(candles: list[dict[str, Any]]) -> list[str]:
    return [candle["time"].removesuffix(":00.000000000Z") for candle in candles]


def flags(candles: list[dict[str, Any]]) -> list[bool]:
    return [candle["complete"] for candle in candles]


def numbers(candles: list[dict[str, Any]], side: str = "mid") -> list[tuple[Any, ...]]:
    return [
        (pd.Timestamp(candle["time"]), *(float(candle[side][key]) for key in "ohlc"), float(candle["volume"]))
        for candle in candles
    ]


def source_numbers(granularity: Granularity, symbol: str, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
    frame = simulated(granularity, (symbol,), Window(start, end))
    columns = [frame[name].tolist() for name in ("time", "open", "high", "low", "close", "volume")]
    return list(zip(*columns, strict=True))


# What the captures show


def captured(name: str) -> Any:
    return json.loads((SHARED / "oanda_json" / name).read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """Give what an answer is made of: keys, types, and how times and prices are written."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(inner), sort_keys=True) for inner in value})
    if not isinstance(value, str):
        return type(value).__name__
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", value):
        return "RFC 3339"
    if re.fullmatch(r"\d{10}\.\d{9}", value):
        return "UNIX"
    decimals = re.fullmatch(r"\d+\.(\d+)", value)
    return f"{len(decimals[1])} decimals" if decimals else "text"


@needs_shared
@pytest.mark.parametrize(
    ("name", "symbol", "asked"),
    [
        ("candles_EUR_USD_H1_from_20170101_count10_default_returns9", "EUR_USD", {"from_": "2017-01-01T00:00:00Z"}),
        ("candles_GBP_USD_D_count100_ask_alignment20NY", "GBP_USD", {"granularity": "D", "count": 100, "price": "A"}),
        ("candles_USD_CAD_D_count2_bma_last_incomplete", "USD_CAD", {"granularity": "D", "count": 2, "price": "BMA"}),
    ],
)
def test_candles_have_the_captured_shape(name: str, symbol: str, asked: dict[str, Any]) -> None:
    want = captured(f"{name}.json")
    with on(SimulatedSource(), NOW, instruments=("EUR_USD", "GBP_USD", "USD_CAD")) as client:
        got = client.get(candles_path(symbol), **{"granularity": "H1", **asked}).json()
        same = client.get(f"/v3/accounts/{ACCOUNT}/instruments/{symbol}/candles", **{"granularity": "H1", **asked})
    assert shape(got) == shape(want)
    assert same.json() == got
    if "count" in asked:
        assert flags(got["candles"]) == flags(want["candles"])


@needs_shared
def test_unix_times_have_the_captured_shape(client: Client) -> None:
    client.session.headers["Accept-Datetime-Format"] = "UNIX"
    got = client.candles(count=10)
    assert {shape(candle["time"]) for candle in got} == {"UNIX"}
    want = captured("candles_AUD_USD_S5_count500_unix_time.json")
    assert {shape(candle["time"]) for candle in want["candles"]} == {"UNIX"}
    assert client.candles(count=10, to=got[-1]["time"])[1:] == got[:-1] or flags(got)[-1] is False


@needs_shared
def test_latest_has_the_captured_shape() -> None:
    want = captured("account_candles_latest_USD_JPY_M1_multi.json")["latestCandles"]
    sides = [("A" * ("ask" in c)) + ("B" * ("bid" in c)) for c in (entry["candles"][0] for entry in want)]
    asked = ",".join(f"{entry['instrument']}:H1:{side}" for entry, side in zip(want, sides, strict=True))
    with on(SimulatedSource(), NOW, instruments=("USD_JPY", "GBP_CHF", "AUD_JPY", "EUR_CHF")) as client:
        got = client.get(LATEST, candleSpecifications=asked).json()
    assert list(got) == ["latestCandles"]
    assert [entry["instrument"] for entry in got["latestCandles"]] == [entry["instrument"] for entry in want]
    for mine, theirs in zip(got["latestCandles"], want, strict=True):
        assert shape(mine) == shape(theirs)
        assert flags(mine["candles"]) == flags(theirs["candles"]) == [True, False]


@needs_shared
def test_instruments_have_the_captured_shape(client: Client) -> None:
    want = captured("account_instruments_2018.json")
    got = client.get(f"/v3/accounts/{ACCOUNT}/instruments").json()
    assert got.keys() == want.keys()
    theirs = {entry["name"]: entry for entry in want["instruments"]}
    mine = {entry["name"]: entry for entry in got["instruments"]}
    assert shape(mine["EUR_USD"]) == shape(theirs["EUR_USD"])
    assert set(mine) == set(INSTRUMENTS) - {"USD_RON", "USD_PHP"}
    for name in mine.keys() & theirs.keys():
        for key in ("pipLocation", "displayPrecision", "displayName", "type"):
            assert mine[name][key] == theirs[name][key]


def captured_market() -> FrameSource:
    candles = captured("candles_EUR_USD_H1_from_20170101_count10_includeFirst_returns10.json")["candles"]
    rows = [Candle(time.to_pydatetime(), o, h, lo, c, int(v)) for time, o, h, lo, c, v in numbers(candles)]
    return FrameSource(candle_frame("EUR_USD", rows))


@needs_shared
@pytest.mark.parametrize(
    ("include_first", "name"),
    [
        ({}, "default_returns9"),
        ({"includeFirst": "False"}, "default_returns9"),
        ({"includeFirst": "True"}, "includeFirst_returns10"),
    ],
)
def test_the_first_candle_is_left_out_as_captured(include_first: dict[str, str], name: str) -> None:
    want = captured(f"candles_EUR_USD_H1_from_20170101_count10_{name}.json")
    asked = {"granularity": "H1", "from_": "2017-01-01T00:00:00Z", "count": 10, **include_first}
    with on(captured_market(), datetime(2017, 1, 10, tzinfo=UTC)) as client:
        assert client.get(candles_path("EUR_USD"), **asked).json() == want


@needs_shared
def test_pages_that_meet_inside_a_candle_both_have_it_as_captured() -> None:
    """The capture was downloaded in pages of 500 times four hours, from 2019-03-01 00:00 UTC on."""
    lines = (SHARED / "oanda_raw_csv" / "EUR_USD_H4.csv").read_text(encoding="utf-8").splitlines()[1:]
    want = [line.split(",")[0].removesuffix(":00") for line in lines]
    now = datetime(2019, 6, 3, 22, 30, tzinfo=UTC)
    source = FrameSource(captured_candles("fx_h4", "EUR_USD"))
    got: list[str] = []
    with on(source, now) as client:
        start = datetime(2019, 3, 1, tzinfo=UTC)
        while start < now:
            end = min(start + 500 * H4.step, now)
            got += times(client.candles(granularity="H4", from_=rfc(start), to=rfc(end)))
            start = end
    assert got == want
    assert len(got) == len(set(got)) + 1


@needs_shared
@pytest.mark.parametrize(
    ("message", "path", "query"),
    [
        ("'to'. Time is in the future", candles_path("EUR_USD"), {"to": rfc(NOW + HOUR)}),
        ("'from'. Time is in the future", candles_path("EUR_USD"), {"from_": (NOW + HOUR).timestamp()}),
        ("'accountID'", "/v3/accounts/nonsense/summary", {}),
        ("'instrument'", candles_path("USD_RON"), {}),
        ("Maximum value for 'count' exceeded", candles_path("EUR_USD"), {"count": 5001}),
        (
            "Maximum value for 'count' exceeded",
            candles_path("EUR_USD"),
            {"granularity": "H1", "from_": "2024-01-01T00:00:00Z", "to": "2024-07-27T08:00:01Z"},
        ),
        ("'granularity'", candles_path("EUR_USD"), {"granularity": "H5"}),
        ("'price'", candles_path("EUR_USD"), {"price": "MX"}),
    ],
)
def test_errors_are_the_captured_ones(client: Client, message: str, path: str, query: dict[str, Any]) -> None:
    known = [(error["http_status"], error["body"]["errorMessage"]) for error in captured("errors.json")["errors"]]
    refused = client.refused(path, **query)
    assert refused in known
    assert refused[1].endswith(message)


@needs_shared
def test_a_wrong_token_gets_the_captured_answer(client: Client) -> None:
    body = next(e["body"] for e in captured("errors.json")["errors"] if e["http_status"] == 401)
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}):
        response = requests.get(client.server.url + "/v3/accounts", headers=headers, timeout=10)
        assert (response.status_code, response.json()) == (401, body)


# What no capture shows


@pytest.mark.parametrize(
    ("status", "path", "query"),
    [
        (403, "/v3/accounts/101-001-7654321-001/summary", {}),
        (404, "/v3/nothing", {}),
        (400, candles_path("EUR_USD"), {"count": 0}),
        (400, candles_path("EUR_USD"), {"count": "many"}),
        (400, candles_path("EUR_USD"), {"from_": "yesterday"}),
        (400, candles_path("EUR_USD"), {"from_": "2025-02-30T00:00:00Z"}),
        (400, candles_path("EUR_USD"), {"from_": "2025-03-02T00:00:00Z", "to": "2025-03-01T00:00:00Z"}),
        (400, candles_path("EUR_USD"), {"from_": 1, "to": 2, "count": 3}),
        (400, candles_path("EUR_USD"), {"dailyAlignment": 0}),
        (400, candles_path("EUR_USD"), {"alignmentTimezone": "UTC"}),
        (400, candles_path("EUR_USD"), {"weeklyAlignment": "Monday"}),
        (400, candles_path("EUR_USD"), {"includeFirst": "maybe"}),
        (400, candles_path("EUR_USD"), {"smooth": "true"}),
        (400, LATEST, {}),
        (400, LATEST, {"candleSpecifications": "EUR_USD:H1:M,USD_RON:H1:M"}),
        (400, LATEST, {"candleSpecifications": "EUR_USD:H5:M"}),
        (400, f"/v3/accounts/{ACCOUNT}/instruments", {"instruments": "EUR_USD,USD_RON"}),
    ],
)
def test_what_is_refused(client: Client, status: int, path: str, query: dict[str, Any]) -> None:
    assert client.refused(path, **query)[0] == status


def test_defaults_may_be_sent_explicitly(client: Client) -> None:
    explicit: dict[str, Any] = {
        "price": "M",
        "count": 500,
        "smooth": "False",
        "dailyAlignment": 17,
        "alignmentTimezone": "America/New_York",
        "weeklyAlignment": "Friday",
    }
    assert client.candles(**explicit) == client.candles()
    assert len(client.candles()) == 500


def test_accounts_and_summary_and_one_instrument(client: Client) -> None:
    assert client.get("/v3/accounts").json() == {"accounts": [{"id": ACCOUNT, "tags": []}]}
    assert client.get(f"/v3/accounts/{ACCOUNT}/summary").json()["account"]["id"] == ACCOUNT
    got = client.get(f"/v3/accounts/{ACCOUNT}/instruments", instruments="USD_THB,EUR_USD").json()
    assert [entry["name"] for entry in got["instruments"]] == ["USD_THB", "EUR_USD"]


def test_a_granularity_that_is_not_served_is_empty(client: Client) -> None:
    body = client.get(candles_path("EUR_USD")).json()
    assert body == {"instrument": "EUR_USD", "granularity": "S5", "candles": []}
    assert client.get(LATEST, candleSpecifications="EUR_USD:M5:M").json()["latestCandles"][0]["candles"] == []


def test_answers_carry_a_number_and_the_servers_time(client: Client) -> None:
    first, second = client.get("/v3/accounts"), client.get("/v3/nothing")
    assert int(second.headers["RequestID"]) == int(first.headers["RequestID"]) + 1
    assert parsedate_to_datetime(first.headers["Date"]) == NOW


# Candles


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_candles_are_the_sources_to_the_last_bit(client: Client, granularity: Granularity) -> None:
    start, end = datetime(2024, 11, 1, 21, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
    want = source_numbers(granularity, "EUR_JPY", start, end)
    asked = {"symbol": "EUR_JPY", "granularity": granularity.name}
    assert numbers(client.candles(**asked, from_=want[0][0].isoformat(), to=rfc(end))) == want
    assert numbers(client.candles(**asked, from_=want[0][0].timestamp(), count=len(want))) == want
    assert numbers(client.candles(**asked, to=rfc(end), count=len(want))) == want
    assert numbers(client.candles(**asked, from_=want[0][0].isoformat(), includeFirst="false", count=9)) == want[1:9]


def test_from_means_the_candle_that_covers_it_and_to_is_left_out(client: Client) -> None:
    asked: dict[str, Any] = {"granularity": "H4", "from_": "2025-03-11T02:00:00Z"}
    assert times(client.candles(**asked, to="2025-03-11T09:00:00Z")) == ["2025-03-11T01:00", "2025-03-11T05:00"]
    assert times(client.candles(**asked, to="2025-03-11T09:00:01Z"))[-1] == "2025-03-11T09:00"


def test_bid_and_ask_have_mid_exactly_between_them(client: Client) -> None:
    for symbol in ("EUR_USD", "USD_THB"):
        tick = 10.0 ** -instrument(symbol).decimals
        for candle in client.candles(symbol=symbol, price="BMA", count=50):
            for key in "ohlc":
                bid, mid, ask = (float(candle[side][key]) for side in ("bid", "mid", "ask"))
                assert bid == pytest.approx(mid - tick, abs=tick / 100)
                assert ask == pytest.approx(mid + tick, abs=tick / 100)
                assert len({len(candle[side][key].split(".")[1]) for side in ("bid", "mid", "ask")}) == 1


@pytest.mark.parametrize("price", [1.1, 0.1 + 0.2, 1e-7, 123456.78901234568, 1e22, 5e-324])
def test_every_price_can_be_read_back(price: float) -> None:
    text = price_text(price, 5)
    assert float(text) == price
    assert re.fullmatch(r"\d+\.\d{5,}", text)


def test_the_last_candles_are_those_up_to_now_with_one_in_progress(client: Client) -> None:
    got = client.candles(count=3)
    assert times(got) == ["2025-03-12T12:00", "2025-03-12T13:00", "2025-03-12T14:00"]
    assert flags(got) == [True, True, False]
    [final] = source_numbers(H1, "EUR_USD", NOW - HOUR / 2, NOW)
    dancing = numbers(got)[-1]
    assert dancing[1:5] == (final[1],) * 4
    assert 1 <= dancing[5] == final[5] // 2

    client.clock.set(NOW + HOUR / 2 - timedelta(microseconds=1))
    assert flags(client.candles(count=3)) == [True, True, False]
    client.clock.advance(timedelta(microseconds=1))
    got = client.candles(count=3)
    assert (numbers(got)[1], flags(got)) == (final, [True, True, False])


def test_a_candle_that_the_source_will_not_have_is_not_in_progress() -> None:
    frame = simulated(H1, ("EUR_USD",), Window(NOW - 10 * HOUR, NOW - HOUR))
    with on(FrameSource(frame), NOW) as client:
        assert flags(client.candles(count=3)) == [True, True, True]


def test_latest_gives_the_same_instrument_as_often_as_asked(client: Client) -> None:
    asked = "EUR_USD:H1:M,USD_DKK:D:BM,EUR_USD:H1:A,EUR_USD:W:M"
    entries = client.get(LATEST, candleSpecifications=asked).json()["latestCandles"]
    assert [(entry["instrument"], entry["granularity"]) for entry in entries] == [
        ("EUR_USD", "H1"),
        ("USD_DKK", "D"),
        ("EUR_USD", "H1"),
        ("EUR_USD", "W"),
    ]
    assert entries[0]["candles"] == client.candles(count=2)
    assert entries[1]["candles"] == client.candles(symbol="USD_DKK", granularity="D", price="BM", count=2)
    assert all(flags(entry["candles"]) == [True, False] for entry in entries)


@pytest.mark.parametrize(
    ("sunday", "opens"),
    [
        (datetime(2025, 3, 9, tzinfo=UTC), ["2025-03-07T18:00", "2025-03-09T21:00", "2025-03-10T01:00"]),
        (datetime(2024, 11, 3, tzinfo=UTC), ["2024-11-01T17:00", "2024-11-03T22:00", "2024-11-04T02:00"]),
    ],
)
def test_weeks_in_which_clocks_change(client: Client, sunday: datetime, opens: list[str]) -> None:
    around: dict[str, Any] = {"from_": opens[0] + ":00Z", "to": rfc(sunday + 26 * HOUR + HOUR / 2)}
    assert times(client.candles(**around, granularity="H4"))[:3] == opens
    client.clock.set(NOW + timedelta(weeks=1))
    week: dict[str, Any] = {"from_": rfc(sunday), "count": 2}
    first, second = times(client.candles(**week, granularity="W"))
    hours = (datetime.fromisoformat(second) - datetime.fromisoformat(first)) / HOUR
    assert hours == (167 if sunday.month == 3 else 169)


@pytest.mark.parametrize("granularity", [H1, H4, D, W], ids=str)
def test_fridays_last_candle_stays_open_until_sunday(client: Client, granularity: Granularity) -> None:
    close, opening = datetime(2025, 3, 14, 21, tzinfo=UTC), datetime(2025, 3, 16, 21, tzinfo=UTC)
    client.clock.set(close)
    asked: dict[str, Any] = {"granularity": granularity.name, "count": 2}
    friday = client.candles(**asked)
    assert flags(friday) == [True, False]
    final = source_numbers(granularity, "EUR_USD", close - timedelta(days=8), close - timedelta(minutes=1))[-1]
    assert numbers(friday)[-1] == final
    client.clock.set(opening - timedelta(microseconds=1))
    assert client.candles(**asked) == friday
    client.clock.set(opening)
    sunday = client.candles(**asked)
    assert numbers(sunday)[0] == final
    assert flags(sunday) == [True, False]


def test_fridays_last_candle_may_close_on_friday() -> None:
    friday = datetime(2025, 3, 14, 21, tzinfo=UTC)
    with on(SimulatedSource(), friday, friday_stays_open=False) as client:
        for name in GRANULARITIES:
            assert flags(client.candles(granularity=name, count=2)) == [True, True]
        newest = client.get(LATEST, candleSpecifications="EUR_USD:H1:M").json()["latestCandles"][0]["candles"]
        assert times(newest) == ["2025-03-14T20:00"]


def test_a_changed_source_is_seen_after_forgetting() -> None:
    frame = simulated(H1, ("EUR_USD",), Window(NOW - 10 * HOUR, NOW))
    source = FrameSource(frame.iloc[:3])
    with on(source, NOW) as client:
        assert len(client.candles()) == 3
        source.candles = frame
        client.server.forget()
        assert len(client.candles()) == 10


# A public client


@pytest.fixture
def public(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[oandapyV20.API]:
    environment = {"api": client.server.url, "stream": client.server.url}
    monkeypatch.setitem(oandapyV20.oandapyV20.TRADING_ENVIRONMENTS, "loopback", environment)
    with oandapyV20.API(access_token=TOKEN, environment="loopback", request_params={"timeout": 10}) as api:
        yield api


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
@pytest.mark.parametrize("granularity", [H1, H4, D], ids=str)
def test_a_public_client_pages_the_sources_candles(public: oandapyV20.API, granularity: Granularity) -> None:
    start, end = datetime(2024, 3, 11, 21, tzinfo=UTC), datetime(2024, 10, 28, 21, tzinfo=UTC)
    asked = {"granularity": granularity.name, "from": f"{start:%Y-%m-%dT%H:%M:%SZ}", "to": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    got: list[dict[str, Any]] = []
    for request in InstrumentsCandlesFactory(instrument="EUR_USD", params={**asked, "count": 48}):
        got += public.request(request)["candles"]
    assert numbers(got) == source_numbers(granularity, "EUR_USD", start, end)


def test_a_public_client_lists_instruments(public: oandapyV20.API) -> None:
    got = public.request(AccountInstruments(accountID=ACCOUNT, params={"instruments": "EUR_USD"}))
    assert [entry["name"] for entry in got["instruments"]] == ["EUR_USD"]


# Faults


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_status_of_a_proxy_is_a_page(client: Client, code: int) -> None:
    client.server.faults.append(Status(code, times=1))
    response = client.get("/v3/accounts")
    assert (response.status_code, response.headers["Content-Type"]) == (code, "text/html")
    assert response.text.startswith("<html>")
    assert client.get("/v3/accounts").status_code == 200
    assert [seen.status for seen in client.server.requests] == [code, 200]


def test_status_429_is_json_and_says_when_to_come_back(client: Client) -> None:
    client.server.faults.append(Status(429, "2", path="GBP_USD"))
    response = client.get(candles_path("GBP_USD"))
    assert (response.status_code, response.headers["Retry-After"]) == (429, "2")
    assert list(response.json()) == ["errorMessage"]
    assert client.get(candles_path("EUR_USD")).status_code == 200


def test_slow_answers_nothing_until_the_client_gives_up() -> None:
    with on(SimulatedSource(), NOW) as client:
        client.server.faults.append(Slow(3600))
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(client.server.url + "/v3/accounts", timeout=0.05)
    assert [seen.status for seen in client.server.requests] == [0]  # and it did not wait out its hour


def test_drip_gives_the_whole_body_in_the_end(client: Client) -> None:
    want = client.candles(count=100)
    client.server.faults.append(Drip(0.05))
    assert client.candles(count=100) == want


def test_drip_stops_when_the_server_does() -> None:
    with on(SimulatedSource(), NOW) as client:
        client.server.faults.append(Drip(3600))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with requests.get(client.server.url + "/v3/accounts", headers=headers, timeout=10, stream=True) as response:
            assert response.status_code == 200


def test_truncated_ends_in_the_middle(client: Client) -> None:
    client.server.faults.append(Truncated(times=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        client.candles()
    assert client.candles()


def test_dropped_gives_no_answer(client: Client) -> None:
    client.server.faults.append(Dropped(times=1))
    with pytest.raises(requests.exceptions.ConnectionError):
        client.get("/v3/accounts")
    assert [seen.status for seen in client.server.requests] == [0]
    assert client.get("/v3/accounts").status_code == 200


def test_garbage_is_no_json_and_a_wrong_shape_is(client: Client) -> None:
    client.server.faults += [Garbage(times=1), WrongShape(times=1)]
    response = client.get("/v3/accounts")
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r".+"):
        response.json()
    assert client.get("/v3/accounts").json() == {}
    assert "accounts" in client.get("/v3/accounts").json()


def test_skew_moves_date_and_candles(client: Client) -> None:
    client.server.faults.append(Skew(-HOUR))
    assert parsedate_to_datetime(client.get("/v3/accounts").headers["Date"]) == NOW - HOUR
    assert times(client.candles(count=1)) == ["2025-03-12T13:00"]
    assert client.refused(candles_path("EUR_USD"), to=rfc(NOW))[1].endswith("Time is in the future")


def test_outage_alternates(client: Client) -> None:
    client.server.faults.append(Outage())
    for _ in range(2):
        assert client.get("/v3/accounts").status_code == 503
        with pytest.raises(requests.exceptions.ConnectionError):
            client.get("/v3/accounts")


def test_late_complete_flips_some_seconds_later(client: Client) -> None:
    client.server.faults.append(LateComplete(10, 20))
    close = NOW + HOUR / 2
    client.clock.set(close + timedelta(seconds=9))
    late = client.candles(count=2)
    assert (times(late), flags(late)) == (["2025-03-12T13:00", "2025-03-12T14:00"], [True, False])
    assert numbers(late)[-1:] == source_numbers(H1, "EUR_USD", NOW - HOUR / 2, NOW)
    client.clock.set(close + timedelta(seconds=20))
    got = client.candles(count=2)
    assert (times(got), flags(got)) == (["2025-03-12T14:00", "2025-03-12T15:00"], [True, False])


def test_late_complete_differs_by_instrument(client: Client) -> None:
    client.server.faults.append(LateComplete(0, 60))
    client.clock.set(NOW + HOUR / 2 + timedelta(seconds=30))
    asked = ",".join(f"{name}:H1:M" for name in INSTRUMENTS if name not in {"USD_RON", "USD_PHP"})
    entries = client.get(LATEST, candleSpecifications=asked).json()["latestCandles"]
    assert {times(entry["candles"])[0] for entry in entries} == {"2025-03-12T13:00", "2025-03-12T14:00"}


def test_missing_candles_do_not_count(client: Client) -> None:
    gone = datetime(2025, 3, 12, 13, tzinfo=UTC)
    client.server.faults.append(Missing(frozenset({gone}), frozenset({"EUR_USD"})))
    assert times(client.candles(count=3)) == ["2025-03-12T11:00", "2025-03-12T12:00", "2025-03-12T14:00"]
    assert times(client.candles(from_=rfc(gone - HOUR), count=2)) == ["2025-03-12T12:00", "2025-03-12T14:00"]
    assert len(times(client.candles(symbol="EUR_GBP", from_=rfc(gone), count=2))) == 2


def test_corrected_candles_have_another_volume(client: Client) -> None:
    at = datetime(2025, 3, 12, 12, tzinfo=UTC)
    before = client.candles(count=3)
    client.server.faults.append(Corrected(frozenset({at}), volume=7))
    after = client.candles(count=3)
    assert [b["volume"] - a["volume"] for a, b in zip(before, after, strict=True)] == [7, 0, 0]


def test_doubled_candles_come_wrong_then_right(client: Client) -> None:
    want = client.candles(count=7)
    client.server.faults.append(Doubled())
    got = client.candles(count=7)
    assert times(got) == [time for nth, time in enumerate(times(want)) for _ in range(2 if nth % 3 == 0 else 1)]
    assert list({candle["time"]: candle for candle in got}.values()) == want
    assert got[0]["mid"]["c"] != got[1]["mid"]["c"]


def test_unknown_instruments_are_as_if_absent(client: Client) -> None:
    client.server.faults.append(Unknown(frozenset({"EUR_USD"})))
    assert client.refused(candles_path("EUR_USD"))[0] == 400
    assert client.refused(LATEST, candleSpecifications="EUR_USD:H1:M")[0] == 400
    listed = client.get(f"/v3/accounts/{ACCOUNT}/instruments").json()["instruments"]
    assert len(listed) == len(INSTRUMENTS) - 3


def test_all_faults_at_once(client: Client) -> None:
    at = datetime(2025, 3, 12, 11, tzinfo=UTC)
    faults: list[Fault] = [
        Status(503, times=1),
        Dropped(times=1),
        Garbage(times=1),
        WrongShape(times=1),
        Outage(times=1),
        Truncated(times=1, path="GBP_USD"),
        Slow(0.01),
        Drip(0.01),
        Skew(-HOUR),
        LateComplete(),
        Missing(frozenset({at})),
        Corrected(frozenset({at + HOUR})),
        Doubled(),
        Unknown(frozenset({"AUD_HKD"})),
    ]
    want = client.candles(count=20)
    client.server.faults += faults
    client.server.requests.clear()
    for _ in range(5):
        try:
            client.get("/v3/accounts")
        except requests.exceptions.ConnectionError:
            continue
    assert [seen.status for seen in client.server.requests] == [503, 0, 200, 200, 503]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.candles(symbol="GBP_USD")
    got = list({candle["time"]: candle for candle in client.candles(count=10)}.values())
    assert (len(got), times(got)[-3:]) == (10, ["2025-03-12T10:00", "2025-03-12T12:00", "2025-03-12T13:00"])
    assert got[-2]["volume"] == want[-3]["volume"] + 1


# Connections


def test_counts_requests_and_connections() -> None:
    with on(SimulatedSource(), NOW) as client:
        for nth in range(3):
            client.get("/v3/accounts", nth=nth)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert requests.get(client.server.url + "/v3/accounts", headers=headers, timeout=10).ok
        server = client.server
    assert [seen.connection for seen in server.requests] == [0, 0, 0, 1]
    assert [seen.query for seen in server.requests] == [{"nth": "0"}, {"nth": "1"}, {"nth": "2"}, {}]
    assert {(seen.method, seen.path, seen.status) for seen in server.requests} == {("GET", "/v3/accounts", 200)}
    assert len(server.connections) == 2
    assert 1 <= server.most_connections_in_a_second() <= 2
    assert 1 <= server.most_requests_in_a_second() <= 4


def test_the_busiest_second_is_counted(shared_server: OandaServer) -> None:
    with OandaServer(SimulatedSource(), Clock(NOW)) as server:
        server.connections += [0.0, 0.5, 0.9, 1.2, 1.6, 9.0]
        assert server.most_connections_in_a_second() == 3
        assert server.most_requests_in_a_second() == 0
    assert server.url != shared_server.url


def test_stops_with_connections_left_open() -> None:
    before = set(threading.enumerate())
    with on(SimulatedSource(), NOW) as client:
        assert client.get("/v3/accounts").ok  # and the connection is kept
        url = client.server.url
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=10)


def test_a_port_can_be_taken_again() -> None:
    with on(SimulatedSource(), NOW) as client:
        port = int(client.server.url.rpartition(":")[2])
        assert client.get("/v3/accounts").ok
    with on(SimulatedSource(), NOW, port=port) as client:
        assert client.get("/v3/accounts").ok


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spike_assets_tests.oanda_server", "--port", "0", "--fault", "late"]
    with subprocess.Popen([*command, "--files", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = dict(pair.split("=", 1) for pair in process.stdout.readline().split())
        assert set(said) == {"SPIKE_SOURCE", "OANDA_URL", "OANDA_API_TOKEN", "OANDA_ACCOUNT_ID"}
        headers = {"Authorization": f"Bearer {said['OANDA_API_TOKEN']}"}
        path = f"/v3/accounts/{said['OANDA_ACCOUNT_ID']}/instruments"
        listed = requests.get(said["OANDA_URL"] + path, headers=headers, timeout=10).json()["instruments"]
        assert listed == []
        assert process.stdout.readline().endswith(f"#0 200 {path}\n")
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
