"""What functions go through behind a real functions-framework, on whichever database a world has."""

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

from spike_assets.granularity import GRANULARITIES, H1, D, Granularity, W
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.verify import verify
from spike_assets.store.tables import CANDLES
from spike_assets_tests.cloud.platform import Function, World, market_of, serving, wait_for
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Market
from spike_assets_tests.oanda_server import Slow, Status
from spike_assets_tests.support import FOREVER, hashes

NAMES = ("CHF_JPY", "EUR_USD")
END = datetime(2025, 6, 4, 12, tzinfo=UTC)
START = END - timedelta(days=420)


def loaded(here: World, granularity: Granularity, left: int) -> tuple[Market, Pipeline, list[datetime]]:
    """Load a market but for its last candles; give the closes of these."""
    market = market_of(granularity, END, NAMES)
    closes = market.closes[-left:]
    return market, here.load(market, market.opens[-left]), closes


def counts(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["instrument"], one["candles_processed"]) for one in answer["processed"]]


def everyday(here: World) -> None:
    """Call for one candle after another, by HTTP and by events; twice, at once, too late, and wrongly."""
    with serving(here, "spike_http", "http") as by_http, serving(here, "spike_cloud_event", "cloudevent") as by_event:
        for granularity in GRANULARITIES.values():
            candle_after_candle(here, by_http, by_event, granularity)
        twice_at_once_is_once(here, by_http)
        stale_calls_are_skipped(here, by_http, by_event)
        bad_calls_are_answered(by_http)


def candle_after_candle(here: World, by_http: Function, by_event: Function, granularity: Granularity) -> None:
    market, pipeline, closes = loaded(here, granularity, 2)
    for close, function in zip(closes, (by_http, by_event), strict=True):
        here.at(close + AFTER_CLOSE)
        logged = len(function.lines())
        for status, processed in (("success", [(name, 1) for name in NAMES]), ("no_new_data", [])):
            if function is by_http:
                answer = function.post({"granularity": granularity.name})
                assert answer.status == 200
                assert {"status", "processed", "duration_ms"} <= set(answer.json)
                assert (answer.json["status"], counts(answer.json)) == (status, processed)
            else:
                answer = function.post_event(granularity, here.clock())
                assert (answer.status, answer.text) == (200, "OK")
        new = function.lines()[logged:]
        assert [(one["granularity"], one["status"]) for one in new] == [
            (granularity.name, "success"),
            (granularity.name, "no_new_data"),
        ]
        assert new[0]["rows"]["candles"] == len(NAMES)
    assert hashes(pipeline, granularity) == market.expected


def twice_at_once_is_once(here: World, by_http: Function) -> None:
    market = market_of(H1, END + timedelta(hours=1), NAMES)
    here.at(END + timedelta(hours=1) + AFTER_CLOSE)
    with ThreadPoolExecutor(3) as pool:
        answers = [answer.json for answer in pool.map(by_http.post, [{"granularity": "H1"}] * 3)]
    assert {answer["status"] for answer in answers} <= {"success", "no_new_data"}
    assert sorted(one for answer in answers for one in counts(answer)) == [(name, 1) for name in NAMES]
    pipeline = here.pipeline()
    with pipeline.store.reading(FOREVER) as session:
        last = session.data.read(H1, CANDLES, Window(market.opens[-1], market.window.end), ["instrument", "time"])
    assert sorted(last["instrument"]) == list(NAMES)


def stale_calls_are_skipped(here: World, by_http: Function, by_event: Function) -> None:
    here.at(END + timedelta(days=30))
    asked = len(here.server.requests)
    old = here.clock() - timedelta(hours=1, seconds=1)
    answer = by_http.post({"granularity": "H1"}, {"X-CloudScheduler-ScheduleTime": old.isoformat()})
    assert (answer.status, answer.json["status"], answer.json["processed"]) == (200, "skipped", [])
    assert by_event.post_event(H1, old).status == 200
    assert by_event.lines()[-1]["status"] == "skipped"
    assert len(here.server.requests) == asked


def bad_calls_are_answered(by_http: Function) -> None:
    for body, says in (
        (b"", "the event is no JSON"),
        ({}, "the event names no granularity"),
        ({"granularity": "M5"}, "granularity: 'M5' is none of H1, H4, D, W"),
    ):
        answer = by_http.post(body)
        assert (answer.status, answer.json["status"]) == (200, "failed")
        assert answer.json["error"].startswith(says)


def faults_and_a_kill(here: World) -> None:
    """Call while the broker refuses, is away or hangs, and kill the process that is at work."""
    with serving(here, "spike_http", "http") as function:
        what_the_broker_does_decides_who_tries_again(here, function)
        one_that_is_killed_at_work_is_made_good_by_the_next(here, function)


def what_the_broker_does_decides_who_tries_again(here: World, function: Function) -> None:
    market, pipeline, closes = loaded(here, D, 1)
    here.at(closes[0] + AFTER_CLOSE, timeout=1.5)
    here.server.faults[:] = [Status(401)]
    refused = function.post({"granularity": "D"})
    assert (refused.status, refused.json["status"]) == (200, "failed")
    assert "OANDA_API_TOKEN" in refused.json["error"]
    for fault in (Status(503), Slow(60)):
        here.server.faults[:] = [fault]
        assert function.post({"granularity": "D"}).status == 500
        assert function.lines()[-1]["message"].endswith("; to be tried again")
    here.server.faults.clear()
    here.at(here.clock())
    assert function.post({"granularity": "D"}).json["status"] == "success"
    assert hashes(pipeline, D) == market.expected


def one_that_is_killed_at_work_is_made_good_by_the_next(here: World, function: Function) -> None:
    market, pipeline, closes = loaded(here, W, 1)
    here.at(closes[0] + AFTER_CLOSE)
    here.server.faults[:] = [Slow(60)]
    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(heard, function, W)
        os.kill(wait_for(lambda: at_work(pipeline)), signal.SIGKILL)
        assert caller.result() is None
    here.server.faults.clear()
    answer = function.post({"granularity": "W"})
    assert (answer.status, answer.json["status"]) == (200, "success")
    assert counts(answer.json) == [(name, 1) for name in NAMES]
    assert hashes(pipeline, W) == market.expected
    with pipeline.store.reading(FOREVER) as session:
        assert session.ops.unfinished(W) == []


def at_work(pipeline: Pipeline) -> int | None:
    """Give the process that a W pass runs in."""
    with pipeline.store.reading(FOREVER) as session:
        state = session.ops.state(W)
    return int(state.running.process.rpartition("/")[2]) if state and state.running else None


LONGEST = 0.5
"""Seconds after which the latest kill comes: a call takes about as long."""


def kill_after_kill(here: World, kills: int) -> None:
    """Kill calls at random moments, each followed by another; one that had ended before its kill does not count."""
    chance = random.Random(8)
    market, pipeline, closes = loaded(here, H1, 3 * kills)
    hit = 0
    with serving(here, "spike_http", "http") as function, ThreadPoolExecutor(1) as pool:
        for close in closes[:-1]:
            here.at(close + AFTER_CLOSE)
            caller = pool.submit(heard, function, H1)
            wait([caller], chance.uniform(0, LONGEST))
            os.kill(function.worker(), signal.SIGKILL)
            hit += caller.result() is None
            answer = function.post({"granularity": "H1"})
            assert (answer.status, answer.json["status"] in {"success", "no_new_data"}) == (200, True), answer
            if hit == kills:
                break
        here.at(closes[-1] + AFTER_CLOSE)
        assert function.post({"granularity": "H1"}).json["status"] == "success"
    assert hit == kills
    assert hashes(pipeline, H1) == market.expected
    assert verify(pipeline, H1).difference is None


def heard(function: Function, granularity: Granularity) -> int | None:
    """Call, and give the status; None where the answer never came."""
    try:
        return function.post({"granularity": granularity.name}).status
    except (OSError, HTTPException):
        return None
