"""Watches runs: one that failed is told of, in one line, with how often in a row it did."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile

import dagster as dg

from spike_assets.defs.faults import own_words
from spike_assets.defs.schedules import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

MOST_COUNTED = 50
"""Runs of a job that are looked through for how often in a row it failed."""

_FAILED_FROM_OUTSIDE = "This run has been marked as failed from outside the execution context."
"""Dagster's words where it has none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failed:
    """A run that failed.

    Attributes
    ----------
    job
        Name of its job; Dagster's own for what is launched from the asset graph and for backfills of assets.
    partitions
        The partition, or the first and the last of a range; None for a run without any.
    in_a_row
        How many runs of the job have failed since one went well, this one included; at most `MOST_COUNTED`.
    reason
        The failure's own words, one line.
    """

    job: str
    run_id: str
    partitions: str | None
    in_a_row: int
    reason: str

    def __str__(self) -> str:
        about = f" at {self.partitions}" if self.partitions else ""
        times = "" if self.in_a_row == 1 else f", {self.in_a_row} times in a row"
        return f"{self.job} failed{about}{times}: {self.reason} (run {self.run_id[:8]})"


def write_to_log(failed: Failed) -> None:
    """Write a failed run to the log."""
    _log.error("%s", failed)


def failed_passes(notify: Callable[[Failed], None] = write_to_log) -> dg.SensorDefinition:
    """Give the sensor of failed runs: passes, reconciles, and what the UI launches or backfills.

    Parameters
    ----------
    notify
        Is told of every run that failed, once.
    """

    @dg.run_failure_sensor(
        name="failed_passes",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes every failed run to the log, with how often in a row its job has failed.",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        failed = failure_of(context)
        context.log.error(str(failed))  # shown with the tick
        notify(failed)

    return sensor


def failure_of(context: dg.RunFailureSensorContext) -> Failed:
    """Give what is to be told of the run that a sensor was called for."""
    run = context.dagster_run
    return Failed(
        job=run.job_name,
        run_id=run.run_id,
        partitions=_partitions(run),
        in_a_row=_in_a_row(run, context.instance),
        reason=own_words(context.get_step_failure_events()) or _dagsters_words(context),
    )


def _dagsters_words(context: dg.RunFailureSensorContext) -> str:
    """Give what Dagster says of a run that failed outside its steps, in one line."""
    event = context.failure_event
    error = event.job_failure_data.error if event.event_specific_data else None
    says = error.message if error else event.message
    if says == _FAILED_FROM_OUTSIDE:
        says = _said_before(context) or says
    return (says or "").strip().partition("\n")[0] or "no reason is known"


def _said_before(context: dg.RunFailureSensorContext) -> str | None:
    """Give what Dagster noted last before the run failed: which process died, and how."""
    types = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.RUN_FAILURE}
    noted = [entry.get_dagster_event() for entry in context.instance.all_logs(context.dagster_run.run_id, types)]
    before = list(takewhile(lambda event: not event.is_run_failure, noted))
    return before[-1].message if before else None


def _partitions(run: dg.DagsterRun) -> str | None:
    if RANGE_START_TAG in run.tags:
        return f"{run.tags[RANGE_START_TAG]} … {run.tags[RANGE_END_TAG]}"
    return run.tags.get(PARTITION_TAG)


def _in_a_row(run: dg.DagsterRun, instance: dg.DagsterInstance) -> int:
    """Count the failures of the run's job up to it, since one went well; canceled and unfinished runs say nothing."""
    up_to_it = dropwhile(lambda other: other.run_id != run.run_id, _finished(instance, run.job_name))
    return max(1, _failures(up_to_it))


def failures_in_a_row(instance: dg.DagsterInstance, job: str) -> int:
    """Count how many runs of a job have failed since one went well; at most `MOST_COUNTED`."""
    return _failures(_finished(instance, job))


def _finished(instance: dg.DagsterInstance, job: str) -> Sequence[dg.DagsterRun]:
    """Give the runs of a job that went well or failed, newest first."""
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    return instance.get_runs(dg.RunsFilter(job_name=job, statuses=finished), limit=MOST_COUNTED)


def _failures(newest_first: Iterable[dg.DagsterRun]) -> int:
    return sum(1 for _ in takewhile(lambda run: run.status == dg.DagsterRunStatus.FAILURE, newest_first))
