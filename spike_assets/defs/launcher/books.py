"""What Dagster is told of a run whose process has died."""

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import JobFailureData
from dagster._time import datetime_from_timestamp, get_current_datetime
from dagster._utils import get_run_crash_explanation

_ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}


def tell_of_crash(instance: DagsterInstance, run: DagsterRun, explanation: str) -> None:
    """Have a run end whose process has died: failed, or canceled if it was to end.

    Where its log says how it ended, it ends like that: of all but a failure the log is written first, and the run's
    status after it. Where its status says that it failed, and its log does not, its log does from now on.
    """
    ends = instance.all_logs(run.run_id, of_type=_ENDS)
    if ends and not run.is_finished:
        event, at = ends[-1].get_dagster_event(), datetime_from_timestamp(ends[-1].timestamp)
        instance.run_storage.handle_run_event(run.run_id, event, at)
    if ends:
        return
    if run.is_finished:
        if run.status == DagsterRunStatus.FAILURE:  # killed between the two: without an event nobody tries it again
            instance.report_run_failed(run)
        return
    instance.report_engine_event(explanation, run)
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
        return
    # The status goes first here: whoever retries runs passes over a failure whose run is still under way.
    failed = DagsterEvent(DagsterEventType.RUN_FAILURE.value, run.job_name, event_specific_data=JobFailureData(None))
    instance.run_storage.handle_run_event(run.run_id, failed, get_current_datetime())
    instance.report_run_failed(run)


def explanation(run_id: str, exit_code: int) -> str:
    """Give how a run's process died, as Dagster says it."""
    return get_run_crash_explanation(f"Run execution process for {run_id}", exit_code)
