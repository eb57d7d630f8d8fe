"""Which candles are asked for, and what becomes of those that come."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError
from spike_assets.granularity import GRANULARITIES, H1, D, Granularity
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import candles, records
from spike_assets.pipeline.context import Watch
from spike_assets.sources.base import Fetched
from spike_assets.store.pending import Mark
from spike_assets.store.tables import CANDLES, QUARANTINE
from spike_assets_tests.pipeline.markets import (
    NAMES,
    SOON,
    asked,
    changed,
    flat,
    hour,
    hours_stored,
    market,
    memory,
    without,
)
from spike_assets_tests.support import FOREVER, FrameSource, candle_frame, run_window, simulated

ONE_HOUR = Window(hour(20), hour(21))
NOW = hour(21) + SOON


def test_an_empty_store_asks_for_the_window() -> None:
    source = market()
    run_window(memory(source), H1, ONE_HOUR, NOW)
    assert asked(source) == dict.fromkeys(NAMES, (20, 21))


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_an_empty_store_asks_for_the_warm_up_as_well(granularity: Granularity) -> None:
    window = Window(datetime(2025, 3, 9, 21, tzinfo=UTC), datetime(2025, 3, 20, tzinfo=UTC))
    first = candle_times(granularity, Window(window.start, window.end + 2 * granularity.step))[0].to_pydatetime()
    window = Window(first, close_of(granularity, first))
    source = FrameSource(simulated(granularity, ("EUR_USD",), Window(datetime(2010, 1, 1, tzinfo=UTC), window.end)))
    pipeline = memory(source, ("EUR_USD",), warmup=500)
    run_window(pipeline, granularity, window, window.end + SOON)
    with pipeline.store.reading(FOREVER) as session:
        stored = session.data.read(granularity, CANDLES)
    assert len(stored) == 501
    assert stored["time"].iloc[-1] == first


def test_every_instrument_is_asked_for_from_its_own_last_candle() -> None:
    source = market()
    source.candles = without(source, "USD_JPY", 18, 19)
    pipeline = memory(source)
    run_window(pipeline, H1, Window(hour(10), hour(20)), hour(20) + SOON)
    run_window(pipeline, H1, ONE_HOUR, NOW)
    assert asked(source) == {"EUR_USD": (20, 21), "USD_JPY": (18, 21)}


def test_a_late_newest_candle_comes_with_the_next_pass() -> None:
    source = market()
    whole, source.candles = source.candles, without(source, "USD_JPY", 19)
    pipeline = memory(source)
    run_window(pipeline, H1, Window(hour(18), hour(20)), hour(20) + SOON)
    assert hours_stored(pipeline, "USD_JPY") == [18]
    source.candles = whole
    run_window(pipeline, H1, ONE_HOUR, NOW)
    assert hours_stored(pipeline, "USD_JPY") == [18, 19, 20]


def test_a_window_that_is_stored_is_fetched_again() -> None:
    source = market()
    pipeline = memory(source)
    run_window(pipeline, H1, Window(hour(10), hour(30)), hour(30) + SOON)
    source.candles = changed(source, "EUR_USD", 20, volume=99)
    summaries = run_window(pipeline, H1, ONE_HOUR, hour(31))
    assert asked(source) == dict.fromkeys(NAMES, (20, 21))
    assert (summaries[0].added, summaries[0].updated) == (0, 1)


def test_nothing_is_asked_of_whoever_has_everything() -> None:
    source = market()
    pipeline = memory(source)
    run_window(pipeline, H1, ONE_HOUR, NOW)
    source.asked.clear()
    summaries = run_window(pipeline, H1, Window(hour(21), hour(21)), NOW)
    assert source.asked == []
    assert [summary.rows for summary in summaries] == [0, 0, 0, 0, 0]


def test_candles_that_have_not_closed_are_not_stored() -> None:
    pipeline = memory(market())
    run_window(pipeline, H1, Window(hour(19), hour(22)), hour(20.5))
    assert hours_stored(pipeline, "EUR_USD") == [19]


class TooEager(FrameSource):
    """Gives candles that have not closed."""

    def _part(self, granularity: Granularity, name: str, window: Window, now: datetime) -> pd.DataFrame:
        return super()._part(granularity, name, window, now + timedelta(hours=5))


def test_a_source_that_gives_open_candles_is_not_believed() -> None:
    pipeline = memory(TooEager(market().candles))
    summaries = run_window(pipeline, H1, Window(hour(19), hour(22)), hour(20.5))
    assert hours_stored(pipeline, "EUR_USD") == [19]
    assert summaries[0].quarantined == 4


# --- missing and unavailable ------------------------------------------------------------------------------------------


def test_whoever_lacks_the_newest_candle_is_missing() -> None:
    source = market()
    source.candles = without(source, "USD_JPY", 20)
    pipeline = memory(source)
    assert run_window(pipeline, H1, Window(hour(18), hour(21)), NOW)[0].missing == ("USD_JPY",)
    source.candles = without(market(), "USD_JPY", 19)
    assert run_window(memory(source), H1, Window(hour(18), hour(21)), NOW)[0].missing == ()


def test_a_newest_candle_in_quarantine_is_missing() -> None:
    source = market()
    source.candles = changed(source, "USD_JPY", 20, high=np.nan)
    assert run_window(memory(source), H1, ONE_HOUR, NOW)[0].missing == ("USD_JPY",)


def test_the_others_go_on_without_whoever_is_unknown() -> None:
    source = market()
    pipeline = memory(source, ("EUR_USD", "USD_RON", "USD_JPY"))
    summary = run_window(pipeline, H1, ONE_HOUR, NOW)[0]
    assert (summary.unavailable, summary.missing, summary.added) == (("USD_RON",), (), 2)
    with pipeline.store.reading(FOREVER) as session:
        rows = session.ops.unavailable(H1)
    assert rows["instrument"].tolist() == ["USD_RON"]
    assert rows["reason"].tolist() == ["not in the frame"]
    assert rows["asked_at"].tolist() == [NOW]


def test_whoever_is_unknown_is_asked_for_once_a_day() -> None:
    source = market(range(96))
    pipeline = memory(source, ("EUR_USD", "USD_RON"))
    asked_for_it = []
    for n in range(20, 72, 3):
        summary = run_window(pipeline, H1, Window(hour(n), hour(n + 1)), hour(n + 1) + SOON)[0]
        if "USD_RON" in source.asked[-1]:
            asked_for_it.append(n)
        assert summary.unavailable == (("USD_RON",) if n in asked_for_it else ())
    assert asked_for_it == [20, 44, 68]
    with pipeline.store.reading(FOREVER) as session:
        assert session.ops.unavailable(H1)["unavailable_since"].tolist() == [NOW]


def test_one_granularity_does_not_keep_another_from_asking() -> None:
    source = market()
    pipeline = memory(source, ("EUR_USD", "USD_RON"))
    run_window(pipeline, H1, ONE_HOUR, NOW)
    run_window(pipeline, D, Window(hour(-3), hour(21)), NOW)
    assert "USD_RON" in source.asked[-1]


def test_whoever_is_known_after_all_is_available_again() -> None:
    source = market(names=("EUR_USD",))
    pipeline = memory(source)
    run_window(pipeline, H1, ONE_HOUR, NOW)
    source.candles = market().candles
    run_window(pipeline, H1, Window(hour(44), hour(45)), hour(45) + SOON)
    assert hours_stored(pipeline, "USD_JPY") == [44]
    with pipeline.store.reading(FOREVER) as session:
        assert session.ops.unavailable(H1).empty


# --- quarantine -------------------------------------------------------------------------------------------------------

BAD: dict[str, dict[str, float]] = {
    "price_not_finite": {"open": np.inf},
    "price_not_positive": {"low": 0.0},
    "high_below_low": {"high": 0.25},
    "body_outside_range": {"close": 1.75},
    "volume_missing": {"volume": np.nan},
    "volume_negative": {"volume": -1.0},
    "volume_fractional": {"volume": 0.5},
    "volume_too_large": {"volume": 1e300},
}


def quarantined(pipeline: Any) -> pd.DataFrame:
    with pipeline.store.reading(FOREVER) as session:
        rows: pd.DataFrame = session.data.read(H1, QUARANTINE)
        return rows


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_candle_goes_into_quarantine_and_the_others_go_on(reason: str) -> None:
    source = market()
    source.candles = changed(source, "USD_JPY", 19, **BAD[reason])
    pipeline = memory(source)
    summary = run_window(pipeline, H1, Window(hour(18), hour(21)), NOW)[0]
    assert (summary.added, summary.quarantined) == (5, 1)
    assert hours_stored(pipeline, "USD_JPY") == [18, 20]
    rows = quarantined(pipeline)
    assert rows[["instrument", "reason"]].to_numpy().tolist() == [["USD_JPY", reason]]
    assert rows["time"].tolist() == [hour(19)]
    again = run_window(pipeline, H1, Window(hour(18), hour(21)), NOW + SOON)[0]
    assert (again.rows, again.quarantined) == (0, 0)


@pytest.mark.parametrize(
    ("reason", "time"),
    [
        ("off_grid", hour(19.5)),
        ("market_closed", datetime(2025, 3, 8, 12, tzinfo=UTC)),
        ("in_future", datetime(2025, 3, 12, tzinfo=UTC)),
    ],
)
def test_a_bad_time_goes_into_quarantine(reason: str, time: datetime) -> None:
    source = TooEager(pd.concat([market().candles, candle_frame("EUR_USD", [flat(time)])]))
    source.candles = source.candles[source.candles["time"].isin([hour(19), hour(20), time])]
    pipeline = memory(source)
    window = Window(min(time, hour(19)), max(time + timedelta(hours=1), hour(21)))
    summary = run_window(pipeline, H1, window, time if reason == "in_future" else NOW)[0]
    assert summary.quarantined == 1
    assert quarantined(pipeline)["reason"].tolist() == [reason]
    assert hours_stored(pipeline, "EUR_USD") == [19, 20]


def test_a_candle_that_is_mended_is_stored_and_its_quarantine_stays() -> None:
    source = market()
    fine, source.candles = source.candles, changed(source, "USD_JPY", 19, volume=-1)
    pipeline = memory(source)
    run_window(pipeline, H1, Window(hour(18), hour(21)), NOW)
    source.candles = fine
    summary = run_window(pipeline, H1, Window(hour(18), hour(21)), NOW + SOON)[0]
    assert (summary.added, summary.updated) == (1, 0)
    assert hours_stored(pipeline, "USD_JPY") == [18, 19, 20]
    assert len(quarantined(pipeline)) == 1


def test_a_stored_candle_that_comes_again_invalid_stays() -> None:
    source = market()
    pipeline = memory(source)
    run_window(pipeline, H1, ONE_HOUR, NOW)
    source.candles = changed(source, "USD_JPY", 20, volume=-1)
    summary = run_window(pipeline, H1, ONE_HOUR, NOW + SOON)[0]
    assert (summary.rows, summary.quarantined) == (0, 1)
    assert hours_stored(pipeline, "USD_JPY") == [20]


def test_a_stored_candle_that_the_broker_omits_later_stays() -> None:
    source = market()
    pipeline = memory(source)
    run_window(pipeline, H1, ONE_HOUR, NOW)
    source.candles = without(source, "USD_JPY", 20)
    summary = run_window(pipeline, H1, ONE_HOUR, NOW + SOON)[0]
    assert (summary.rows, summary.missing) == (0, ("USD_JPY",))
    assert hours_stored(pipeline, "USD_JPY") == [20]


# --- marks and deadlines ----------------------------------------------------------------------------------------------


def test_what_changed_is_marked_for_every_stage_in_the_same_commit() -> None:
    source = market()
    pipeline = memory(source)
    with pipeline.changing(H1, FOREVER, "a test") as session:
        received = candles.fetch(pipeline, H1, {"EUR_USD": Window(hour(18), hour(21))}, Watch(NOW), FOREVER)
        summary = candles.store(session, H1, received)
        for stage in ("atr", "events", "features"):
            assert session.pending.of(H1, stage) == [Mark("EUR_USD", hour(18), hour(20))]
    assert summary.changed_range == (hour(18), hour(20))


def test_a_source_without_time_is_told_so() -> None:
    pipeline = memory(market())
    with pytest.raises(DeadlineError, match="out of time before asking"):
        candles.fetch(pipeline, H1, {"EUR_USD": ONE_HOUR}, Watch(NOW), Deadline.after(timedelta(0)))


def test_nothing_to_ask_for_asks_nobody() -> None:
    source = market()
    received = candles.fetch(memory(source), H1, {}, Watch(NOW), Deadline.after(timedelta(0)))
    assert source.asked == []
    assert received.fetched.candles.empty


class Slow(FrameSource):
    """A source whose first answer has come long before the fetch ends; meanwhile somebody else asks and stores."""

    meanwhile: Any = None

    def fetch(self, *arguments: Any, **options: Any) -> Fetched:
        came = time.monotonic()
        fetched = super().fetch(*arguments, **options)
        if self.meanwhile:
            act, self.meanwhile = self.meanwhile, None
            act()
        return replace(fetched, came_at=dict.fromkeys(NAMES, came))


def test_an_older_answer_does_not_replace_a_newer_one_because_its_fetch_took_longer() -> None:
    source = Slow(market().candles)
    pipeline = memory(source)
    newer = changed(source, "EUR_USD", 20, volume=99)

    def meanwhile() -> None:
        source.candles = newer
        run_window(pipeline, H1, ONE_HOUR, NOW + timedelta(minutes=1))

    source.meanwhile = meanwhile
    run_window(pipeline, H1, ONE_HOUR, NOW)
    with pipeline.store.reading(FOREVER) as session:
        stored = session.data.read(H1, CANDLES)
    assert stored.set_index("instrument")["volume"].to_dict() == {"EUR_USD": 99, "USD_JPY": 7}


def test_before_the_first_pass_a_backfills_candles_are_no_gap() -> None:
    """They may be years old; what lies behind them the backfill brings."""
    source = market(range(-200, 48))
    pipeline = memory(source, warmup=10)
    with pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        records.begin(session, H1, records.starting("backfill", NOW, timedelta(hours=1)))
    run_window(pipeline, H1, Window(hour(-200), hour(-190)), NOW)
    run_window(pipeline, H1, ONE_HOUR, NOW + timedelta(minutes=1))
    assert {start for start, _ in asked(source).values()} == {10}
