"""What both event logs change of how Dagster tells that a run has failed."""

from typing import TYPE_CHECKING

from dagster import EventLogEntry
from dagster._time import datetime_from_timestamp

if TYPE_CHECKING:
    from dagster._core.storage.event_log import EventLogStorage as _Base
else:
    _Base = object


class StatusFirst(_Base):
    """Mixed into an event log: that a run failed is not in the log before it is in the run's status.

    Dagster stores the event first; and who retries runs looks at an event once, and passes over it when the run still
    seems to be under way.
    """

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, behind the status that it makes."""
        if event.dagster_event is not None and event.dagster_event.is_run_failure and self.has_instance:
            at = datetime_from_timestamp(event.timestamp)
            self._instance.run_storage.handle_run_event(event.run_id, event.dagster_event, at)
        super().store_event(event)  # type: ignore[safe-super]  # the log that this is mixed into
