"""What is remembered of a pass from its start to its end, whoever ends it."""

import os
import socket
from dataclasses import replace
from datetime import timedelta

import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, backfill, process, records
from spike_assets.pipeline.status import status
from spike_assets.sources.base import Fetched
from spike_assets.store.ops import Running, State
from spike_assets_tests.pipeline.markets import SOON, hour, hours_stored, lose_state, market, memory, state
from spike_assets_tests.pipeline.test_passes import recorded
from spike_assets_tests.processes import run
from spike_assets_tests.support import FOREVER, FrameSource

LIMIT = timedelta(seconds=30)


class Looking(FrameSource):
    """A source that looks at the store while it is asked, as somebody else would."""

    pipeline: Pipeline
    seen: State | None = None
    shown: str = ""
    error: BaseException | None = None

    def fetch(self, *arguments: object, **options: object) -> Fetched:
        self.seen = state(self.pipeline)
        self.shown = str(status(self.pipeline, now=hour(20) + SOON).granularities[0].running_since)
        if self.error:
            raise self.error
        return super().fetch(*arguments, **options)  # type: ignore[arg-type]


def looking() -> tuple[Pipeline, Looking]:
    source = Looking(market().candles)
    pipeline = replace(memory(source), clock=lambda: hour(20) + SOON)
    source.pipeline = pipeline
    return pipeline, source


def begin(pipeline: Pipeline, running: Running) -> None:
    with pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        records.begin(session, H1, running)


def gone() -> None:
    """Nothing: a process that has been."""


def a_dead_process() -> str:
    run(gone)
    # Whatever number the next process gets, none has the highest one there can be.
    return f"{socket.gethostname()}/{2**22}"


def test_a_pass_says_that_it_has_begun_before_it_asks_anybody() -> None:
    pipeline, source = looking()
    process(pipeline, H1, trigger="schedule")
    assert source.seen is not None
    assert source.seen.running is not None
    running = source.seen.running
    assert (running.trigger, running.since) == ("schedule", hour(20) + SOON)
    assert timedelta(0) < running.until - running.since <= H1.timeout
    assert running.process == f"{socket.gethostname()}/{os.getpid()}"
    assert source.shown == str(hour(20) + SOON)
    assert state(pipeline).running is None
    assert [row["pass_id"] for row in recorded(pipeline)] == [running.pass_id]


@pytest.mark.parametrize("error", [RuntimeError("a fault\nin spike"), ZeroDivisionError("1 / 0")])
def test_a_fault_of_our_own_is_a_failed_pass(error: Exception) -> None:
    pipeline, source = looking()
    source.error = error
    with pytest.raises(type(error)):
        process(pipeline, H1)
    (row,) = recorded(pipeline)
    assert (row["status"], row["error"]) == ("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
    assert state(pipeline).consecutive_failures == 1
    assert state(pipeline).running is None


def test_a_process_that_is_gone_has_crashed_and_the_next_pass_says_so() -> None:
    pipeline, _ = looking()
    dead = Running("schedule", hour(19) + SOON, hour(19) + SOON + LIMIT, a_dead_process())
    begin(pipeline, dead)
    shown = status(pipeline, now=hour(19) + SOON).granularities[0]
    assert (shown.running_since, shown.crashed) == (None, hour(19) + SOON)
    assert "H1 crashed (the pass of 2025-03-10 19:05 UTC never came back)" in shown.reasons()
    process(pipeline, H1)
    crashed, done = recorded(pipeline)
    assert (crashed["status"], crashed["pass_id"]) == ("crashed", dead.pass_id)
    assert (crashed["started_at"], crashed["ended_at"]) == (hour(19) + SOON, hour(20) + SOON)
    assert "never came back" in crashed["error"]
    assert done["status"] == "success"
    assert state(pipeline).consecutive_failures == 0


def test_a_process_elsewhere_has_crashed_when_its_time_is_up() -> None:
    elsewhere = Running("function", hour(19), hour(19) + LIMIT, "another-host/1")
    assert not records.crashed(elsewhere, hour(19) + LIMIT)
    assert records.crashed(elsewhere, hour(19) + LIMIT + timedelta(microseconds=1))


def test_somebody_elses_process_is_alive() -> None:
    assert not records.crashed(Running("cli", hour(19), hour(20), f"{socket.gethostname()}/1"), hour(19))


def test_a_crash_counts_as_a_failure_until_a_pass_goes_well() -> None:
    pipeline, source = looking()
    begin(pipeline, Running("schedule", hour(19), hour(19) + LIMIT, a_dead_process()))
    source.error = RuntimeError("again")
    with pytest.raises(RuntimeError):
        process(pipeline, H1)
    assert state(pipeline).consecutive_failures == 2


def test_whoever_ends_leaves_another_pass_under_way_alone() -> None:
    pipeline, _ = looking()
    first = records.starting("cli", hour(20), LIMIT)
    second = records.starting("schedule", hour(20), LIMIT)
    begin(pipeline, first)
    begin(pipeline, second)
    records.failure(pipeline, H1, first, RuntimeError("no"))
    assert state(pipeline).running == second
    records.failure(pipeline, H1, second, RuntimeError("no"))
    assert state(pipeline).running is None


def test_a_lost_state_goes_on_behind_the_newest_candle_even_if_the_next_pass_fails() -> None:
    pipeline, source = looking()
    process(pipeline, H1)
    lose_state(pipeline)
    source.error = RuntimeError("away")
    with pytest.raises(RuntimeError):
        process(pipeline, H1, now=hour(25) + SOON)
    assert state(pipeline).last_processed == hour(20)


def test_a_backfill_under_way_does_not_take_the_live_passes_back() -> None:
    """Its candles are older than the first live one, and nobody's gap."""
    pipeline, source = looking()
    stored: list[int] = []

    def tick(_: object) -> None:
        if not stored:
            stored.append(1)
            process(pipeline, H1)
            stored[:] = hours_stored(pipeline, "EUR_USD")

    backfill.backfill(pipeline, H1, Window(hour(2), hour(5)), progress=tick)
    assert stored == [19]
    assert hours_stored(pipeline, "EUR_USD") == [2, 3, 4, 19]
    assert state(pipeline).last_processed == hour(20)
    assert source.seen is not None


def test_a_backfill_leaves_the_live_passes_count_of_failures_and_times_alone() -> None:
    pipeline, source = looking()
    process(pipeline, H1)
    source.error = RuntimeError("away")
    with pytest.raises(RuntimeError):
        process(pipeline, H1, now=hour(21) + SOON)
    source.error = None
    before = state(pipeline)
    assert before.consecutive_failures == 1
    backfill.backfill(replace(pipeline, clock=lambda: hour(19)), H1, Window(hour(2), hour(5)))
    assert state(pipeline) == before
    with pytest.raises(KeyboardInterrupt):
        backfill.backfill(pipeline, H1, Window(hour(2), hour(6)), progress=interrupt)
    assert state(pipeline) == before
    beside = [(row["status"], row["error"]) for row in recorded(pipeline) if row["trigger"] == "backfill"]
    assert beside == [("success", None), ("failed", "interrupted")]


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def test_a_pass_that_is_killed_while_another_one_is_under_way_is_not_forgotten() -> None:
    pipeline, _ = looking()
    dead = Running("schedule", hour(20), hour(20) + LIMIT, a_dead_process())
    begin(pipeline, dead)
    with pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        session.ops.write_state(H1, replace(state(pipeline), running=records.starting("reconcile", hour(20), LIMIT)))
    process(pipeline, H1)
    assert [(row["trigger"], row["status"]) for row in recorded(pipeline)] == [
        ("schedule", "crashed"),
        ("cli", "success"),
    ]


def test_a_pass_that_is_interrupted_says_so() -> None:
    pipeline, source = looking()
    source.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        process(pipeline, H1)
    assert [(row["status"], row["error"]) for row in recorded(pipeline)] == [("failed", "interrupted")]
    assert state(pipeline).running is None


def test_a_pass_under_way_is_among_the_passes() -> None:
    pipeline, _ = looking()
    running = records.starting("cli", hour(20), LIMIT)
    begin(pipeline, running)
    (row,) = recorded(pipeline)
    assert (row["status"], row["process"], row["ended_at"]) == ("running", running.process, running.until)
