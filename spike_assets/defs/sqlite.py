"""How Dagster's SQLite files are opened here: on connections that stay open, with migrations looked for once a release.

What is stored, and in which file, is Dagster's own affair: its classes can take over at any time.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

import dagster as dg
import sqlalchemy as db

_BUSY_SECONDS = 60
_RELEASE = zlib.crc32(dg.__version__.encode()) & 0x7FFFFFFF
"""Which release of Dagster has seen to a file's tables, as SQLite's `user_version`, which nobody else uses."""


class OpenConnections:
    """Has a storage of Dagster's keep its connections, and what it has compiled of statements."""

    _conn_string: str

    @cached_property
    def _engine(self) -> db.Engine:
        engine = db.create_engine(self._conn_string, connect_args={"timeout": _BUSY_SECONDS})
        # With a write-ahead log this never corrupts; a power cut may cost the last events.
        db.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL"))
        return engine

    @contextmanager
    def connect(self) -> Iterator[db.Connection]:
        """Give a connection of the pool, in a transaction of its own."""
        with self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections; they are opened again by whoever needs one."""
        self._engine.dispose()


def is_settled(file: Path) -> bool:
    """Tell whether this release of Dagster has made, or migrated, the tables of a file.

    Asking alembic takes a tenth of a second, a whole one in a new process: it reads every migration there ever was.
    """
    if not file.exists():
        return False
    with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
        return bool(connection.execute("PRAGMA user_version").fetchone() == (_RELEASE,))


def settle(file: Path) -> None:
    """Note that this release has."""
    with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
        connection.execute(f"PRAGMA user_version = {_RELEASE}")
