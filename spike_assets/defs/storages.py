"""Dagster's runs and ticks in its SQLite files, quick enough for a pass: named in `dagster.yaml`, as `event_log` is.

Dagster's own classes open a connection for every statement and compile each anew, dozens of times a run; and each time
that somebody opens the instance, as every tick does, they read all of alembic's migrations.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from dagster import StringSource
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData

from spike_assets.defs.sqlite import OpenConnections, is_settled, settle


class _InHome(OpenConnections):
    """A storage in a file of the Dagster home, where Dagster itself has it."""

    _FILE: ClassVar[Path]

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Give what may be configured: the Dagster home."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Make it from `dagster.yaml`; its tables too, or migrate them, where this release of Dagster has not yet."""
        file = Path(config_value["home"]) / cls._FILE
        conn_string = create_db_conn_string(str(file.parent), file.stem)
        if not is_settled(file):
            cls.from_local(str(file.parent), inst_data).close()  # type: ignore[attr-defined]
            settle(file)
        return cls(conn_string, inst_data)  # type: ignore[call-arg]

    def dispose(self) -> None:
        """Close the connections."""
        self.close()


class SqliteRuns(_InHome, SqliteRunStorage):
    """The SQLite run storage, on connections that stay open."""

    _FILE = Path("history", "runs.db")


class SqliteSchedules(_InHome, SqliteScheduleStorage):
    """The SQLite schedule storage, on connections that stay open."""

    _FILE = Path("schedules", "schedules.db")
