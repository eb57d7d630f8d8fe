"""Dagster's storage on Postgres, quick enough for a range run: named in `deploy/dagster-postgres.yaml`.

Dagster's own stores materializations in batches, but not what a run says before: which partitions it is going to fill,
an event each. Those it stores one by one, on two connections that are opened for each. This one changes nothing else
but that a failure is told behind its status (`status_first`).
"""

from collections.abc import Sequence
from typing import Any, Self

from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from spike_assets.defs.status_first import StatusFirst

_PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class PostgresEvents(StatusFirst, PostgresEventLogStorage):
    """The Postgres event log; partitions that a run is going to fill are stored in batches."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events, in one transaction where they tell of partitions to be filled."""
        if not events:
            return
        if any(event.dagster_event_type != _PLANNED for event in events):
            super().store_event_batch(events)
            return
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self.index_transaction() as connection:
            ids = [row[0] for row in connection.execute(statement).fetchall()]
            newest = {event.get_dagster_event().asset_key: at for at, event in enumerate(events)}
            for at in newest.values():  # the asset's own row tells of its newest event only
                self._store_asset_event(connection, events[at], ids[at])

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Make it from `dagster.yaml`."""
        return cls(inst_data=inst_data, **_arguments(config_value))


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's Postgres storage, but for the event log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        events = self._event_log_storage
        self._event_log_storage = PostgresEvents(
            events.postgres_url, events.should_autocreate_tables, token_provider=kwargs.get("token_provider")
        )

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Make it from `dagster.yaml`."""
        return cls(inst_data=inst_data, **_arguments(config_value))

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        """How the event log is made by whoever is handed the instance."""
        return (
            ConfigurableClassData(__name__, PostgresEvents.__name__, self.inst_data.config_yaml)
            if self.inst_data
            else None
        )


def _arguments(config: Any) -> dict[str, Any]:
    return {
        "postgres_url": pg_url_from_config(config),
        "should_autocreate_tables": config.get("should_autocreate_tables", True),
        "token_provider": get_token_provider_from_config(config),
    }
