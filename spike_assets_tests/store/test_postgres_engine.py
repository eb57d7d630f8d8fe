"""Postgres and all that may be wrong with it: who may do what at once, and one clear line for each fault."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import (
    PermanentError,
    SettingsError,
    SpikeError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    TransientError,
)
from spike_assets.granularity import GRANULARITIES, H1, H4
from spike_assets.store import migrations, open_store
from spike_assets.store.engine import Connection
from spike_assets.store.ops import State
from spike_assets.store.ops_tables import OPS_TABLES
from spike_assets.store.outbox import Delivery
from spike_assets.store.postgres_engine import PostgresEngine, key_of
from spike_assets.store.tables import CANDLES, SQL_TYPES, TABLES, Column, Kind
from spike_assets_tests.postgres import PASSWORD, Server
from spike_assets_tests.processes import CONTEXT, PATIENCE, die, finished, run, start
from spike_assets_tests.support import FOREVER, MemoryEngine

AT_ONCE = Deadline.after(timedelta(0))
N = (Column("n", "int", "a number"),)
NOW = datetime(2025, 3, 10, 5, 5, tzinfo=UTC)


@pytest.fixture
def engine(postgres: str) -> PostgresEngine:
    return PostgresEngine(postgres)


@pytest.fixture
def other(postgres: str) -> PostgresEngine:
    return PostgresEngine(postgres)


def write(engine: PostgresEngine, sql: str) -> None:
    with engine.connect(FOREVER, "a test", write=True) as connection:
        connection.execute(sql)


def read(engine: PostgresEngine, sql: str = "SELECT n FROM t ORDER BY n", *parameters: Any) -> list[int]:
    with engine.connect(FOREVER, "a test", write=False) as connection:
        found: list[int] = connection.frame(sql, N, parameters)["n"].tolist()
        return found


def complaint(engine: PostgresEngine, sql: str = "SELECT 1 AS n", deadline: Deadline = FOREVER) -> SpikeError:
    """Give the error that a statement ends in; it must be one line, and never show the password."""
    with pytest.raises(SpikeError) as raised, engine.connect(deadline, "a test", write=True) as connection:
        connection.execute(sql)
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert PASSWORD not in repr(raised.value.__cause__)
    return raised.value


# --- values -----------------------------------------------------------------------------------------------------------

_NAMED: tuple[tuple[str, Kind], ...] = (
    ("word", "text"),
    ("id", "uuid"),
    ("moment", "time"),
    ("price", "float"),
    ("count", "int"),
    ("flag", "bool"),
)
KINDS = tuple(Column(name, kind, "", null="x") for name, kind in _NAMED)
BITS = [0.1, 1e-310, 5e-324, 1.7976931348623157e308, np.nextafter(1.0, 2), -np.inf, np.inf, 0.0, np.nan]
FRAME = pd.DataFrame(
    {
        "word": pd.Series(["", "ü→", None, "a'b\"c\\", "100%", "?", "%s", "\t\n", "x" * 5000], dtype=object),
        "id": pd.Series([f"f9a23b52-b573-5bd7-9ea3-e06700{n:06d}" if n else None for n in range(9)], dtype=object),
        "moment": pd.DatetimeIndex(
            [
                None,
                "1900-01-01",
                "1999-12-31T23:59:59.999999",
                "2000-01-01",
                "2025-03-09T07:00:00.000001",
                "2025-11-02T05:30",
                "2262-01-01",
                "2500-06-01T12:00",
                None,
            ],
            tz="UTC",
        ).as_unit("us"),
        "price": BITS,
        "count": pd.array([0, 1, -1, 2**63 - 1, -(2**63), None, 7, 2**40, None], dtype="Int64"),
        "flag": pd.array([True, False, None, True, False, True, None, False, True], dtype="boolean"),
    }
)


def there_and_back(connection: Connection) -> pd.DataFrame:
    columns = ", ".join(f"{column.name} {SQL_TYPES[column.kind]}" for column in KINDS)
    connection.execute(f"CREATE TABLE kinds (place BIGINT, {columns})")
    loaded = FRAME.assign(place=np.arange(len(FRAME)))
    connection.load("loaded", (Column("place", "int", ""), *KINDS), loaded)
    connection.execute("INSERT INTO kinds SELECT place, word, CAST(id AS UUID), moment, price, count, flag FROM loaded")
    return connection.frame(
        "SELECT word, CAST(id AS VARCHAR) AS id, moment, price, count, flag FROM kinds ORDER BY place", KINDS
    )


def test_frames_are_those_of_duckdb_bit_for_bit(engine: PostgresEngine) -> None:
    with (
        engine.connect(FOREVER, "a test", write=True) as connection,
        MemoryEngine().connect(FOREVER, "a test", write=True) as duck,
    ):
        ours, theirs = there_and_back(connection), there_and_back(duck)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert ours["price"].to_numpy().tobytes() == theirs["price"].to_numpy().tobytes()
    assert ours["word"].tolist() == FRAME["word"].tolist()
    assert ours["moment"].equals(FRAME["moment"])


def test_frames_without_rows_are_those_of_duckdb(engine: PostgresEngine) -> None:
    with (
        engine.connect(FOREVER, "a test", write=True) as connection,
        MemoryEngine().connect(FOREVER, "a test", write=True) as duck,
    ):
        for one in (connection, duck):
            there_and_back(one)
            one.load("loaded", KINDS, FRAME[:0])
            one.execute("INSERT INTO kinds SELECT 99, word, CAST(id AS UUID), moment, price, count, flag FROM loaded")
        none = "SELECT word, CAST(id AS VARCHAR) AS id, moment, price, count, flag FROM kinds WHERE place > ?"
        pd.testing.assert_frame_equal(connection.frame(none, KINDS, [50]), duck.frame(none, KINDS, [50]))
        aggregated = "SELECT MAX(moment) AS moment, MAX(price) AS price FROM kinds WHERE place > 50"
        pd.testing.assert_frame_equal(connection.frame(aggregated, KINDS[2:4]), duck.frame(aggregated, KINDS[2:4]))


def test_what_is_no_parameter_is_none(engine: PostgresEngine) -> None:
    sql = """SELECT n AS n FROM (VALUES (1, '50%'), (2, '?'), (3, 'it''s %s?')) AS t(n, "what?") -- ? and %
        WHERE "what?" LIKE ? AND "what?" <> '?' /* ? % */ OR "what?" = '50%' AND n % ? = 1"""
    assert read(engine, sql, "%s %s_", 2) == [1, 3]


def test_decimals_are_read_as_floats(engine: PostgresEngine) -> None:
    numbers = ["0", "1.5", "-12345678.000125", "1e-7", "98765432109876543210", "0.00010001", "10000"]
    union = " UNION ALL ".join(f"SELECT {i} AS i, CAST('{n}' AS NUMERIC) AS x" for i, n in enumerate(numbers))
    with engine.connect(FOREVER, "a test", write=False) as connection:
        found = connection.frame(f"SELECT x FROM ({union}) AS u ORDER BY i", [Column("x", "float", "")])  # noqa: S608
        assert found["x"].tolist() == [float(n) for n in numbers]
        with pytest.raises(StoreError, match="column n is of a type that spike does not read"):
            connection.frame("SELECT interval '1 day' AS n", N)


def test_times_are_utc_wherever_the_server_is(engine: PostgresEngine) -> None:
    with engine.connect(FOREVER, "a test", write=False) as connection:
        zone = connection.frame("SELECT current_setting('TimeZone') AS zone", [Column("zone", "text", "")])
        assert zone["zone"].tolist() == ["UTC"]
        asked = [datetime(2025, 3, 9, 3, 30, tzinfo=UTC)]
        found = connection.frame("SELECT CAST(? AS TIMESTAMPTZ) AS at", [Column("at", "time", "")], asked)
    assert found["at"].tolist() == asked


def test_text_is_in_the_order_of_its_bytes(engine: PostgresEngine) -> None:
    """The test database's own order is another one."""
    word = [Column("word", "text", "")]
    with engine.connect(FOREVER, "a test", write=True) as connection:
        words = ["a", "B", "*", "_x", "EUR_USD", "EURO"]
        connection.load("loaded", word, pd.DataFrame({"word": pd.Series(words, dtype=object)}))
        plain = connection.frame("SELECT word FROM loaded ORDER BY word", word)["word"].tolist()
        assert plain != sorted(words), "the order of the database is that of bytes, and the test shows nothing"
        connection.execute(
            "INSERT INTO h1.candles SELECT word, CAST(? AS TIMESTAMPTZ), 1, 1, 1, 1, 1, now() FROM loaded", [NOW]
        )
        found = connection.frame("SELECT instrument AS word FROM h1.candles ORDER BY instrument", word)
    assert found["word"].tolist() == sorted(words)


# --- the schema -------------------------------------------------------------------------------------------------------


def test_tables_are_as_declared(engine: PostgresEngine) -> None:
    shown = {
        "text": "character varying",
        "uuid": "uuid",
        "time": "timestamp with time zone",
        "float": "double precision",
        "int": "bigint",
        "bool": "boolean",
    }
    said = Column("said", "text", "")
    with engine.connect(FOREVER, "a test", write=False) as connection:
        for schema, table in [
            *((one.schema, table) for one in GRANULARITIES.values() for table in TABLES.values()),
            *(("ops", table) for table in OPS_TABLES.values()),
        ]:
            found = connection.frame(
                "SELECT column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '')"
                " AS said FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
                " ORDER BY ordinal_position",
                [said],
                [schema, table.name],
            )
            assert found["said"].tolist() == [
                f"{c.name} {shown[c.kind]} {'YES' if c.nullable else 'NO'} {'C' if c.kind == 'text' else ''}"
                for c in table.columns
            ]
            keys = connection.frame(
                "SELECT c.column_name AS said FROM information_schema.table_constraints AS t JOIN"
                " information_schema.key_column_usage AS c USING (constraint_name, table_schema, table_name)"
                " WHERE t.constraint_type = 'PRIMARY KEY' AND table_schema = ? AND table_name = ?"
                " ORDER BY c.ordinal_position",
                [said],
                [schema, table.name],
            )
            assert keys["said"].tolist() == list(table.key)


def test_a_stretch_of_time_is_found_by_an_index(engine: PostgresEngine) -> None:
    with engine.connect(FOREVER, "a test", write=False) as connection:
        found = connection.frame(
            "SELECT schemaname || '.' || tablename AS said FROM pg_indexes WHERE indexdef LIKE '%(\"time\")'",
            [Column("said", "text", "")],
        )
        fetched = connection.frame(
            "SELECT schemaname || '.' || tablename AS said FROM pg_indexes WHERE indexdef LIKE '%(fetched_at)'",
            [Column("said", "text", "")],
        )
    assert set(found["said"]) == {f"{one.schema}.{table}" for one in GRANULARITIES.values() for table in TABLES}
    tables = ("candles", "quarantine")
    assert set(fetched["said"]) == {f"{one.schema}.{table}" for one in GRANULARITIES.values() for table in tables}


def test_reading_makes_an_empty_database_first(empty_postgres: str) -> None:
    with open_store(empty_postgres).reading(FOREVER) as session:
        assert session.ops.provenance() is None


def be_first(end: Pipe, url: str, as_writer: bool) -> None:
    end.send("ready")
    end.recv()
    deadline = Deadline.after(timedelta(seconds=PATIENCE))
    store = open_store(url)
    with store.writing(deadline, "a test") if as_writer else store.reading(deadline) as session:
        assert session.pending.count(H1) == 0


def test_everybody_may_be_first(empty_postgres: str) -> None:
    pipes = [CONTEXT.Pipe() for _ in range(4)]
    processes = [start(be_first, there, empty_postgres, i % 2 == 0) for i, (_, there) in enumerate(pipes)]
    for here, _ in pipes:
        assert here.poll(PATIENCE)
        here.recv()
    for here, _ in pipes:
        here.send("go")
    assert [finished(process) for process in processes] == [0] * 4
    applied = read(PostgresEngine(empty_postgres), "SELECT version AS n FROM ops.migrations ORDER BY 1")
    assert applied == list(range(1, migrations.LATEST + 1))


def test_a_migration_that_fails_is_undone(empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrations.migrations()
    broken = {migrations.LATEST + 1: "CREATE TABLE ops.one (n BIGINT); CREATE TABLE ops.passes (n BIGINT)"}
    engine = PostgresEngine(empty_postgres)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", lambda *, natural_keys=True: real | broken)  # noqa: ARG005
        with pytest.raises(StoreError, match="passes"), engine.connect(FOREVER, "a test", write=True) as connection:
            migrations.migrate(engine, connection)
    assert read(engine, "SELECT MAX(version) AS n FROM ops.migrations") == [migrations.LATEST]
    assert read(engine, "SELECT COUNT(*) AS n FROM pg_class WHERE relname = 'one'") == [0]


# --- transactions -----------------------------------------------------------------------------------------------------


def interrupted(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (2)")
        raise KeyboardInterrupt


def test_a_transaction_is_all_or_nothing(engine: PostgresEngine) -> None:
    write(engine, "CREATE TABLE t (n BIGINT)")
    with engine.connect(FOREVER, "a test", write=True) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(KeyboardInterrupt):
            interrupted(connection)
        connection.execute("INSERT INTO t VALUES (3)")
    assert read(engine) == [1, 3]


def test_a_reader_sees_one_state_and_writes_nothing(engine: PostgresEngine, other: PostgresEngine) -> None:
    write(engine, "CREATE TABLE t (n BIGINT)")
    with engine.connect(FOREVER, "a test", write=False) as connection:
        assert connection.frame("SELECT n FROM t", N).empty
        write(other, "INSERT INTO t VALUES (1)")
        assert connection.frame("SELECT n FROM t", N).empty
    assert read(engine) == [1]
    with (
        pytest.raises(StoreError, match="cannot be written"),
        engine.connect(FOREVER, "a test", write=False) as connection,
    ):
        connection.execute("DELETE FROM t")
    assert read(engine) == [1]


def test_a_repeated_key_is_refused_and_undone(engine: PostgresEngine) -> None:
    row = "('A', '2025-03-10', 1, 1, 1, 1, 1, now())"
    error = complaint(engine, f"INSERT INTO h1.candles VALUES {row}, {row}")  # noqa: S608
    assert str(error) == "h1.candles would repeat keys; nothing was written, report this"
    assert isinstance(error, StoreError)
    assert read(engine, "SELECT COUNT(*) AS n FROM h1.candles") == [0]


def commit_and_die(url: str) -> None:
    with PostgresEngine(url).connect(FOREVER, "a test", write=True) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (2)")
            die()


def test_what_was_committed_survives_and_the_rest_does_not(engine: PostgresEngine, postgres: str) -> None:
    write(engine, "CREATE TABLE t (n BIGINT)")
    assert run(commit_and_die, postgres) == -9
    assert read(engine) == [1]


# --- locks ------------------------------------------------------------------------------------------------------------


def test_granularities_are_held_one_by_one(engine: PostgresEngine, other: PostgresEngine) -> None:
    with engine.lock("h1", AT_ONCE, "a pass over H1"), other.lock("h4", AT_ONCE, "a pass over H4"):
        with pytest.raises(StoreLockedError) as error, other.lock("h1", AT_ONCE, "a second one"):
            raise AssertionError
        with other.connect(AT_ONCE, "a reader", write=False), other.connect(AT_ONCE, "a writer", write=True):
            pass
    assert str(error.value).startswith(f"h1 of {engine.url} is in use by a pass over H1 (")
    assert str(error.value).endswith(" UTC); it was not released in time, try again later")
    with other.lock("h1", AT_ONCE, "the next one"), other.lock("h4", AT_ONCE, "the next one"):
        pass


def test_a_lock_is_waited_for_no_longer_than_there_is_time(engine: PostgresEngine, other: PostgresEngine) -> None:
    with (
        engine.lock("h1", AT_ONCE, "a pass"),
        pytest.raises(StoreLockedError, match="is in use by a pass"),
        other.lock("h1", Deadline.after(timedelta(seconds=0.2)), "another"),
    ):
        raise AssertionError


def hold(end: Pipe, url: str) -> None:
    with PostgresEngine(url).lock("h1", FOREVER, "a pass that dies"):
        end.send("held")
        end.recv()
        die()


def test_a_killed_process_holds_nothing(engine: PostgresEngine, postgres: str) -> None:
    here, there = CONTEXT.Pipe()
    process = start(hold, there, postgres)
    assert here.poll(PATIENCE)
    here.recv()
    with pytest.raises(StoreLockedError, match="a pass that dies"), engine.lock("h1", AT_ONCE, "a test"):
        raise AssertionError
    here.send("die")
    assert finished(process) == -9
    with engine.lock("h1", Deadline.after(timedelta(seconds=PATIENCE)), "a test"):
        pass


def test_whoever_holds_a_lock_works_on_the_connection_that_holds_it(engine: PostgresEngine) -> None:
    with engine.lock("h1", FOREVER, "a pass"), engine.lock("h4", FOREVER, "a pass"):
        with engine.connect(FOREVER, "a pass", write=True) as connection:
            mine = "SELECT COUNT(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            assert connection.frame(mine, N)["n"].tolist() == [2]
        with engine.connect(FOREVER, "a pass", write=False) as connection:
            assert connection.frame(mine, N)["n"].tolist() == [2]
    assert read(engine, mine) == [0]


def lose_the_connection(engine: PostgresEngine, server: Server) -> None:
    with engine.connect(FOREVER, "a pass", write=True) as connection, connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        pid = connection.frame("SELECT pg_backend_pid() AS n", N)["n"].iloc[0]
        server.command(f"SELECT pg_terminate_backend({pid})")
        connection.execute("INSERT INTO t VALUES (2)")


def test_with_the_connection_of_its_lock_the_work_is_lost(engine: PostgresEngine, server: Server) -> None:
    write(engine, "CREATE TABLE t (n BIGINT)")
    with pytest.raises(StoreUnavailableError, match="is away"), engine.lock("h1", FOREVER, "a pass"):
        lose_the_connection(engine, server)
    with engine.lock("h1", AT_ONCE, "the next one"):
        assert read(engine) == []


# --- claims -----------------------------------------------------------------------------------------------------------


def at_once(work: Callable[[], None], times: int = 4) -> None:
    """Do something in several threads at once."""
    gate = threading.Barrier(times, timeout=PATIENCE)
    failed: list[BaseException] = []

    def one() -> None:
        try:
            gate.wait()
            work()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failed, failed


def test_messages_that_are_frozen_at_once_have_numbers_of_their_own(postgres: str) -> None:
    def freeze() -> None:
        store = open_store(postgres)
        for _ in range(5):
            with store.writing(FOREVER, "a test") as session, session.transaction():
                session.outbox.freeze(Delivery("desk", 0, "digest", "H1", NOW, "{}", NOW, NOW, NOW))

    at_once(freeze)
    engine = PostgresEngine(postgres)
    assert read(engine, "SELECT number AS n FROM ops.deliveries ORDER BY 1") == list(range(1, 21))


def test_whoever_claims_a_state_sees_what_was_written_of_it(postgres: str) -> None:
    def count() -> None:
        store = open_store(postgres)
        for _ in range(5):
            with store.writing(FOREVER, "a test") as session, session.transaction():
                session.ops.claim_state(H1)
                before = session.ops.state(H1) or State()
                session.ops.write_state(H1, State(consecutive_failures=before.consecutive_failures + 1))

    at_once(count)
    with open_store(postgres).reading(FOREVER) as session:
        assert session.ops.state(H1) == State(consecutive_failures=20)


def test_a_claim_outside_a_transaction_is_a_fault(postgres: str) -> None:
    with (
        pytest.raises(StoreError, match="was claimed outside a transaction; report this"),
        open_store(postgres).writing(FOREVER, "a test") as session,
    ):
        session.ops.claim_state(H1)


def test_what_is_kept_is_shared_or_not_until_the_session_ends(engine: PostgresEngine, other: PostgresEngine) -> None:
    short = Deadline.after(timedelta(0))
    with engine.connect(FOREVER, "a test", write=True) as first, other.connect(short, "a test", write=True) as second:
        first.keep("meaning", shared=True)
        second.keep("meaning", shared=True)
    with engine.connect(FOREVER, "a test", write=True) as first:
        first.keep("meaning")
        with (
            pytest.raises(StoreLockedError, match="is in use by others"),
            other.connect(short, "", write=True) as second,
        ):
            second.keep("meaning", shared=True)
    with other.connect(short, "a test", write=True) as second:
        second.keep("meaning")


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_statement_that_fails_is_told_in_one_line(engine: PostgresEngine) -> None:
    assert isinstance(complaint(engine, "SELECT no_such_column"), PermanentError)


def test_an_error_of_ours_comes_out_as_it_is(engine: PostgresEngine) -> None:
    with pytest.raises(ZeroDivisionError), engine.connect(FOREVER, "a test", write=True):
        _ = 1 / 0


def test_a_wrong_password_a_user_and_a_database_that_are_not_there(postgres: str) -> None:
    wrong = PostgresEngine(postgres.replace("pass-w0rd", "pass-w1rd"))
    assert "the password is wrong; set SPIKE_DATABASE to" in str(complaint(wrong))
    nobody = PostgresEngine(postgres.replace("//spike:", "//nobody:"))
    assert isinstance(complaint(nobody), StoreError)
    nowhere = PostgresEngine(postgres.rpartition("/")[0] + "/nowhere")
    error = complaint(nowhere)
    assert isinstance(error, StoreError)
    assert "there is no such database; `createdb` makes one" in str(error)
    with pytest.raises(SettingsError, match="SPIKE_DATABASE: the address cannot be read") as refused:
        PostgresEngine(f"postgresql://u:%{PASSWORD}@host/x")
    assert PASSWORD not in str(refused.value)


def test_a_server_that_is_away_may_come_back(free_port: int) -> None:
    error = complaint(PostgresEngine(f"postgresql://u:secret@127.0.0.1:{free_port}/x"))
    assert isinstance(error, TransientError)
    assert str(error).startswith(f"postgresql://u@127.0.0.1:{free_port}/x is away: ")


@pytest.fixture
def free_port() -> Iterator[int]:
    import socket

    with socket.socket() as taken:  # bound, and never listened on
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_connection_that_the_server_has_dropped_is_replaced(engine: PostgresEngine, server: Server) -> None:
    pid = read(engine, "SELECT pg_backend_pid() AS n")[0]
    assert read(engine, "SELECT pg_backend_pid() AS n") == [pid], "connections are kept for the next one"
    server.command(f"SELECT pg_terminate_backend({pid})")
    assert read(engine, "SELECT pg_backend_pid() AS n") != [pid]


def test_a_statement_ends_with_its_time(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from spike_assets.store import postgres_links

    monkeypatch.setattr(postgres_links, "_LEAST_STATEMENT", 0.1)
    error = complaint(engine, f"SELECT pg_sleep({PATIENCE})", AT_ONCE)
    assert isinstance(error, StoreUnavailableError)


def test_a_user_who_may_not_write(postgres: str, server: Server) -> None:
    name = f"guest_{postgres.rpartition('_')[2]}"
    server.command(f"CREATE ROLE {name} LOGIN PASSWORD 'guest'")
    try:
        guest = PostgresEngine(f"postgresql://{name}:guest@127.0.0.1:{server.port}/{postgres.rpartition('/')[2]}")
        assert "give its user the right" in str(complaint(guest, "DELETE FROM h1.candles"))
    finally:
        with suppress(psycopg.Error):
            server.command(f"DROP ROLE {name}")


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/db?sslmode=require", "postgresql://u@h:5432/db?sslmode=require"),
        ("postgres://u:s3cret%40@h/db", "postgresql://u@h/db"),
        ("postgresql:///db?host=/var/run/postgresql", "postgresql:///db?host=/var/run/postgresql"),
        ("postgresql://u@[::1]:5/db", "postgresql://u@[::1]:5/db"),
        ("postgresql://u@a:1,b:2/db", "postgresql://u@a:1,b:2/db"),
    ],
)
def test_the_password_is_never_shown(url: str, shown: str) -> None:
    engine = PostgresEngine(url)
    assert engine.url == shown
    assert PostgresEngine(engine.url).url == shown
    assert "s3cret" not in repr(engine) + str(vars(engine))


def test_the_stamp_changes_with_every_commit(engine: PostgresEngine, other: PostgresEngine) -> None:
    before = engine.stamp()
    assert before is not None
    write(other, "CREATE TABLE t (n BIGINT)")
    assert engine.stamp() != before
    away = PostgresEngine("postgresql://u@127.0.0.1:1/x")
    assert (away.stamp(), away.stamp()) == (None, None)


def test_the_stamp_changes_when_a_commit_can_be_seen_and_not_before(
    engine: PostgresEngine, other: PostgresEngine
) -> None:
    """The server's log moves before: whoever looked then, and found nothing yet, would have missed it."""
    write(other, "CREATE TABLE t (n BIGINT)")
    seen = "SELECT pg_visible_in_snapshot(CAST(? AS xid8), CAST(? AS pg_snapshot))::int::bigint AS n"
    with other.connect(FOREVER, "a test", write=True) as connection, ExitStack() as open_one:
        open_one.enter_context(connection.transaction())
        connection.execute("INSERT INTO t VALUES (1)")
        (xid,) = connection.frame("SELECT CAST(pg_current_xact_id()::text AS BIGINT) AS n", N)["n"]
        stamps = [engine.stamp()]
        open_one.close()
        stamps.append(engine.stamp())
    assert [read(engine, seen, str(xid), stamp) for stamp in stamps] == [[0], [1]]


def test_locks_have_the_same_number_everywhere() -> None:
    assert key_of("lock h1") == 8527473799832679305
    assert len({key_of(f"lock {name}") for name in ("h1", "h4", "d", "w", "channel-desk")}) == 5


def test_it_is_the_store_of_its_address(postgres: str) -> None:
    store = open_store(postgres)
    assert store.exists()
    with store.writing(FOREVER, "a test") as session:
        assert session.data.count(H4, CANDLES) == 0
    assert store.url == PostgresEngine(postgres).url
