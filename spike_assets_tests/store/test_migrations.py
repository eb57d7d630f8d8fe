"""The schema comes once, whoever comes first, and stays what a newer release made of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from spike_assets import market_hours
from spike_assets.alerts.policy import Policy
from spike_assets.core import FORMULA_VERSION
from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, H1, W
from spike_assets.market_hours import Window, candle_times
from spike_assets.pipeline import process
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import migrations, open_store
from spike_assets.store.data import content_hash
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.engine import Connection
from spike_assets.store.pending import Mark
from spike_assets.store.store import Store
from spike_assets.store.tables import ALERTS, ATR, CANDLES, EVENTS, FEATURES, Column
from spike_assets_tests.alerts.desk import Inbox
from spike_assets_tests.processes import CONTEXT, PATIENCE, die, finished, run, start
from spike_assets_tests.support import FOREVER, MemoryEngine, make_pipeline

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


_ADDITIVE = (
    re.compile(r"CREATE TABLE [\w.]+ \(.*\)", re.DOTALL),
    # Filled by nobody but the new release: it may be empty, or has a default.
    re.compile(
        r"ALTER TABLE [\w.]+ ADD COLUMN \w+ (VARCHAR|BIGINT|BOOLEAN|UUID|TIMESTAMPTZ|DOUBLE PRECISION)( DEFAULT \S+)?"
    ),
    # Marks tell the new release what to work off; the one before leaves marks of stages alone that it does not have.
    re.compile(r"INSERT INTO ops\.pending \(.*", re.DOTALL),
)
_FILLS = re.compile(r"UPDATE ([\w.]+) SET (\w+) = \((?:[^()]|\([^()]*\))*\)")


def test_a_migration_only_adds_so_that_the_release_before_still_runs() -> None:
    """What else it needs is said in schema.sql and docs/operations.md, and allowed for here by its number."""
    for number, sql in migrations.migrations().items():
        statements = [" ".join(part.split()) for part in re.sub(r"--[^\n]*", "", sql).split(";")]
        for statement in filter(None, statements):
            filled = _FILLS.fullmatch(statement)
            own = filled and f"ALTER TABLE {filled[1]} ADD COLUMN {filled[2]} " in " ".join(statements)
            assert number == 1 or own or any(each.fullmatch(statement) for each in _ADDITIVE), (number, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE ops.pips",
        "ALTER TABLE ops.pips DROP COLUMN pip_location",
        "ALTER TABLE ops.pips RENAME COLUMN pip_location TO pip",
        "ALTER TABLE ops.pips ALTER COLUMN pip_location TYPE DOUBLE PRECISION",
        "ALTER TABLE ops.pips ADD COLUMN broker VARCHAR NOT NULL",
        "UPDATE ops.pips SET pip_location = (SELECT 1)",
        "DELETE FROM ops.pips",
        "CREATE UNIQUE INDEX ON ops.passes (started_at)",
    ],
)
def test_what_does_not_only_add_is_noticed(statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrations.migrations()
    monkeypatch.setattr(migrations, "migrations", lambda: real | {migrations.LATEST + 1: f"{statement};"})
    with pytest.raises(AssertionError, match=re.escape(statement)):
        test_a_migration_only_adds_so_that_the_release_before_still_runs()


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


# --- from an older version --------------------------------------------------------------------------------------------


def as_of(engine: MemoryEngine, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the store of an older release."""
    real = migrations.migrations
    with monkeypatch.context() as older, engine.connect(FOREVER, "a test", write=True) as connection:
        older.setattr(
            migrations,
            "migrations",
            lambda *, natural_keys=True: {n: s for n, s in real(natural_keys=natural_keys).items() if n <= version},
        )
        migrations.migrate(engine, connection)
        assert migrations.version(connection) == version


NAMES = ("EUR_USD", "GBP_USD", "USD_JPY")
LOADED = {
    H1: Window(datetime(2025, 3, 10, tzinfo=UTC), datetime(2025, 3, 14, tzinfo=UTC)),
    W: Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)),
}
NOW = datetime(2025, 3, 14, 0, 5, tzinfo=UTC)


def test_a_store_from_before_alerts_makes_them_with_its_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that was stored; and nobody is told of history."""
    older, newer = MemoryEngine(), MemoryEngine()
    fresh = make_pipeline(SimulatedSource(), Store(newer), NAMES, clock=lambda: NOW)
    for granularity, window in LOADED.items():
        backfill(fresh, granularity, window)
    as_of(older, 2, monkeypatch)
    copied(newer, older)
    inbox = Inbox()
    pipeline = replace(
        make_pipeline(SimulatedSource(), Store(older), NAMES, clock=lambda: NOW), policy=Policy(channels=(inbox,))
    )
    with pipeline.store.writing(FOREVER, "a test") as session:
        for granularity, window in LOADED.items():
            marks = session.pending.of(granularity, "alerts")
            times = candle_times(granularity, window)
            assert marks == [Mark(name, times[0].to_pydatetime(), times[-1].to_pydatetime()) for name in NAMES]
            assert session.data.count(granularity, ALERTS) == 0
        assert session.pending.of(GRANULARITIES["D"], "alerts") == []
        assert session.ops.provenance() is not None
    for granularity, window in LOADED.items():
        process(pipeline, granularity, now=NOW)
        with pipeline.store.reading(FOREVER) as session, fresh.store.reading(FOREVER) as expected:
            assert session.pending.count(granularity) == 0
            alerts = session.data.read(granularity, ALERTS, window)
            assert content_hash(ALERTS, alerts) == expected.data.content_hash(granularity, ALERTS)
            assert len(alerts)
    young = NOW - timedelta(hours=4)
    assert all(digest.closed_at and digest.closed_at > young for digest in inbox.received if digest.granularity == "H1")


def copied(newer: MemoryEngine, older: MemoryEngine) -> None:
    """Put into an older store what a newer one has and the older one knows."""
    with newer.connect(FOREVER, "a test", write=False) as there, older.connect(FOREVER, "a test", write=True) as here:
        for granularity in LOADED:
            for table in (CANDLES, ATR, EVENTS, FEATURES):
                name = f"{granularity.schema}.{table.name}"
                here.load("copied", table.columns, there.frame(f"SELECT * FROM {name}", table.columns))  # noqa: S608
                values = ", ".join(f"CAST({c.name} AS UUID)" if c.kind == "uuid" else c.name for c in table.columns)
                here.execute(f"INSERT INTO {name} ({', '.join(table.names)}) SELECT {values} FROM copied")  # noqa: S608
        here.execute("INSERT INTO ops.provenance VALUES (1, 'simulated', 'mid', 14, ?)", [FORMULA_VERSION])
        here.execute(
            "INSERT INTO ops.processing_state"
            " (granularity, last_processed, consecutive_failures, total_events_detected)"
            " VALUES ('H1', ?, 0, 0), ('W', ?, 0, 0)",
            [market_hours.last_closed(granularity, NOW).end for granularity in LOADED],
        )
