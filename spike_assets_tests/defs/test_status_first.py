"""A run's failure is in its status before it is in the log, in both event logs."""

import dagster as dg
import pytest
from dagster import DagsterRunStatus, EventLogEntry
from dagster._core.storage.event_log import InMemoryEventLogStorage

from spike_assets.defs.event_log import SqliteEventLog
from spike_assets.defs.postgres_storage import PostgresEvents
from spike_assets.defs.status_first import StatusFirst


class Noting(InMemoryEventLogStorage):
    """Notes what a run's status is when an event of it is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, DagsterRunStatus]] = []

    def store_event(self, event: EventLogEntry) -> None:
        run = self._instance.get_run_by_id(event.run_id)
        assert run
        self.seen.append((event.get_dagster_event().event_type_value, run.status))
        super().store_event(event)  # type: ignore[no-untyped-call]


class Log(StatusFirst, Noting):
    """A log as both are made."""


@dg.job
def nothing() -> None:
    """Have no ops: nothing runs here."""


@pytest.mark.parametrize(("log", "status"), [(Noting, DagsterRunStatus.STARTED), (Log, DagsterRunStatus.FAILURE)])
def test_a_failure_is_in_the_status_first(log: type[Noting], status: DagsterRunStatus) -> None:
    events = log()
    with dg.DagsterInstance.ephemeral() as instance:
        events.register_instance(instance)
        instance._event_storage = events  # there is no other way to hand one in
        run = instance.create_run_for_job(nothing, status=DagsterRunStatus.STARTED)
        instance.report_engine_event("at work", run)
        instance.report_run_failed(run)
        assert events.seen == [("ENGINE_EVENT", DagsterRunStatus.STARTED), ("PIPELINE_FAILURE", status)]


@pytest.mark.parametrize("log", [SqliteEventLog, PostgresEvents])
def test_both_logs_do_so(log: type[StatusFirst]) -> None:
    assert log.store_event is StatusFirst.store_event
