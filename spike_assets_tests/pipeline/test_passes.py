"""A pass: what it is about, what it answers, and what is remembered of it."""

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SourceError, StoreLockedError, TransientError
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import PassResult, Pipeline, process, records
from spike_assets.pipeline.passes import MOST_CANDLES
from spike_assets.pipeline.records import last_processed
from spike_assets.sources.base import Fetched
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.ops import State
from spike_assets.store.ops_tables import PASSES
from spike_assets.store.store import Store
from spike_assets.store.tables import CANDLES
from spike_assets_tests.pipeline.markets import (
    NAMES,
    SOON,
    asked,
    changed,
    hour,
    hours_stored,
    lose_state,
    market,
    memory,
    state,
    without,
)
from spike_assets_tests.support import (
    FOREVER,
    CrashError,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    MemoryEngine,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    plain,
    run_window,
    simulated,
    tidied,
)

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def pass_at(pipeline: Pipeline, n: float) -> PassResult:
    """Run a pass five minutes after an hour."""
    return process(pipeline, H1, now=hour(n) + SOON)


def window_of(result: PassResult) -> tuple[float, float]:
    return (result.window.start - hour(0)) / timedelta(hours=1), (result.window.end - hour(0)) / timedelta(hours=1)


def recorded(pipeline: Pipeline) -> list[dict[str, Any]]:
    with pipeline.store.reading(FOREVER) as session:
        return plain(
            session._connection.frame("SELECT * FROM ops.passes ORDER BY started_at, ended_at", PASSES.columns)
        )


# --- windows ----------------------------------------------------------------------------------------------------------


def test_the_first_pass_is_about_the_newest_closed_candle() -> None:
    pipeline = memory(market())
    result = pass_at(pipeline, 20)
    assert (result.status, window_of(result), result.behind) == ("success", (19, 20), 0)
    assert hours_stored(pipeline, "EUR_USD") == [19]
    assert state(pipeline).last_processed == hour(20)


def test_a_pass_goes_on_where_the_last_one_ended() -> None:
    source = market()
    pipeline = memory(source)
    pass_at(pipeline, 20)
    result = pass_at(pipeline, 25)
    assert window_of(result) == (20, 25)
    assert hours_stored(pipeline, "USD_JPY") == [19, 20, 21, 22, 23, 24]
    assert asked(source) == dict.fromkeys(NAMES, (20, 25))


def test_processed_is_what_was_asked_for_whether_it_held_a_candle_or_not() -> None:
    source = market([0, 1, 2, 5])
    pipeline = memory(source)
    for n in (1, 2, 3):
        pass_at(pipeline, n)
    for n in (4, 5):
        result = pass_at(pipeline, n)
        assert (result.status, window_of(result)) == ("no_new_data", (n - 1, n))
        assert state(pipeline).last_processed == hour(n)
    assert pass_at(pipeline, 6).status == "success"


def test_a_late_newest_candle_comes_with_the_next_pass() -> None:
    source = market()
    whole, source.candles = source.candles, without(source, "USD_JPY", 19)
    pipeline = memory(source)
    pass_at(pipeline, 19)
    assert pass_at(pipeline, 20).summaries[0].missing == ("USD_JPY",)
    source.candles = whole
    result = pass_at(pipeline, 20.5)  # the same hour again
    assert (result.status, hours_stored(pipeline, "USD_JPY")) == ("success", [18, 19])
    assert asked(source) == {"USD_JPY": (19, 20)}


@EVERY
def test_weekends_are_quiet(granularity: Granularity) -> None:
    """From Friday's close on nothing is asked of anybody, until a candle closes again."""
    friday = datetime(2025, 3, 14, 21, tzinfo=UTC)
    source = FrameSource(
        simulated(granularity, NAMES, Window(friday - timedelta(weeks=3), friday + timedelta(weeks=3)))
    )
    pipeline = memory(source)
    assert process(pipeline, granularity, now=friday + SOON).status == "success"
    source.asked.clear()
    upcoming = market_hours.next_close(granularity, friday)
    for hours in (1, 11, 30, 47):
        now = friday + timedelta(hours=hours)
        assert now < upcoming
        result = process(pipeline, granularity, now=now)
        assert (result.status, result.window.start, result.window.end) == ("no_new_data", friday, friday)
    assert source.asked == []
    assert state(pipeline, granularity).last_processed == friday
    result = process(pipeline, granularity, now=upcoming + SOON)
    assert (result.status, result.window.start, result.window.end) == ("success", friday, upcoming)


def test_after_downtime_the_oldest_five_hundred_come_first() -> None:
    start = datetime(2024, 11, 4, tzinfo=UTC)
    times = candle_times(H1, Window(start, start + timedelta(days=90)))[: 2 * MOST_CANDLES + 8]
    closes = [close_of(H1, time) for time in times.to_pydatetime()]
    source = FrameSource(simulated(H1, NAMES, Window(start, closes[-1])))
    pipeline = memory(source)
    process(pipeline, H1, now=closes[0] + SOON)
    now = closes[-1] + SOON
    ends, behind = [], []
    for _ in range(3):
        result = process(pipeline, H1, now=now)
        ends.append(result.window.end)
        behind.append(result.behind)
        assert state(pipeline).last_processed == result.window.end
    assert (MOST_CANDLES, ends) == (500, [closes[500], closes[1000], closes[-1]])
    assert behind == [507, 7, 0]
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, now)
    assert process(pipeline, H1, now=now).status == "no_new_data"


def test_a_gap_of_exactly_five_hundred_is_one_pass() -> None:
    start = datetime(2024, 11, 4, tzinfo=UTC)
    times = candle_times(H1, Window(start, start + timedelta(days=60)))[: MOST_CANDLES + 1]
    closes = [close_of(H1, time) for time in times.to_pydatetime()]
    pipeline = memory(FrameSource(simulated(H1, ("EUR_USD",), Window(start, closes[-1]))), ("EUR_USD",))
    process(pipeline, H1, now=closes[0] + SOON)
    result = process(pipeline, H1, now=closes[-1] + SOON)
    assert (result.window, result.behind) == (Window(closes[0], closes[-1]), 0)


def test_lost_state_is_rebuilt_from_the_newest_candle() -> None:
    source = market()
    pipeline = memory(source)
    pass_at(pipeline, 20)
    pass_at(pipeline, 21)
    lose_state(pipeline)
    with pipeline.store.reading(FOREVER) as session:
        assert last_processed(session, H1) == hour(21)
    result = pass_at(pipeline, 24)
    assert window_of(result) == (21, 24)
    assert hours_stored(pipeline, "EUR_USD") == [19, 20, 21, 22, 23]
    assert state(pipeline).last_processed == hour(24)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    pipeline = memory(market())
    pass_at(pipeline, 20)
    result = pass_at(pipeline, 15)
    assert (result.status, result.window.start, result.window.end) == ("no_new_data", hour(15), hour(15))
    assert state(pipeline).last_processed == hour(20)


def finish(pipeline: Pipeline, window: Window, now: datetime) -> None:
    """Record a window as done, as a run of some partitions does."""
    summaries = run_window(pipeline, H1, window, now)
    with pipeline.changing(H1, FOREVER, "a test") as session, session.transaction():
        running = records.starting("ui", now, SOON)
        records.success(session, pipeline, H1, running, window, "success", summaries)


@pytest.mark.parametrize(
    ("start", "end", "then"),
    [
        (20, 22, 22),  # adjoins
        (18, 22, 22),  # overlaps
        (23, 25, 20),  # leaves a gap
        (10, 12, 20),  # lies behind
        (20, 20, 20),
    ],
)
def test_last_processed_does_not_jump_over_a_gap(start: int, end: int, then: int) -> None:
    pipeline = memory(market())
    pass_at(pipeline, 20)
    finish(pipeline, Window(hour(start), hour(end)), hour(30))
    assert state(pipeline).last_processed == hour(then)
    pass_at(pipeline, 31)
    assert state(pipeline).last_processed == hour(31)
    assert set(range(19, 31)) <= set(hours_stored(pipeline, "EUR_USD"))


def test_a_weekend_is_no_gap() -> None:
    friday, sunday = datetime(2025, 3, 14, 21, tzinfo=UTC), datetime(2025, 3, 16, 21, tzinfo=UTC)
    pipeline = memory(FrameSource(simulated(H1, NAMES, Window(friday - timedelta(days=1), sunday + timedelta(days=1)))))
    process(pipeline, H1, now=friday + SOON)
    finish(pipeline, Window(sunday, sunday + timedelta(hours=1)), sunday + timedelta(hours=1))
    assert state(pipeline).last_processed == sunday + timedelta(hours=1)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_the_second_pass_says_no_new_data_and_changes_nothing() -> None:
    for granularity in GRANULARITIES.values():
        end = datetime(2025, 3, 14, 21, tzinfo=UTC)
        source = FrameSource(simulated(granularity, NAMES, Window(datetime(2023, 1, 1, tzinfo=UTC), end)))
        pipeline = memory(source, warmup=80)
        first = process(pipeline, granularity, now=end + SOON)
        before = hashes(pipeline, granularity)
        second = process(pipeline, granularity, now=end + SOON)
        assert (first.status, second.status) == ("success", "no_new_data")
        assert [summary.rows for summary in second.summaries] == [0, 0, 0, 0, 0]
        assert second.processed() == []
        assert hashes(pipeline, granularity) == before


def test_a_candle_in_quarantine_is_news() -> None:
    source = market()
    source.candles = changed(changed_source(source, "EUR_USD"), "USD_JPY", 19, volume=-1)
    pipeline = memory(source)
    assert pass_at(pipeline, 20).status == "success"
    assert pass_at(pipeline, 20).status == "no_new_data"


def changed_source(source: FrameSource, name: str) -> FrameSource:
    return FrameSource(changed(source, name, 19, volume=-1))


def test_the_answer_names_whoever_has_news() -> None:
    end = datetime(2025, 3, 14, 21, tzinfo=UTC)
    source = FrameSource(simulated(H1, NAMES, Window(end - timedelta(days=30), end)))
    pipeline = memory(source, warmup=200)
    result = process(pipeline, H1, now=end + SOON)
    answer = result.as_json()
    assert list(answer) == ["status", "processed", "duration_ms"]
    json.dumps(answer)
    with pipeline.store.reading(FOREVER) as session:
        from spike_assets.store.tables import EVENTS

        events = session.data.read(H1, EVENTS)
    assert answer["processed"] == [
        {"instrument": name, "candles_processed": 201, "events_detected": int((events["instrument"] == name).sum())}
        for name in NAMES
    ]
    assert len(events) > 20
    assert result.duration_ms > 0
    assert [summary.stage for summary in result.summaries] == ["candles", "atr", "events", "features", "alerts"]
    assert state(pipeline).total_events_detected == len(events)


def test_a_pass_is_recorded() -> None:
    source = market()
    source.candles = changed(source, "USD_JPY", 19, volume=-1)
    pipeline = replace(memory(source), clock=lambda: hour(20) + 2 * SOON)
    process(pipeline, H1, now=hour(20) + SOON, trigger="schedule")
    (row,) = recorded(pipeline)
    assert {name: row[name] for name in ("granularity", "trigger", "status", "error")} == {
        "granularity": "H1",
        "trigger": "schedule",
        "status": "success",
        "error": None,
    }
    assert (row["window_start"], row["window_end"]) == (hour(19), hour(20))
    assert (row["started_at"], row["ended_at"]) == (hour(20) + SOON, hour(20) + 2 * SOON)
    assert (row["candles"], row["events"], row["quarantined"]) == (1, 0, 1)
    assert set(json.loads(row["stages"])) == {"candles", "atr", "events", "features", "alerts"}


def test_now_is_the_clock_unless_given() -> None:
    pipeline = replace(memory(market()), clock=lambda: hour(7) + SOON)
    assert window_of(process(pipeline, H1)) == (6, 7)
    assert state(pipeline).last_run == hour(7) + SOON


# --- failures ---------------------------------------------------------------------------------------------------------


class Away(FrameSource):
    """A source that may be away."""

    error: Exception | None = None

    def fetch(self, *args: Any, **how: Any) -> Fetched:
        if self.error:
            raise self.error
        return super().fetch(*args, **how)


@pytest.mark.parametrize("error", [TransientError("the broker is away"), SourceError("no such folder")])
def test_a_failure_is_recorded_and_healed(error: Exception) -> None:
    source = Away(market().candles)
    pipeline = memory(source)
    pass_at(pipeline, 20)
    source.error = error
    for n in (1, 2, 3):
        with pytest.raises(type(error), match=str(error)):
            pass_at(pipeline, 20 + n)
        assert state(pipeline) == State(
            hour(20), hour(20 + n) + SOON, hour(20) + SOON, n, 0, live_since=hour(20) + SOON
        )
    source.error = None
    assert window_of(pass_at(pipeline, 24)) == (20, 24)
    assert state(pipeline) == State(hour(24), hour(24) + SOON, hour(24) + SOON, 0, 0, live_since=hour(20) + SOON)
    assert [row["status"] for row in recorded(pipeline)] == ["success", "failed", "failed", "failed", "success"]
    assert [row["error"] for row in recorded(pipeline)] == [None, *[str(error)] * 3, None]


def test_a_failure_of_the_very_first_pass_is_recorded() -> None:
    source = Away(market().candles)
    source.error = TransientError("the broker is away")
    pipeline = memory(source)
    with pytest.raises(TransientError):
        pass_at(pipeline, 20)
    assert state(pipeline) == State(None, hour(20) + SOON, None, 1, 0)
    source.error = None
    assert window_of(pass_at(pipeline, 25)) == (24, 25)


def test_a_failure_that_cannot_be_recorded_is_still_told(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spike_assets.pipeline.records._RECORD_FAILURE", timedelta(0))
    pipeline = make_pipeline(market(), tmp_path / "spike.duckdb", NAMES)
    pass_at(pipeline, 20)
    with (
        caplog.at_level(logging.WARNING),
        pipeline.store.writing(FOREVER, "somebody else"),
        pytest.raises(StoreLockedError, match="in use by somebody else"),
    ):
        process(pipeline, H1, now=hour(21) + SOON, deadline=Deadline.after(timedelta(0)))
    assert "the failure of a pass over H1 could not be noted" in caplog.text
    assert state(pipeline).consecutive_failures == 0


class Countdown:
    """A clock of which a test says how often it may be looked at before the time is up."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> float:
        self.looks -= 1
        return 0.0 if self.looks >= 0 else 1000.0


def test_out_of_time_anywhere_loses_nothing() -> None:
    """Whenever the deadline comes, what was done stays whole and the next pass goes on."""
    end = datetime(2025, 3, 14, 21, tzinfo=UTC)
    source = FrameSource(simulated(H1, NAMES, Window(end - timedelta(days=9), end)))
    expected = computed_hashes(source.candles, H1, end)
    stopped = set()
    for looks in range(1, 12):
        pipeline = memory(source, warmup=200)
        deadline = Deadline.after(timedelta(seconds=30), Countdown(looks))
        try:
            process(pipeline, H1, now=end + SOON, deadline=deadline)
        except DeadlineError as error:
            stopped.add(str(error).removeprefix("out of time before ").partition(";")[0])
            assert state(pipeline).consecutive_failures == 1
        process(pipeline, H1, now=end + SOON)
        assert pending_marks(pipeline, H1) == 0
        assert hashes(pipeline, H1) == expected
    assert stopped >= {"asking", "storing what came", "H1/atr", "H1/events", "H1/features"}


@pytest.mark.parametrize("before", [True, False])
def test_a_crash_at_any_commit_is_made_good_by_the_next_pass(before: bool) -> None:
    end = datetime(2025, 3, 14, 21, tzinfo=UTC)
    source = FrameSource(simulated(H1, NAMES, Window(end - timedelta(days=9), end)))
    expected = computed_hashes(source.candles, H1, end)
    crashes = 0
    for at in range(7):
        plan = CrashPlan(at, before)
        pipeline = memory(source, warmup=200)
        pipeline = replace(pipeline, store=Store(CrashingEngine(MemoryEngine(), plan)))
        try:
            process(pipeline, H1, now=end + SOON)
        except CrashError:
            crashes += 1
        plan.arm(-1, before=True)
        process(pipeline, H1, now=end + SOON)
        assert pending_marks(pipeline, H1) == 0
        assert hashes(pipeline, H1) == expected
        assert state(pipeline).last_processed == end
    assert crashes >= 5


def test_a_pass_leaves_a_log_that_a_thread_writes_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spike.duckdb"
    pipeline = make_pipeline(SimulatedSource(), path, ("EUR_USD",), warmup=30)
    process(pipeline, H1, now=hour(20) + SOON)
    tidied()
    assert not path.with_name("spike.duckdb.wal").exists()
    with pipeline.store.reading(FOREVER) as session:
        assert session.data.count(H1, CANDLES) == 31


def test_a_log_that_cannot_be_written_into_the_file_is_told_of_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spike.duckdb"
    store = open_store(str(path))
    with store.writing(FOREVER, "a test") as session, session.transaction():
        session.ops.write_state(H1, State())
    path.rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.INFO, "spike_assets.store.store"):
        store.tidy_soon()
        tidied()
    assert "was not tidied up, the next pass comes to it" in caplog.text
    assert path.with_name("spike.duckdb.wal").stat().st_size
