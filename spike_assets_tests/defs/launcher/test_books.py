"""What Dagster is told of a run whose process died, wherever it was in telling of its own end."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.events import JobFailureData
from dagster._time import get_current_datetime

from spike_assets.defs.launcher import books


@dg.job
def nothing() -> None:
    """Have no ops: nothing runs here."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, status: DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, status=status)


def events(instance: dg.DagsterInstance, told: dg.DagsterRun) -> list[str]:
    """Give how the log says that a run ended."""
    ends = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_CANCELED}
    return [entry.get_dagster_event().event_type_value for entry in instance.all_logs(told.run_id, of_type=ends)]


def tell(instance: dg.DagsterInstance, of: dg.DagsterRun) -> DagsterRunStatus:
    """Tell of a run as it is stored, and give what it is then."""
    stored = instance.get_run_by_id(of.run_id)
    assert stored
    books.tell_of_crash(instance, stored, "it died")
    ended = instance.get_run_by_id(of.run_id)
    assert ended
    return ended.status


def test_one_at_work_has_failed(instance: dg.DagsterInstance) -> None:
    died = run(instance, DagsterRunStatus.STARTED)
    assert tell(instance, died) == DagsterRunStatus.FAILURE
    assert events(instance, died) == ["PIPELINE_FAILURE"]
    assert tell(instance, died) == DagsterRunStatus.FAILURE
    assert events(instance, died) == ["PIPELINE_FAILURE"], "once is enough"


def test_one_that_was_to_end_is_canceled(instance: dg.DagsterInstance) -> None:
    died = run(instance, DagsterRunStatus.CANCELING)
    assert tell(instance, died) == DagsterRunStatus.CANCELED
    assert events(instance, died) == ["PIPELINE_CANCELED"]


def test_what_the_log_says_is_how_it_ended(instance: dg.DagsterInstance) -> None:
    died = run(instance, DagsterRunStatus.STARTED)
    succeeded = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, died.job_name)
    instance.report_dagster_event(succeeded, died.run_id)
    begun = DagsterEvent(DagsterEventType.RUN_START.value, died.job_name)
    instance.run_storage.handle_run_event(died.run_id, begun, get_current_datetime())
    assert tell(instance, died) == DagsterRunStatus.SUCCESS
    assert events(instance, died) == ["PIPELINE_SUCCESS"]


def test_a_failure_that_only_the_status_knew_is_in_the_log_then(instance: dg.DagsterInstance) -> None:
    died = run(instance, DagsterRunStatus.STARTED)
    failed = DagsterEvent(DagsterEventType.RUN_FAILURE.value, died.job_name, event_specific_data=JobFailureData(None))
    instance.run_storage.handle_run_event(died.run_id, failed, get_current_datetime())
    assert events(instance, died) == []
    assert tell(instance, died) == DagsterRunStatus.FAILURE
    assert events(instance, died) == ["PIPELINE_FAILURE"]
