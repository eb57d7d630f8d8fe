"""What is declared of the tables is what the database has."""

from datetime import timedelta

import duckdb
import pytest

from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store import migrations
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.ops_tables import OPS_TABLES
from spike_assets.store.tables import (
    ALERTS,
    ATR,
    CANDLES,
    DERIVED,
    EVENTS,
    FEATURES,
    QUARANTINE,
    SQL_TYPES,
    TABLES,
    Table,
)
from spike_assets_tests.support import MemoryEngine

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
EACH = pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
IN_SCHEMA = pytest.mark.parametrize(
    ("schema", "table"),
    [
        *((granularity.schema, table) for granularity in GRANULARITIES.values() for table in TABLES.values()),
        *(("ops", table) for table in OPS_TABLES.values()),
    ],
    ids=lambda value: getattr(value, "name", value),
)


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    engine = MemoryEngine(natural_keys=True)
    with engine.connect(Deadline.after(timedelta(seconds=30)), "a test", write=True) as connection:
        migrations.migrate(engine, connection)
    return engine._connection


@IN_SCHEMA
def test_columns_are_as_declared(database: duckdb.DuckDBPyConnection, schema: str, table: Table) -> None:
    found = database.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
        [schema, table.name],
    ).fetchall()
    # DuckDB writes out what the types of SQL mean to it.
    means = {name: str(duckdb.sqltype(name)) for name in SQL_TYPES.values()}
    declared = [(c.name, means[SQL_TYPES[c.kind]], "YES" if c.nullable else "NO") for c in table.columns]
    assert found == declared


@IN_SCHEMA
def test_keys_are_as_declared(database: duckdb.DuckDBPyConnection, schema: str, table: Table) -> None:
    found = database.execute(
        "SELECT constraint_column_names FROM duckdb_constraints()"
        " WHERE schema_name = ? AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
        [schema, table.name],
    ).fetchall()
    assert found == [(list(table.key),)]
    assert table.names[: len(table.key)] == table.key


@EVERY
def test_no_table_is_undeclared(database: duckdb.DuckDBPyConnection, granularity: Granularity) -> None:
    found = database.execute(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = ?", [granularity.schema]
    ).fetchall()
    assert dict(found) == {**dict.fromkeys(TABLES, "BASE TABLE"), "now": "VIEW"}


def test_no_table_of_ops_is_undeclared(database: duckdb.DuckDBPyConnection) -> None:
    found = database.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'ops'").fetchall()
    assert {name for (name,) in found} == {*OPS_TABLES, "migrations"}


def test_duckdb_keeps_no_key_of_data_tables() -> None:
    """Its checkpoints would write the whole index anew (docs/decisions.md)."""
    engine = MemoryEngine(natural_keys=DuckDBEngine.natural_keys)
    with engine.connect(Deadline.after(timedelta(seconds=30)), "a test", write=True) as connection:
        migrations.migrate(engine, connection)
    keys = engine._connection.execute(
        "SELECT schema_name, table_name FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    ).fetchall()
    assert {table for schema, table in keys if schema != "ops"} == {"quarantine"}
    assert {table for schema, table in keys if schema == "ops"} == {*OPS_TABLES, "migrations"}


def test_there_is_no_secondary_index(database: duckdb.DuckDBPyConnection) -> None:
    assert database.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == []


def test_order_and_roles() -> None:
    assert tuple(TABLES.values()) == (CANDLES, ATR, EVENTS, FEATURES, ALERTS, QUARANTINE)
    assert DERIVED == (ATR, EVENTS, FEATURES, ALERTS)
    assert {table.name for table in TABLES.values() if table.keeps_infinities} == {"quarantine"}
    assert {table.name: table.bookkeeping for table in TABLES.values() if table.bookkeeping} == {
        "candles": ("fetched_at",),
        "quarantine": ("fetched_at",),
    }


@EACH
def test_every_column_says_what_it_means(table: Table) -> None:
    assert table.meaning
    assert all(column.meaning for column in table.columns)
    assert len(set(table.names)) == len(table.names)
    assert [c.name for c in table.content] == [n for n in table.names if n not in (*table.key, *table.bookkeeping)]
