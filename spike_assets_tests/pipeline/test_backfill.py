"""Backfills: in chunks, resumable after anything, ending in what one clean run ends in."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets import market_hours
from spike_assets.errors import SourceError
from spike_assets.granularity import H1, D
from spike_assets.market_hours import Window, candle_times
from spike_assets.pipeline import Pipeline, process, records
from spike_assets.pipeline import backfill as module
from spike_assets.pipeline.backfill import Progress, backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.store import Store
from spike_assets.store.tables import Column
from spike_assets_tests.cli.running import finish, start, stop_leftovers, wait_for
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
    simulated,
)

INSTRUMENTS = ("EUR_USD", "USD_JPY")
WINDOW = Window(datetime(2026, 2, 23, tzinfo=UTC), datetime(2026, 3, 24, tzinfo=UTC))  # New York changes its clocks
NOW = datetime(2026, 3, 25, tzinfo=UTC)
_STATUS = (Column("status", "text", ""),)
TIMES = len(candle_times(H1, WINDOW))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_TIMES", 100)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    stop_leftovers()


@pytest.fixture(scope="module")
def candles() -> FrameSource:
    return FrameSource(simulated(H1, INSTRUMENTS, WINDOW))


@pytest.fixture
def source(candles: FrameSource) -> FrameSource:
    return FrameSource(candles.candles.copy())


def pipeline_over(source: object, engine: object | None = None, **settings: object) -> Pipeline:
    store = Store(engine or MemoryEngine())  # type: ignore[arg-type]
    return make_pipeline(source, store, INSTRUMENTS, **({"clock": lambda: NOW} | settings))


def wanted(source: FrameSource) -> dict[str, str]:
    return computed_hashes(source.candles, H1, NOW)


def test_a_backfill_is_one_clean_run_over_the_window(source: FrameSource) -> None:
    pipeline = pipeline_over(source)
    steps: list[Progress] = []
    result = backfill(pipeline, H1, WINDOW, progress=steps.append)
    assert hashes(pipeline, H1) == wanted(source)
    assert pending_marks(pipeline, H1) == 0
    assert [step.done for step in steps] == [*range(0, TIMES, 100), TIMES]
    assert {step.total for step in steps} == {TIMES}
    assert (steps[0].until, steps[-1].until) == (WINDOW.start, WINDOW.end)
    assert (result.window, result.resumed_at) == (WINDOW, None)
    assert {name: stored for name, (stored, _) in result.by_instrument.items()} == dict.fromkeys(INSTRUMENTS, TIMES)
    assert [(s.stage, s.added, s.removed) for s in result.totals[:2]] == [
        ("candles", 2 * TIMES, 0),
        ("atr", 2 * TIMES, 0),
    ]


def test_each_chunk_is_asked_for_once_and_they_adjoin(source: FrameSource) -> None:
    backfill(pipeline_over(source), H1, WINDOW)
    windows = [asked["EUR_USD"] for asked in source.asked]
    assert windows[0].start == WINDOW.start
    assert windows[-1].end == WINDOW.end
    assert [w.end for w in windows[:-1]] == [w.start for w in windows[1:]]
    assert [len(candle_times(H1, w)) for w in windows[:-1]] == [100] * (len(windows) - 1)


def test_a_second_one_changes_nothing_and_says_so(source: FrameSource) -> None:
    pipeline = pipeline_over(source)
    backfill(pipeline, H1, WINDOW)
    before = hashes(pipeline, H1)
    again = backfill(pipeline, H1, WINDOW)
    assert (again.by_instrument, again.resumed_at) == ({}, None)
    assert sum(summary.rows for summary in again.totals) == 0
    assert hashes(pipeline, H1) == before
    with pipeline.store.reading(FOREVER) as session:
        noted = session._connection.frame("SELECT status FROM ops.passes WHERE trigger = 'backfill'", _STATUS)
    assert sorted(noted["status"]) == ["no_new_data", "success"]


def test_corrections_and_late_candles_come_in(source: FrameSource) -> None:
    pipeline = pipeline_over(
        FrameSource(source.candles.drop(index=[150, 151]).assign(volume=lambda f: f["volume"] + 1))
    )
    backfill(pipeline, H1, WINDOW)
    later = replace(pipeline, source=source, clock=lambda: NOW + timedelta(hours=1))
    result = backfill(later, H1, WINDOW)
    assert (result.totals[0].added, result.totals[0].updated) == (2, 2 * TIMES - 2)
    assert hashes(pipeline, H1) == wanted(source)


def test_the_window_ends_at_the_last_closed_candle(source: FrameSource) -> None:
    now = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    result = backfill(pipeline_over(source, clock=lambda: now), H1, WINDOW)
    assert result.window == Window(WINDOW.start, datetime(2026, 3, 10, 12, tzinfo=UTC))


def test_a_window_without_candles_is_done_at_once(source: FrameSource) -> None:
    saturday = Window(datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC))
    steps: list[Progress] = []
    result = backfill(pipeline_over(source), H1, saturday, progress=steps.append)
    assert result.by_instrument == {}
    assert {(step.done, step.total) for step in steps} == {(0, 0)}


def test_passes_go_on_behind_it(source: FrameSource) -> None:
    pipeline = pipeline_over(source)
    half = datetime(2026, 3, 10, 12, tzinfo=UTC)
    backfill(replace(pipeline, clock=lambda: half), H1, WINDOW)
    result = process(pipeline, H1)
    assert result.window.start == half
    assert hashes(pipeline, H1) == wanted(source)


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_a_source_that_fails_midway_leaves_what_is_done_and_the_same_call_goes_on(
    source: FrameSource, chunk: int
) -> None:
    pipeline = pipeline_over(FailingSource(source.candles, chunk))
    with pytest.raises(SourceError, match="the folder went away"):
        backfill(pipeline, H1, WINDOW)
    steps: list[Progress] = []
    result = backfill(replace(pipeline, source=source), H1, WINDOW, progress=steps.append)
    assert steps[0].done == 100 * chunk
    assert (result.resumed_at is None) == (chunk == 0)
    assert hashes(pipeline, H1) == wanted(source)


class FailingSource(FrameSource):
    def __init__(self, candles: object, chunk: int) -> None:
        super().__init__(candles)  # type: ignore[arg-type]
        self.left = chunk

    def fetch(self, *args: object, **how: object) -> object:  # type: ignore[override]
        if not self.left:
            raise SourceError("the folder went away")
        self.left -= 1
        return super().fetch(*args, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", [0, 4, 7, 23])
def test_an_exception_at_any_commit_loses_nothing(source: FrameSource, at: int, before: bool) -> None:
    plan = CrashPlan()
    engine = MemoryEngine()
    crashing = pipeline_over(source, CrashingEngine(engine, plan))
    with crashing.store.reading(FOREVER):  # the schema stands before the first commit that is counted
        pass
    plan.arm(at, before=before)
    with pytest.raises(CrashError):
        backfill(crashing, H1, WINDOW)
    pipeline = pipeline_over(source, engine)
    backfill(pipeline, H1, WINDOW)
    assert hashes(pipeline, H1) == wanted(source)
    assert pending_marks(pipeline, H1) == 0


def test_another_window_or_other_instruments_do_not_resume_it(source: FrameSource) -> None:
    pipeline = pipeline_over(FailingSource(source.candles, 2))
    with pytest.raises(SourceError):
        backfill(pipeline, H1, WINDOW)
    whole = replace(pipeline, source=source)
    later = Window(WINDOW.start + timedelta(days=1), WINDOW.end)
    assert backfill(whole, H1, later).resumed_at is None
    assert backfill(replace(whole, instruments=INSTRUMENTS[:1]), H1, WINDOW).resumed_at is None
    assert backfill(whole, H1, WINDOW).resumed_at is not None


def test_older_history_behind_newer_is_the_same_as_both_at_once(source: FrameSource) -> None:
    pipeline = pipeline_over(source)
    middle = datetime(2026, 3, 10, 7, tzinfo=UTC)
    backfill(pipeline, H1, Window(middle, WINDOW.end))
    backfill(pipeline, H1, Window(WINDOW.start, middle))
    assert hashes(pipeline, H1) == wanted(source)


def test_kill_9_of_a_real_backfill_and_the_same_command_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("SPIKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD")
    window = Window(datetime(2010, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
    command = ("backfill", "H1", "--from", "2010-01-01", "--to", "2020-01-01")
    process = start(*command)
    wait_for(process, "%  2010-10-")
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    code, out, err = finish(start(*command))
    assert code == 0, err
    assert "H1: resumed at 201" in out
    pipeline = make_pipeline(SimulatedSource(), tmp_path / "data" / "simulated.duckdb", ("EUR_USD",))
    assert hashes(pipeline, H1) == computed_hashes(simulated(H1, ("EUR_USD",), window), H1, NOW)


def test_partial_candles_at_the_end_wait_for_their_close() -> None:
    tuesday_noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    pipeline = pipeline_over(SimulatedSource(), clock=lambda: tuesday_noon)
    result = backfill(pipeline, D, Window(WINDOW.start, tuesday_noon))
    assert result.window.end == market_hours.last_closed(D, tuesday_noon).end


def test_history_before_the_partitions_does_not_hold_the_passes_up() -> None:
    """Candles between the backfill's end and `SPIKE_HISTORY_START` have no partition and are nobody's gap."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    pipeline = make_pipeline(SimulatedSource(), Store(MemoryEngine()), ("EUR_USD",), history_start=start)
    backfill(pipeline, H1, Window(datetime(2024, 12, 2, tzinfo=UTC), datetime(2024, 12, 6, tzinfo=UTC)))
    window = Window(start, start + timedelta(hours=2))
    with pipeline.changing(H1, FOREVER, "a test") as session, session.transaction():
        running = records.starting("schedule", window.end, timedelta(seconds=30))
        records.success(session, pipeline, H1, running, window, "no_new_data", [])
        assert records.last_processed(session, H1) == window.end
