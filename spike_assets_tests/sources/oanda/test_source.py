"""What OANDA is asked for, and which of its candles are taken."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_assets.errors import TransientError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.instruments import INSTRUMENTS, instrument
from spike_assets.market_hours import Window, candle_times, close_of, last_closed
from spike_assets.sources.base import CANDLE_COLUMNS, Fetched, no_candles
from spike_assets.sources.oanda import OandaSource, source
from spike_assets.sources.oanda.client import RefusedError
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.oanda_server import (
    Clock,
    Doubled,
    LateComplete,
    Missing,
    OandaServer,
    Outage,
    Skew,
    Unknown,
    WrongShape,
)
from spike_assets_tests.sources.oanda.asking import paths, source_of, within
from spike_assets_tests.support import FOREVER

NOW = datetime(2025, 3, 12, 14, 5, tzinfo=UTC)
NAMES = ("EUR_USD", "CHF_JPY", "USD_THB")
LATEST = "accounts/ACCOUNT/candles/latest"
LIST = "accounts/ACCOUNT/instruments"
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def server(clock: Clock) -> Iterator[OandaServer]:
    with OandaServer(SimulatedSource(), clock) as running:
        yield running


@pytest.fixture
def oanda(server: OandaServer, tmp_path: Path) -> Iterator[OandaSource]:
    made = source_of(server, tmp_path)
    yield made
    made.client.close()


def fetch(oanda: OandaSource, granularity: Granularity, windows: Mapping[str, Window], now: datetime = NOW) -> Fetched:
    return oanda.fetch(granularity, windows, now=now, deadline=within())


def newest(granularity: Granularity, now: datetime = NOW) -> Window:
    return last_closed(granularity, now)


def simulated(granularity: Granularity, windows: Mapping[str, Window], now: datetime = NOW) -> pd.DataFrame:
    return SimulatedSource().fetch(granularity, windows, now=now, deadline=FOREVER).candles


def rows(candles: pd.DataFrame) -> list[tuple[object, ...]]:
    """Give candles as tuples, by instrument and time."""
    ordered = candles.sort_values(["instrument", "time"])
    return list(ordered[list(CANDLE_COLUMNS)].itertuples(index=False, name=None))


# --- what is asked ----------------------------------------------------------------------------------------------------


@EVERY
def test_one_question_serves_everybody_when_nothing_is_missing(
    server: OandaServer, oanda: OandaSource, granularity: Granularity
) -> None:
    windows = dict.fromkeys((i for i in INSTRUMENTS if i not in {"USD_RON", "USD_PHP"}), newest(granularity))
    fetched = fetch(oanda, granularity, windows)
    assert rows(fetched.candles) == rows(simulated(granularity, windows))
    assert len(fetched.candles) == 27
    assert paths(server) == [LATEST]
    assert fetched.unavailable == {}


def test_the_alignment_is_said_and_not_left_to_a_default(server: OandaServer, oanda: OandaSource) -> None:
    fetch(oanda, H4, {"EUR_USD": newest(H4), "CHF_JPY": Window(NOW - timedelta(days=3), newest(H4).end)})
    for seen in server.requests:
        if "candles" in seen.path:
            said = {
                name: seen.query[name] for name in ("dailyAlignment", "alignmentTimezone", "weeklyAlignment", "smooth")
            }
            assert said == {
                "dailyAlignment": "17",
                "alignmentTimezone": "America/New_York",
                "weeklyAlignment": "Friday",
                "smooth": "False",
            }


@EVERY
def test_gaps_are_asked_for_one_by_one(server: OandaServer, oanda: OandaSource, granularity: Granularity) -> None:
    end = newest(granularity).end
    windows = {
        "EUR_USD": Window(newest(granularity).start, end),
        "CHF_JPY": Window(end - 40 * granularity.step, end),
        "USD_THB": Window(end - 3 * granularity.step, end),
    }
    fetched = fetch(oanda, granularity, windows)
    assert rows(fetched.candles) == rows(simulated(granularity, windows))
    assert sorted(paths(server)) == sorted([LIST, LATEST, "instruments/CHF_JPY/candles", "instruments/USD_THB/candles"])


def test_an_older_window_is_asked_for_one_by_one(server: OandaServer, oanda: OandaSource) -> None:
    window = Window(newest(H1).start - timedelta(hours=20), newest(H1).start - timedelta(hours=19))
    fetched = fetch(oanda, H1, {"EUR_USD": window})
    assert rows(fetched.candles) == rows(simulated(H1, {"EUR_USD": window}))
    assert paths(server) == [LIST, "instruments/EUR_USD/candles"]


def test_a_weekend_is_no_gap(server: OandaServer, oanda: OandaSource, clock: Clock) -> None:
    friday, sunday = datetime(2025, 3, 14, 21, tzinfo=UTC), datetime(2025, 3, 16, 22, 5, tzinfo=UTC)
    clock.set(sunday)
    windows = {"EUR_USD": Window(friday, newest(H1, sunday).end)}
    assert rows(fetch(oanda, H1, windows, sunday).candles) == rows(simulated(H1, windows, sunday))
    assert paths(server) == [LATEST]


def test_a_broker_that_is_ahead_of_the_pass_is_asked_for_the_candle_itself(
    server: OandaServer, oanda: OandaSource, clock: Clock
) -> None:
    clock.set(NOW + timedelta(hours=6))
    windows = dict.fromkeys(NAMES, newest(H1))
    assert rows(fetch(oanda, H1, windows).candles) == rows(simulated(H1, windows))
    assert paths(server)[0] == LATEST
    assert len(paths(server)) == 4


def test_nothing_to_ask(server: OandaServer, oanda: OandaSource) -> None:
    assert fetch(oanda, H1, {}).candles.empty
    assert paths(server) == []


@pytest.mark.parametrize("price", ["mid", "bid", "ask"])
def test_prices_are_of_the_kind_that_was_chosen(server: OandaServer, tmp_path: Path, price: str) -> None:
    oanda = source_of(server, tmp_path, price=price)
    assert oanda.price == price
    windows = {"EUR_USD": Window(NOW - timedelta(days=2), newest(H1).end), "CHF_JPY": newest(H1)}
    got, mid = fetch(oanda, H1, windows).candles, simulated(H1, windows)
    oanda.client.close()
    ticks = {"mid": 0, "bid": -1, "ask": 1}[price]
    for name in windows:
        tick = 10.0 ** -instrument(name).decimals
        here = got["instrument"] == name
        off = (got["close"][here].to_numpy() - mid["close"][mid["instrument"] == name].to_numpy()) / tick
        np.testing.assert_allclose(off, ticks, atol=1e-6)


# --- pages ------------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(page=st.integers(2, 60), hours=st.integers(1, 400), faults=st.sets(st.sampled_from(["doubled", "missing"])))
def test_pages_lose_nothing_and_double_nothing(
    server_for_all: tuple[OandaServer, OandaSource], page: int, hours: int, faults: set[str]
) -> None:
    server, oanda = server_for_all
    window = Window(newest(H1).end - timedelta(hours=hours), newest(H1).end)
    gone = frozenset(t.to_pydatetime() for t in candle_times(H1, window)[3::4]) if "missing" in faults else frozenset()
    server.faults[:] = [Missing(gone), *([Doubled()] if "doubled" in faults else [])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "MOST_CANDLES", page)
        patch.setattr(source, "_STRAYS", 2)
        got = fetch(oanda, H1, {"EUR_USD": window}).candles
    if "doubled" in faults:
        got = got.drop_duplicates("time", keep="last")
    expected = simulated(H1, {"EUR_USD": window})
    assert rows(got) == rows(expected[~expected["time"].isin(gone)])


@pytest.fixture(scope="module")
def server_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OandaServer, OandaSource]]:
    with OandaServer(SimulatedSource(), Clock(NOW)) as running:
        made = source_of(running, tmp_path_factory.mktemp("limits"))
        yield running, made
        made.client.close()


def test_years_come_in_pages_of_five_thousand(server: OandaServer, oanda: OandaSource) -> None:
    window = Window(datetime(2023, 1, 1, tzinfo=UTC), newest(H1).end)
    got = fetch(oanda, H1, {"EUR_USD": window}).candles
    assert rows(got) == rows(simulated(H1, {"EUR_USD": window}))
    pages = [seen.query for seen in server.requests if "instruments/EUR_USD" in seen.path]
    assert len(pages) == 3
    assert {page["includeFirst"] for page in pages} == {"True"}
    assert [page["count"] for page in pages[:2]] == ["5000", "5000"]
    assert "to" not in "".join(pages[0])


def test_a_broker_that_leaves_out_the_first_candle_of_a_page_loses_us_none(
    oanda: OandaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was asked: the page before has that candle, and a page that is short by one is no last page."""
    window = Window(newest(H1).end - timedelta(hours=60), newest(H1).end)
    monkeypatch.setattr(source, "MOST_CANDLES", 12)
    ask = oanda.client.get
    pages = 0

    def leaving_out(path: str, parameters: Any, read: Any, deadline: Any) -> Any:
        nonlocal pages
        answer = ask(path, parameters, read, deadline)
        if "instruments/" not in path:
            return answer
        pages += 1
        return answer if pages == 1 else answer._replace(candles=answer.candles[1:], complete=answer.complete[1:])

    monkeypatch.setattr(oanda.client, "get", leaving_out)
    got = fetch(oanda, H1, {"EUR_USD": window}).candles
    assert rows(got) == rows(simulated(H1, {"EUR_USD": window}))
    assert pages >= 4


def test_an_answer_is_as_old_as_it_is(oanda: OandaSource) -> None:
    """Not as old as the slowest answer of the same fetch."""
    window = Window(NOW - timedelta(days=2), newest(H1).end)
    before = time.monotonic()
    fetched = fetch(oanda, H1, {"EUR_USD": newest(H1), "CHF_JPY": window})
    assert before < fetched.came_at["EUR_USD"] < fetched.came_at["CHF_JPY"] < time.monotonic()


# --- what is closed ---------------------------------------------------------------------------------------------------


@EVERY
def test_the_candle_in_progress_is_not_taken(oanda: OandaSource, clock: Clock, granularity: Granularity) -> None:
    """Not even where our clock is ahead of the broker's."""
    ahead = newest(granularity).end + timedelta(seconds=1)
    clock.set(ahead - timedelta(seconds=20))
    # A candle as late as this the pass may not wait for.
    window = Window(newest(granularity, ahead).start - 5 * granularity.step, newest(granularity, ahead).end)
    fetched = oanda.fetch(granularity, {"EUR_USD": window}, now=ahead, deadline=within(20))
    assert newest(granularity, ahead).start not in set(fetched.candles["time"])


@EVERY
def test_a_candle_of_two_minutes_ago_is_closed_whatever_the_broker_says(
    oanda: OandaSource, clock: Clock, granularity: Granularity
) -> None:
    """Friday's last candle stays incomplete until Sunday."""
    friday = datetime(2025, 3, 14, 21, tzinfo=UTC)
    last = newest(granularity, friday)
    window = Window(last.start - 3 * granularity.step, last.end)
    for asked in (window, last):
        clock.set(friday + timedelta(minutes=2))
        got = fetch(oanda, granularity, {"EUR_USD": asked}, friday + timedelta(minutes=2)).candles
        assert got["time"].iloc[-1] == last.start
        assert rows(got) == rows(simulated(granularity, {"EUR_USD": asked}, friday))
        clock.set(friday + timedelta(minutes=2) - timedelta(seconds=1))
        early = oanda.fetch(granularity, {"EUR_USD": asked}, now=clock(), deadline=within(10))
        assert last.start not in set(early.candles["time"])


class Going:
    """A clock that goes on by so much at every look."""

    def __init__(self, at: datetime, step: timedelta) -> None:
        self.at, self.step = at, step

    def __call__(self) -> datetime:
        self.at += self.step
        return self.at


@pytest.mark.parametrize("gap", [False, True], ids=["latest", "history"])
def test_a_candle_that_is_late_is_asked_for_again(tmp_path: Path, gap: bool) -> None:
    closed = datetime(2025, 3, 12, 14, tzinfo=UTC)
    clock = Going(closed, timedelta(seconds=1))
    windows = dict.fromkeys(NAMES, Window(closed - timedelta(hours=5 if gap else 1), closed))
    with OandaServer(SimulatedSource(), clock) as server:
        server.faults.append(LateComplete(6, 12))
        oanda = source_of(server, tmp_path)
        fetched = fetch(oanda, H1, windows, closed + timedelta(seconds=1))
        oanda.client.close()
        assert rows(fetched.candles) == rows(simulated(H1, windows, closed))
        again = [seen.query["candleSpecifications"] for seen in server.requests if "latest" in seen.path]
        assert len(again) > 1
        assert len(again[-1]) < 3 * len("EUR_USD:H1:M")  # only whoever is late


def test_a_candle_that_is_too_late_is_left_to_the_next_pass(
    server: OandaServer, oanda: OandaSource, clock: Clock
) -> None:
    closed = datetime(2025, 3, 12, 14, tzinfo=UTC)
    clock.set(closed + timedelta(seconds=2))
    server.faults.append(LateComplete(40, 45))
    windows = dict.fromkeys(NAMES, Window(closed - timedelta(hours=1), closed))
    fetched = oanda.fetch(H1, windows, now=clock(), deadline=within(10.1))
    assert fetched.candles.empty
    clock.set(closed + timedelta(minutes=1))
    assert len(fetch(oanda, H1, windows, clock()).candles) == 3


def test_clocks_that_differ_by_more_than_a_pass_can_wait(server: OandaServer, oanda: OandaSource) -> None:
    server.faults.append(Skew(timedelta(minutes=-7)))
    windows = dict.fromkeys(NAMES, newest(H1))
    assert fetch(oanda, H1, windows).candles.empty
    assert paths(server) == [LATEST]


def test_a_clock_far_ahead_is_told(server: OandaServer, oanda: OandaSource) -> None:
    server.faults.append(Skew(timedelta(hours=-30)))
    with pytest.raises(RefusedError, match=r"Time is in the future.*set this machine's clock"):
        fetch(oanda, H1, {"EUR_USD": Window(newest(H1).start - timedelta(hours=2), newest(H1).end)})


def test_hours_without_a_tick_have_no_candle(server: OandaServer, oanda: OandaSource) -> None:
    server.faults.append(Missing(frozenset({newest(H1).start}), frozenset({"EUR_USD"})))
    fetched = fetch(oanda, H1, dict.fromkeys(NAMES, newest(H1)))
    assert sorted(fetched.candles["instrument"]) == ["CHF_JPY", "USD_THB"]
    assert paths(server) == [LATEST]


def test_a_broker_that_breaks_while_a_late_candle_is_waited_for(
    server: OandaServer, oanda: OandaSource, clock: Clock
) -> None:
    """What has come is kept; whoever is late is left to the next pass."""
    closed = datetime(2025, 3, 12, 14, tzinfo=UTC)
    clock.set(closed)
    windows = dict.fromkeys(NAMES, Window(closed - timedelta(hours=1), closed))
    server.faults.append(LateComplete(1, 45))
    there = no_candles()
    while there.empty:
        clock.advance(timedelta(seconds=1))
        there = oanda.fetch(H1, windows, now=clock(), deadline=within(10)).candles
    assert len(there) < 3
    late = ",".join(f"{name}:H1:M" for name in NAMES if name not in set(there["instrument"]))
    server.faults.append(Outage(path=f"candleSpecifications={quote(late)}&"))
    asked = len(server.requests)
    assert rows(oanda.fetch(H1, windows, now=clock(), deadline=within(10.5)).candles) == rows(there)
    assert len(server.requests) > asked + 1


def test_one_that_the_latest_answer_is_silent_of_is_asked_for_itself(
    server: OandaServer, oanda: OandaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = oanda.client.get

    def silent(path: str, parameters: Any, read: Any, deadline: Any) -> Any:
        answer = ask(path, parameters, read, deadline)
        return {name: told for name, told in answer.items() if name != "EUR_USD"} if "latest" in path else answer

    monkeypatch.setattr(oanda.client, "get", silent)
    windows = dict.fromkeys(NAMES, newest(H1))
    assert rows(fetch(oanda, H1, windows).candles) == rows(simulated(H1, windows))
    assert paths(server) == [LATEST, "instruments/EUR_USD/candles"]


# --- who is there -----------------------------------------------------------------------------------------------------


def test_whoever_the_account_lacks_does_not_stop_the_others(server: OandaServer, oanda: OandaSource) -> None:
    windows = dict.fromkeys((*NAMES, "USD_RON", "USD_PHP"), Window(NOW - timedelta(days=2), newest(H1).end))
    fetched = fetch(oanda, H1, windows)
    assert fetched.unavailable == dict.fromkeys(("USD_RON", "USD_PHP"), "not among the account's instruments")
    assert set(fetched.candles["instrument"]) == set(NAMES)
    assert "instruments/USD_RON/candles" not in paths(server)
    assert fetched.pip_locations == {"EUR_USD": -4, "CHF_JPY": -2, "USD_THB": -2}
    assert fetch(oanda, H1, windows).pip_locations == {}  # said once


def test_an_unknown_name_fails_a_question_for_everybody_once(server: OandaServer, oanda: OandaSource) -> None:
    windows = dict.fromkeys((*NAMES, "USD_RON"), newest(H1))
    fetched = fetch(oanda, H1, windows)
    assert set(fetched.candles["instrument"]) == set(NAMES)
    assert set(fetched.unavailable) == {"USD_RON"}
    assert paths(server) == [LATEST, LIST, LATEST]
    fetch(oanda, H1, windows)
    assert paths(server)[3:] == [LATEST]


def test_a_list_of_yesterday_may_be_wrong(server: OandaServer, oanda: OandaSource) -> None:
    window = Window(NOW - timedelta(days=2), newest(H1).end)
    fetch(oanda, H1, dict.fromkeys(NAMES, window))
    server.faults.append(Unknown(frozenset({"USD_THB"})))
    fetched = fetch(oanda, H1, dict.fromkeys(NAMES, newest(H1)))
    assert set(fetched.unavailable) == {"USD_THB"}
    server.faults.clear()
    oanda._list_instruments(within(), anew=True)
    server.faults.append(Unknown(frozenset({"USD_THB"})))
    fetched = fetch(oanda, H1, dict.fromkeys(NAMES, window))
    assert fetched.unavailable == {"USD_THB": "Invalid value specified for 'instrument'"}
    assert set(fetched.candles["instrument"]) == {"EUR_USD", "CHF_JPY"}


def test_another_account(server: OandaServer, tmp_path: Path) -> None:
    oanda = source_of(server, tmp_path, account="101-001-7654321-001")
    for window in (newest(H1), Window(NOW - timedelta(days=2), newest(H1).end)):
        with pytest.raises(RefusedError, match="set OANDA_ACCOUNT_ID"):
            fetch(oanda, H1, {"EUR_USD": window})
    oanda.client.close()


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Outage(times=3), WrongShape(times=3)], ids=str)
def test_faults_that_pass(server: OandaServer, oanda: OandaSource, fault: Outage) -> None:
    server.faults.append(fault)
    windows = {"EUR_USD": newest(H1), "CHF_JPY": Window(NOW - timedelta(days=2), newest(H1).end)}
    assert rows(fetch(oanda, H1, windows).candles) == rows(simulated(H1, windows))


def test_one_instrument_that_does_not_come_fails_the_pass(server: OandaServer, oanda: OandaSource) -> None:
    server.faults.append(Outage(path="CHF_JPY/candles"))
    window = Window(NOW - timedelta(days=2), newest(H1).end)
    with pytest.raises(TransientError, match="CHF_JPY/candles"):
        oanda.fetch(H1, dict.fromkeys(NAMES, window), now=NOW, deadline=within(1.5))


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_daylight_saving_changes(oanda: OandaSource, clock: Clock, granularity: Granularity) -> None:
    for change in (datetime(2025, 3, 9, 12, tzinfo=UTC), datetime(2025, 11, 2, 12, tzinfo=UTC)):
        times = candle_times(granularity, Window(change - 4 * granularity.step, change + timedelta(days=8)))
        for open_ in times.to_pydatetime():
            close = close_of(granularity, open_)
            now = close + timedelta(minutes=5)
            clock.set(now)
            window = newest(granularity, now)
            assert rows(fetch(oanda, granularity, {"EUR_USD": window}, now).candles) == rows(
                simulated(granularity, {"EUR_USD": window}, now)
            )
