"""Dagster's event log in one SQLite file, quick enough for a pass: named in `dagster.yaml`.

Dagster's own SQLite log makes a database for every run, opens a connection for every statement, and waits for the disk
whenever it closes one: half a second of a pass and a third of a second per partition of a backfill, on a slow disk.
This one changes how it connects, not what it stores: the file is that of `ConsolidatedSqliteEventLogStorage`, which can
take over at any time. Beyond one machine the event log belongs into Postgres.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as db
from dagster import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from spike_assets.defs.sqlite import OpenConnections
from spike_assets.defs.status_first import StatusFirst


class SqliteEventLog(StatusFirst, OpenConnections, ConsolidatedSqliteEventLogStorage):
    """The consolidated SQLite event log, on connections that stay open."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._batch = threading.local()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        """Give the connection of the batch under way, or one of the pool in a transaction of its own."""
        batch = getattr(self._batch, "connection", None)
        if batch is not None:
            yield batch
            return
        with self.connect() as connection:
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Tell whether there is such a table; one that was there once still is."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in one transaction."""
        with self._connect() as connection:
            self._batch.connection = connection
            try:
                for event in events:
                    self.store_event(event)
            finally:
                self._batch.connection = None

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()  # type: ignore[no-untyped-call]
        self.close()
