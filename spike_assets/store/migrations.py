"""Runs the numbered migrations of `schema.sql`, each alone, and checkpoints behind it."""

import re
from importlib.resources import files

from spike_assets.granularity import GRANULARITIES
from spike_assets.store.engine import Connection, Engine
from spike_assets.store.tables import Column

_HEADER = re.compile(r"^-- migration (\d+): .*$", re.MULTILINE)
_NATURAL_KEY = re.compile(r",\n[^\n]*-- natural key\n")
_FOR_EACH = "-- for each granularity"
_VERSION = Column("version", "int", "number of a migration")
_CLAIM = "migrations"


def migrations(*, natural_keys: bool = True) -> dict[int, str]:
    """Give the SQL of each migration by its number, with or without the primary keys of the data tables."""
    text = files("spike_assets.store").joinpath("schema.sql").read_text(encoding="utf-8")
    if not natural_keys:
        text = _NATURAL_KEY.sub("\n", text)
    parts = _HEADER.split(text)
    return {int(number): _expanded(sql) for number, sql in zip(parts[1::2], parts[2::2], strict=True)}


def _expanded(sql: str) -> str:
    once, _, each = sql.partition(_FOR_EACH)
    return once + "".join(each.replace("{schema}", g.schema) for g in GRANULARITIES.values())


LATEST = max(migrations())
"""The schema version that this release writes."""


def version(connection: Connection) -> int:
    """Give the schema version of an open database, 0 for an empty one."""
    there = connection.frame(
        "SELECT COUNT(*) AS version FROM information_schema.tables"
        " WHERE table_schema = 'ops' AND table_name = 'migrations'",
        [_VERSION],
    )
    if not there["version"].iloc[0]:
        return 0
    newest = connection.frame("SELECT COALESCE(MAX(version), 0) AS version FROM ops.migrations", [_VERSION])
    return int(newest["version"].iloc[0])


def held_at(connection: Connection, schema: int) -> bool:
    """Tell, inside a transaction, whether an open database is at a schema version; until it ends it stays there."""
    connection.claim(_CLAIM)
    return version(connection) == schema


def migrate(engine: Engine, connection: Connection, to: int | None = None) -> None:
    """Bring an open database to `LATEST`, or `to` a version. A newer one is left as it is: migrations are additive.

    Where several may be first, one is; the others wait for each migration and find it done.
    """
    at = version(connection)
    if not at:
        with connection.transaction():
            connection.claim(_CLAIM)
            connection.execute("CREATE SCHEMA IF NOT EXISTS ops")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS ops.migrations"
                " (version BIGINT NOT NULL PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)"
            )
    for number, sql in sorted(migrations(natural_keys=engine.natural_keys).items()):
        if number > at and (to is None or number <= to):
            with connection.transaction():
                connection.claim(_CLAIM)
                if version(connection) >= number:
                    continue
                connection.execute(engine.ddl(sql))
                connection.execute("INSERT INTO ops.migrations VALUES (?, now())", [number])
            engine.checkpoint(connection)
