"""The schema comes once, whoever comes first, and stays what a newer release made of it."""

from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES
from spike_assets.store import migrations, open_store
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.engine import Connection
from spike_assets.store.tables import Column
from spike_assets_tests.processes import CONTEXT, PATIENCE, die, finished, run, start
from spike_assets_tests.support import FOREVER, MemoryEngine

APPLIED = (Column("version", "int", ""), Column("applied_at", "time", ""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spike.duckdb"


def applied(path: Path) -> list[tuple[int, object]]:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=False) as connection:
        rows = connection.frame("SELECT version, applied_at FROM ops.migrations ORDER BY version", APPLIED)
    return list(zip(rows["version"], rows["applied_at"], strict=True))


def open_to_write(path: Path) -> None:
    with open_store(str(path)).writing(FOREVER, "a test"):
        pass


def tables(connection: Connection) -> list[str]:
    found = connection.frame(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables ORDER BY 1",
        [Column("name", "text", "")],
    )
    return found["name"].tolist()


def test_numbers_begin_at_one_without_a_hole() -> None:
    assert list(migrations.migrations()) == list(range(1, migrations.LATEST + 1))


@pytest.mark.parametrize("natural_keys", [True, False])
def test_every_granularity_gets_its_tables(natural_keys: bool) -> None:
    sql = "".join(migrations.migrations(natural_keys=natural_keys).values())
    assert "{schema}" not in sql
    assert "natural key" not in sql or natural_keys
    for granularity in GRANULARITIES.values():
        assert sql.count(f"CREATE TABLE {granularity.schema}.candles (") == 1
    keyed = 5 * len(GRANULARITIES)  # candles, atr, events, features and alerts
    without = "".join(migrations.migrations(natural_keys=False).values())
    assert "".join(migrations.migrations().values()).count("PRIMARY KEY") - without.count("PRIMARY KEY") == keyed


def test_an_empty_database_is_of_version_nothing() -> None:
    with MemoryEngine().connect(FOREVER, "a test", write=True) as connection:
        assert migrations.version(connection) == 0
        connection.execute("CREATE SCHEMA ops; CREATE TABLE ops.migrations (version BIGINT, applied_at TIMESTAMPTZ)")
        assert migrations.version(connection) == 0


def test_again_changes_nothing(path: Path) -> None:
    open_to_write(path)
    before, bits = applied(path), path.read_bytes()
    assert [version for version, _ in before] == list(range(1, migrations.LATEST + 1))
    open_to_write(path)
    assert applied(path) == before
    with open_store(str(path)).reading(FOREVER):
        pass
    assert path.read_bytes() == bits


def test_reading_makes_an_empty_store_first(path: Path) -> None:
    with open_store(str(path)).reading(FOREVER) as session:
        assert session.ops.provenance() is None
    assert [version for version, _ in applied(path)] == list(range(1, migrations.LATEST + 1))


def test_a_newer_version_is_left_as_it_is(path: Path) -> None:
    open_to_write(path)
    with DuckDBEngine(path).connect(FOREVER, "a newer release", write=True) as connection:
        connection.execute("ALTER TABLE h1.candles ADD COLUMN spread DOUBLE")
        connection.execute("INSERT INTO ops.migrations VALUES (99, now())")
    before = applied(path)
    open_to_write(path)
    with open_store(str(path)).reading(FOREVER) as session:
        assert session.ops.provenance() is None
    assert applied(path) == before


class CheckpointingEngine(MemoryEngine):
    """Notes at which versions a checkpoint came."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[int] = []

    def checkpoint(self, connection: Connection) -> None:
        self.versions.append(migrations.version(connection))


def test_every_migration_is_checkpointed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrations.migrations()
    two = {
        migrations.LATEST + 1: "CREATE TABLE ops.one (n BIGINT)",
        migrations.LATEST + 2: "CREATE TABLE ops.two (n BIGINT)",
    }
    monkeypatch.setattr(migrations, "migrations", lambda *, natural_keys=True: real | two)  # noqa: ARG005
    engine = CheckpointingEngine()
    with engine.connect(FOREVER, "a test", write=True) as connection:
        migrations.migrate(engine, connection)
    assert engine.versions == [*real, *two]


def test_a_checkpoint_empties_the_log(path: Path) -> None:
    engine = DuckDBEngine(path)
    with engine.connect(FOREVER, "a test", write=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        assert path.with_name("spike.duckdb.wal").stat().st_size
        engine.checkpoint(connection)
        assert not path.with_name("spike.duckdb.wal").exists() or not path.with_name("spike.duckdb.wal").stat().st_size


def test_a_migration_that_fails_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrations.migrations()
    broken = {migrations.LATEST + 1: "CREATE TABLE ops.one (n BIGINT); CREATE TABLE ops.passes (n BIGINT)"}
    monkeypatch.setattr(migrations, "migrations", lambda *, natural_keys=True: real | broken)  # noqa: ARG005
    engine = MemoryEngine()
    with engine.connect(FOREVER, "a test", write=True) as connection:
        with pytest.raises(Exception, match="passes"):
            migrations.migrate(engine, connection)
        assert migrations.version(connection) == migrations.LATEST
        assert "ops.one" not in tables(connection)


def die_in_migration(path: Path) -> None:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection, connection.transaction():
        connection.execute("CREATE SCHEMA ops")
        connection.execute(migrations.migrations()[1].partition("CREATE TABLE h4.events")[0])
        die()


def test_a_process_that_dies_in_a_migration(path: Path) -> None:
    assert run(die_in_migration, path) == -9
    open_to_write(path)
    assert [version for version, _ in applied(path)] == list(range(1, migrations.LATEST + 1))


def be_first(end: Pipe, path: Path, as_writer: bool) -> None:
    end.send("ready")
    end.recv()
    deadline = Deadline.after(timedelta(seconds=PATIENCE))
    store = open_store(str(path))
    with store.writing(deadline, "a test") if as_writer else store.reading(deadline) as session:
        assert session.pending.count(GRANULARITIES["H1"]) == 0


def test_everybody_may_be_first(path: Path) -> None:
    pipes = [CONTEXT.Pipe() for _ in range(6)]
    processes = [start(be_first, there, path, i % 2 == 0) for i, (_, there) in enumerate(pipes)]
    for here, _ in pipes:
        assert here.poll(PATIENCE)
        here.recv()
    for here, _ in pipes:
        here.send("go")
    assert [finished(process) for process in processes] == [0] * 6
    assert [version for version, _ in applied(path)] == list(range(1, migrations.LATEST + 1))
