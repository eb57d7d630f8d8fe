"""Reconciles in Dagster: a daily job per granularity, which materialises the partitions it touched, and only these."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.defs import faults
from spike_assets.defs.partitions import partition_key
from spike_assets.defs.reconcile import reconcile_name
from spike_assets.errors import SourceError, StoreUnavailableError, TransientError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, last_closed
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import reconcile_window, time_limit
from spike_assets.store.store import Store
from spike_assets_tests.defs.running import INSTRUMENTS, QUIET, ephemeral, keys_of, memory_pipeline, metadata_of, passes
from spike_assets_tests.defs.test_assets import STAGES, FailingSource, failure_text
from spike_assets_tests.support import (
    FOREVER,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    MemoryEngine,
    computed_hashes,
    hashes,
    simulated,
)

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
LENGTH = {H1: 30, H4: 60, D: 200, W: 600}
SPRING = datetime(2025, 3, 12, 3, 35, tzinfo=UTC)
AUTUMN = datetime(2025, 11, 5, 3, 35, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)


def loaded(
    granularity: Granularity = H1,
    now: datetime = SPRING,
    until: datetime | None = None,
    engine: MemoryEngine | None = None,
) -> tuple[Pipeline, FrameSource]:
    """Give a pipeline that has every candle up to `until`, or `now`, and its source."""
    window = Window(now - timedelta(days=LENGTH[granularity]), now)
    source = FrameSource(simulated(granularity, INSTRUMENTS, Window(window.start, now + timedelta(days=1))))
    before = (until or now) - timedelta(minutes=1)
    pipeline = memory_pipeline(source, history_start=window.start, clock=lambda: before)
    pipeline = replace(pipeline, store=Store(engine)) if engine else pipeline
    backfill(pipeline, granularity, window)
    return replace(pipeline, clock=lambda: now), source


def run(
    pipeline: Pipeline, instance: dg.DagsterInstance, granularity: Granularity = H1, *, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    job = build_defs(pipeline=pipeline).resolve_job_def(reconcile_name(granularity))
    return job.execute_in_process(QUIET, instance, raise_on_error=raise_on_error)


def shown(result: dg.ExecuteInProcessResult, name: str) -> str:
    (output,) = result.filter_events(lambda event: event.is_successful_output)
    return str(output.step_output_data.metadata[name].value)


@EVERY
@pytest.mark.parametrize("now", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_touched_partitions_are_materialised_and_only_these(
    granularity: Granularity, now: datetime, instance: dg.DagsterInstance
) -> None:
    pipeline, source = loaded(granularity, now)
    window = reconcile_window(granularity, now)
    inside = (source.candles["time"] >= window.start) & (source.candles["time"] < window.end)
    first = source.candles[inside].index[0]
    source.candles.loc[first, "high"] *= 1.01
    assert run(pipeline, instance, granularity).success

    keys = keys_of(granularity, window)
    candles = metadata_of(instance, f"{granularity.schema}/candles")
    assert candles.keys() == {keys[0]}
    assert (candles[keys[0]]["changed"].value, candles[keys[0]]["reconciled"].value) == (1, True)
    atr = metadata_of(instance, f"{granularity.schema}/atr")
    assert list(atr) == keys_touched(atr, keys)
    assert {numbers["changed"].value for numbers in atr.values()} == {1}
    closed = source.candles[source.candles["time"] < last_closed(granularity, now).end]
    assert hashes(pipeline, granularity) == computed_hashes(closed, granularity, now)


def keys_touched(found: Mapping[str, object], keys: list[str]) -> list[str]:
    """Give the keys of a window that were found, newest first; there is at least one."""
    assert found
    return [key for key in reversed(keys) if key in found]


def test_the_run_tells_what_changed_and_a_second_one_that_nothing_did(instance: dg.DagsterInstance) -> None:
    pipeline, source = loaded()
    first = reconcile_window(H1, SPRING).start
    source.candles.loc[source.candles["time"] == first, "volume"] += 1
    result = run(pipeline, instance)
    lines = shown(result, "changed").splitlines()
    assert lines[:3] == [
        "| table | added | updated | removed | first (UTC) | last (UTC) |",
        "| --- | --- | --- | --- | --- | --- |",
        "| candles | 0 | 3 | 0 | 2025-03-05 03:00 | 2025-03-05 03:00 |",
    ]
    assert (shown(result, "status"), shown(result, "quarantined")) == ("success", "0")
    assert shown(result, "window") == "2025-03-05 03:00 – 2025-03-12 03:00 UTC"
    materialised = len(metadata_of(instance, "h1/candles"))
    again = run(pipeline, instance)
    assert (shown(again, "status"), shown(again, "changed")) == ("no_new_data", "nothing changed")
    assert len(metadata_of(instance, "h1/candles")) == materialised == 1
    assert [each["trigger"] for each in passes(pipeline)] == ["backfill", "reconcile", "reconcile"]


def test_an_empty_store_is_left_alone(instance: dg.DagsterInstance) -> None:
    result = run(memory_pipeline(), instance)
    assert (shown(result, "status"), shown(result, "changed")) == ("no_new_data", "nothing changed")
    assert not any(metadata_of(instance, f"h1/{stage}") for stage in STAGES)


def test_what_has_no_partition_is_not_told_of(instance: dg.DagsterInstance) -> None:
    pipeline, source = loaded()
    window = reconcile_window(H1, SPRING)
    source.candles.loc[source.candles["time"] >= window.start, "volume"] += 1
    start = datetime(2025, 3, 10, tzinfo=UTC)
    run(replace(pipeline, history_start=start), instance)
    assert metadata_of(instance, "h1/candles").keys() == set(keys_of(H1, Window(start, window.end)))


def test_what_no_pass_had_come_to_is_there_for_every_asset(instance: dg.DagsterInstance) -> None:
    pipeline, _ = loaded(until=SPRING - timedelta(hours=2))
    run(pipeline, instance)
    missed = set(keys_of(H1, Window(SPRING - timedelta(hours=2, minutes=35), SPRING - timedelta(minutes=35))))
    assert len(missed) == 2
    for stage in STAGES:
        assert metadata_of(instance, f"h1/{stage}").keys() >= missed
    assert metadata_of(instance, "h1/candles").keys() == missed


def failing(pipeline: Pipeline, source: FrameSource, *errors: SourceError | TransientError) -> FailingSource:
    broken = FailingSource(*errors)
    broken.candles = source.candles
    object.__setattr__(pipeline, "source", broken)
    return broken


def test_a_transient_fault_is_tried_again_under_the_same_deadline(instance: dg.DagsterInstance) -> None:
    pipeline, source = loaded()
    broken = failing(pipeline, source, *[TransientError("the broker is away")] * 2)
    source.candles.loc[source.candles["time"] == reconcile_window(H1, SPRING).start, "volume"] += 1
    assert run(pipeline, instance).success
    assert len({deadline.at for deadline in broken.deadlines}) == 1
    assert len(broken.deadlines) == 3
    assert [each["status"] for each in passes(pipeline)][1:] == ["failed", "failed", "success"]
    assert len(metadata_of(instance, "h1/candles")) == 1


def test_a_transient_fault_that_stays_fails_after_the_retries(instance: dg.DagsterInstance) -> None:
    pipeline, source = loaded()
    broken = failing(pipeline, source, *[TransientError("the broker is away")] * 9)
    assert failure_text(run(pipeline, instance, raise_on_error=False)) == "the broker is away"
    assert len(broken.deadlines) == 1 + H1.retries


def test_a_permanent_fault_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    pipeline, source = loaded()
    broken = failing(pipeline, source, SourceError("the token is wrong"))
    assert failure_text(run(pipeline, instance, raise_on_error=False)) == "the token is wrong"
    assert len(broken.deadlines) == 1


class Full(CrashPlan):
    """A disk that is full from a commit on."""

    def die(self) -> None:
        raise StoreUnavailableError("the disk is full")


def test_what_was_stored_before_a_fault_is_told_of(instance: dg.DagsterInstance) -> None:
    engine, plan = MemoryEngine(), Full()
    pipeline, source = loaded(engine=engine)
    first = reconcile_window(H1, SPRING).start
    source.candles.loc[source.candles["time"] == first, "high"] *= 1.01
    full = replace(pipeline, store=Store(CrashingEngine(engine, plan)))
    with full.store.reading(FOREVER):  # the schema stands before the first commit that is counted
        pass
    plan.arm(2, before=True)
    assert failure_text(run(full, instance, raise_on_error=False)) == "the disk is full"
    assert metadata_of(instance, "h1/candles").keys() == {partition_key(H1, first)}
    assert not metadata_of(instance, "h1/atr")
    assert run(pipeline, instance).success
    assert len(metadata_of(instance, "h1/candles")) == 1
    assert len(metadata_of(instance, "h1/atr")) > 100


@EVERY
def test_jobs_are_declared_like_passes(granularity: Granularity) -> None:
    job = build_defs(pipeline=memory_pipeline()).resolve_job_def(f"{granularity.schema}_reconcile")
    assert job.executor_def is dg.in_process_executor
    assert float(job.run_tags["dagster/max_runtime"]) >= time_limit(granularity).total_seconds()
    assert [node.retry_policy for node in job.nodes] == [None]


def test_schedules_are_daily_and_meet_neither_one_another_nor_a_tick() -> None:
    repository = build_defs(pipeline=memory_pipeline()).get_repository_def()
    crons = {}
    for granularity in GRANULARITIES.values():
        schedule = repository.get_schedule_def(f"{granularity.schema}_reconcile_schedule")
        assert schedule.job_name == reconcile_name(granularity)
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert (schedule.execution_timezone, bool(schedule.description)) == ("UTC", True)
        crons[granularity.name] = schedule.cron_schedule
    assert crons == {"H1": "35 3 * * *", "H4": "40 3 * * *", "D": "45 3 * * *", "W": "50 3 * * *"}
