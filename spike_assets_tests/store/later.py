"""A release that comes later: what it adds to the schema, as a migration may, while this one goes on."""

from spike_assets.store import migrations
from spike_assets.store.store import Store
from spike_assets.store.whole import PLACES
from spike_assets_tests.support import FOREVER

VERSION = migrations.LATEST + 1


def migration() -> str:
    """Give the SQL of a migration that adds to every table, and a few of its own.

    Columns may be empty, or have a default; all tables get the same, so that a join meets them twice.
    """
    columns = ("spread DOUBLE PRECISION", "origin VARCHAR DEFAULT 'later'", "weight BIGINT DEFAULT 7")
    added = [f"ALTER TABLE {place.name} ADD COLUMN {column};" for place in PLACES for column in columns]
    tables = [
        f"CREATE TABLE {schema}.ticks (\n    instrument VARCHAR NOT NULL PRIMARY KEY,\n    time TIMESTAMPTZ\n);"
        for schema in dict.fromkeys(place.schema for place in PLACES)
    ]
    return "\n".join([*added, *tables])


def bring_up_to_date(store: Store) -> Store:
    """Give the store as that release leaves it."""
    with store.writing(FOREVER, "a test"):
        pass
    engine = store._engine
    with engine.connect(FOREVER, "a later release", write=True) as connection:
        with connection.transaction():
            connection.execute(engine.ddl(migration()))
            connection.execute("INSERT INTO ops.migrations VALUES (?, now())", [VERSION])
        engine.checkpoint(connection)
    return store
