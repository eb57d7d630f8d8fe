"""A run that failed is told of once, in one line, with how often in a row its job has failed."""

import logging
from collections.abc import Iterator

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.defs import faults, sensors
from spike_assets.defs.sensors import Failed, failed_passes, failure_of
from spike_assets.errors import SourceError, TransientError
from spike_assets.pipeline import Pipeline
from spike_assets_tests.defs.running import KEYS, QUIET, ephemeral, market, memory_pipeline, run
from spike_assets_tests.defs.test_assets import FailingSource

AWAY = "the broker is away"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)


def fail(instance: dg.DagsterInstance, keys: list[str] = KEYS[:1], why: str = "the token is wrong") -> dg.DagsterRun:
    result = run(memory_pipeline(FailingSource(SourceError(why))), keys, instance, raise_on_error=False)
    assert not result.success
    return result.dagster_run


def context_of(instance: dg.DagsterInstance, failed: dg.DagsterRun) -> dg.RunFailureSensorContext:
    (event,) = instance.get_records_for_run(failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert event.event_log_entry.dagster_event
    return dg.build_run_status_sensor_context(
        "failed_passes", event.event_log_entry.dagster_event, instance, failed
    ).for_run_failure()


def test_a_failure_is_told_in_its_own_words(instance: dg.DagsterInstance) -> None:
    failed = fail(instance)
    assert failure_of(context_of(instance, failed)) == Failed(
        job="h1_pass", run_id=failed.run_id, partitions=KEYS[0], in_a_row=1, reason="the token is wrong"
    )


def test_a_fault_of_our_own_is_one_line_too(instance: dg.DagsterInstance) -> None:
    broken = FailingSource(ZeroDivisionError("1 / 0\nand more"))  # type: ignore[arg-type]
    result = run(memory_pipeline(broken), KEYS[:1], instance, raise_on_error=False)
    assert failure_of(context_of(instance, result.dagster_run)).reason == "ZeroDivisionError: 1 / 0"


def test_a_run_whose_process_died_is_told_in_dagsters_words(instance: dg.DagsterInstance) -> None:
    job = build_defs(pipeline=memory_pipeline()).resolve_job_def("h1_pass")
    lost = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(lost, "Detected run worker status UNKNOWN.\nMarking run as failed.")
    failed = failure_of(context_of(instance, lost))
    assert (failed.reason, failed.partitions) == ("Detected run worker status UNKNOWN.", None)
    killed = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Run execution process for x was terminated by signal 9 (SIGKILL).", killed)
    instance.report_run_failed(killed)
    instance.report_engine_event("Retrying the run", killed)
    failed = failure_of(context_of(instance, killed))
    assert failed.reason == "Run execution process for x was terminated by signal 9 (SIGKILL)."
    silent = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(silent)
    assert failure_of(context_of(instance, silent)).reason.startswith("This run has been marked as failed")


def test_failures_in_a_row_are_counted_up_to_the_one_told_of(instance: dg.DagsterInstance) -> None:
    def in_a_row(failed: dg.DagsterRun) -> int:
        return failure_of(context_of(instance, failed)).in_a_row

    fail(instance)
    assert run(memory_pipeline(), KEYS[:1], instance).success
    first, second = fail(instance), fail(instance, KEYS[:2])
    job = build_defs(pipeline=memory_pipeline()).resolve_job_def("h1_pass")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.CANCELED)
    third = fail(instance)
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    other = build_defs(pipeline=memory_pipeline()).resolve_job_def("h4_pass")
    instance.create_run_for_job(other, status=dg.DagsterRunStatus.SUCCESS)
    assert [in_a_row(each) for each in (first, second, third)] == [1, 2, 3]


def test_at_most_fifty_runs_are_looked_through(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "MOST_COUNTED", 2)
    first, _, third = [fail(instance) for _ in range(3)]
    assert failure_of(context_of(instance, third)).in_a_row == 2
    assert failure_of(context_of(instance, first)).in_a_row == 1


def test_a_range_run_names_both_ends(instance: dg.DagsterInstance) -> None:
    failed = failure_of(context_of(instance, fail(instance, KEYS[:3])))
    assert failed.partitions == f"{KEYS[0]} … {KEYS[2]}"


def test_the_line_that_is_written(instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture) -> None:
    fail(instance)
    failed = fail(instance)
    caplog.clear()
    sensor = failed_passes()
    sensor(context_of(instance, failed))
    lines = [
        (record.name, record.levelno, record.getMessage())
        for record in caplog.records
        if record.name.startswith("spike_assets")
    ]
    told = f"h1_pass failed at {KEYS[0]}, 2 times in a row: the token is wrong (run {failed.run_id[:8]})"
    assert lines == [("spike_assets.defs.sensors", logging.ERROR, told)]


def tick(pipeline: Pipeline, instance: dg.DagsterInstance, cursor: str | None, told: list[Failed]) -> str | None:
    """Evaluate the sensor as its daemon does, and give the new cursor."""
    defs = build_defs(pipeline=pipeline)
    repository = dg.Definitions(
        assets=defs.assets, jobs=defs.jobs, resources=defs.resources, sensors=[failed_passes(told.append)]
    ).get_repository_def()
    sensor = repository.get_sensor_def("failed_passes")
    with dg.build_sensor_context(instance, cursor, repository_def=repository) as context:
        answer = sensor.evaluate_tick(context)
    assert not answer.run_requests
    return answer.cursor


def test_every_failed_run_is_told_of_once_whatever_launched_it(instance: dg.DagsterInstance) -> None:
    pipeline = memory_pipeline(FailingSource(*[SourceError("no")] * 2, *[TransientError(AWAY)] * 3))
    told: list[Failed] = []
    cursor = tick(pipeline, instance, None, told)
    defs = build_defs(pipeline=pipeline)
    run(pipeline, KEYS[:1], instance, raise_on_error=False)
    whole = defs.resolve_implicit_global_asset_job_def()
    whole.execute_in_process(
        QUIET,
        instance,
        KEYS[0],
        asset_selection=[dg.AssetKey(["h1", "candles"])],
        tags={"dagster/backfill": "b"},
        raise_on_error=False,
    )
    run(pipeline, KEYS[:1], instance, raise_on_error=False)
    run(pipeline, KEYS[:1], instance)
    cursor = tick(pipeline, instance, cursor, told)
    while (after := tick(pipeline, instance, cursor, told)) != cursor:
        cursor = after
    assert [(each.job, each.in_a_row, each.reason) for each in told] == [
        ("h1_pass", 1, "no"),
        (whole.name, 1, "no"),
        ("h1_pass", 2, AWAY),
    ]


def test_reconciles_are_watched_too(instance: dg.DagsterInstance) -> None:
    pipeline = memory_pipeline(market())
    told: list[Failed] = []
    cursor = tick(pipeline, instance, None, told)
    run(pipeline, KEYS[:1], instance)
    object.__setattr__(pipeline, "source", FailingSource(SourceError("no")))
    job = build_defs(pipeline=pipeline).resolve_job_def("h1_reconcile")
    job.execute_in_process(QUIET, instance, raise_on_error=False)
    tick(pipeline, instance, cursor, told)
    assert [(each.job, each.partitions, each.reason) for each in told] == [("h1_reconcile", None, "no")]


def test_the_sensor_runs_unless_somebody_stops_it() -> None:
    sensor = build_defs(pipeline=memory_pipeline()).get_repository_def().get_sensor_def("failed_passes")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30
    assert not list(sensor.targets)
