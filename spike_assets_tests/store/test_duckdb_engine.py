"""The DuckDB file and all that may be wrong with it: one clear line each, and nothing changed."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.engine import Connection
from spike_assets.store.rows import typed
from spike_assets.store.tables import CANDLES, SQL_TYPES, Column
from spike_assets_tests.processes import CONTEXT, PATIENCE, become_nobody, die, finished, run, start, told
from spike_assets_tests.support import FOREVER

AT_ONCE = Deadline.after(timedelta(0))
N = (Column("n", "int", "a number"),)
ONE = "CREATE TABLE t AS SELECT 1::BIGINT AS n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spike.duckdb"


def write(path: Path, sql: str) -> None:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        connection.execute(sql)


def read(path: Path, sql: str = "SELECT n FROM t ORDER BY n") -> list[int]:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=False) as connection:
        return connection.frame(sql, N)["n"].tolist()


def complaint(path: Path, *, write: bool, deadline: Deadline = AT_ONCE) -> SpikeError:
    """Give the error that opening ends in; it must be one line."""
    with pytest.raises(SpikeError) as raised, DuckDBEngine(path).connect(deadline, "a test", write=write) as connection:
        connection.execute("CREATE TABLE never (n BIGINT)")
    assert "\n" not in str(raised.value)
    return raised.value


def test_what_is_written_is_read(path: Path) -> None:
    assert not DuckDBEngine(path).exists()
    write(path, "CREATE TABLE t AS SELECT 1 AS n UNION ALL SELECT 2")
    assert DuckDBEngine(path).exists()
    assert read(path) == [1, 2]
    assert DuckDBEngine(path).url == str(path)


def test_times_are_utc_wherever_the_machine_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        zone = connection.frame("SELECT current_setting('TimeZone') AS zone", [Column("zone", "text", "")])
    assert zone["zone"].tolist() == ["UTC"]


def interrupted(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (2)")
        raise KeyboardInterrupt


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    write(path, "CREATE TABLE t (n BIGINT)")
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(KeyboardInterrupt):
            interrupted(connection)
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (3)")
    assert read(path) == [1, 3]


def test_parameters_and_types(path: Path) -> None:
    at = datetime(2025, 3, 9, 21, tzinfo=UTC)
    columns = (
        Column("a", "text", ""),
        Column("b", "time", ""),
        Column("c", "float", "", null="x"),
        Column("d", "int", "", null="x"),
    )
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        found = connection.frame("SELECT ? AS a, ? AS b, NULL::DOUBLE AS c, NULL::BIGINT AS d", columns, ["x", at])
    assert found["a"].tolist() == ["x"]
    assert found["b"].dtype == "datetime64[us, UTC]"
    assert found["b"].iloc[0] == at
    assert found["c"].isna().all()
    assert str(found["d"].dtype) == "Int64"


def test_loaded_frames_are_read_as_they_are(path: Path) -> None:
    frame = pd.DataFrame(
        {
            "instrument": pd.Series(["EUR_USD", None], dtype=object),
            "time": pd.DatetimeIndex(["2025-03-09 21:00", "2025-03-09 22:00"], tz="UTC").as_unit("us"),
            "open": [1.5, np.nan],
        }
    ).set_index(pd.Index([7, 3]))
    columns = (*CANDLES.columns[:2], Column("open", "float", "", null="x"))
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        connection.load("given", columns, frame)
        found = connection.frame("SELECT * FROM given", columns)
        nulls = connection.frame("SELECT COUNT(*) AS n FROM given WHERE instrument IS NULL", N)
        connection.load("given", columns, frame[:1])
        again = connection.frame("SELECT COUNT(*) AS n FROM given", N)
    assert found["instrument"].tolist() == ["EUR_USD", None]
    assert found["time"].tolist() == frame["time"].tolist()
    np.testing.assert_array_equal(found["open"], [1.5, np.nan])
    assert (nulls["n"].tolist(), again["n"].tolist()) == ([1], [1])


def test_readers_share_and_a_writer_is_alone(path: Path) -> None:
    write(path, "CREATE TABLE t (n BIGINT)")
    with DuckDBEngine(path).connect(FOREVER, "one", write=False):
        assert read(path) == []
        assert isinstance(complaint(path, write=True), StoreLockedError)
    with DuckDBEngine(path).connect(FOREVER, "one", write=True):
        assert "in use by one (process" in str(complaint(path, write=False))


def test_granularities_are_held_one_by_one(path: Path) -> None:
    engine = DuckDBEngine(path)
    with engine.lock("h1", AT_ONCE, "a pass over H1"):
        with engine.lock("h4", AT_ONCE, "a pass over H4"):
            pass
        with pytest.raises(StoreLockedError, match="a pass over H1"), engine.lock("h1", AT_ONCE, "another"):
            raise AssertionError
        write(path, "CREATE TABLE t (n BIGINT)")  # the file itself is free


def test_a_statement_that_fails_is_told_in_one_line(path: Path) -> None:
    with pytest.raises(StoreError, match=r"spike\.duckdb: .*nowhere") as raised:
        write(path, "SELECT *\nFROM nowhere")
    assert "\n" not in str(raised.value)


def test_an_error_of_ours_comes_out_as_it_is(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), DuckDBEngine(path).connect(FOREVER, "a test", write=True):
        _ = 1 / 0
    write(path, "CREATE TABLE t (n BIGINT)")


# --- files that are no database ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at\n" * 1000, b"short"])
@pytest.mark.parametrize("as_writer", [True, False])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes, as_writer: bool) -> None:
    path.write_bytes(content)
    error = complaint(path, write=as_writer)
    assert isinstance(error, StoreError)
    assert str(path) in str(error)
    assert "is not a DuckDB database; set SPIKE_DATABASE to another path" in str(error)
    assert path.read_bytes() == content


def test_a_folder_is_no_database(path: Path) -> None:
    path.mkdir()
    assert str(path) in str(complaint(path, write=True))


def test_the_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    error = complaint(tmp_path / "data" / "spike.duckdb", write=True)
    assert "cannot create" in str(error)
    assert "SPIKE_DATABASE" in str(error)


# --- what may not be written ------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="spike-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def try_as_nobody(tell: Pipe, path: Path, as_writer: bool) -> None:
    become_nobody()
    try:
        with DuckDBEngine(path).connect(AT_ONCE, "a test", write=as_writer) as connection:
            connection.execute("CREATE TABLE never (n BIGINT)")
    except SpikeError as error:
        tell.send((type(error).__name__, str(error)))


def test_a_folder_that_cannot_be_written(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    path = open_folder / "spike.duckdb"
    assert told(try_as_nobody, path, True) == [
        (
            "StoreError",
            f"cannot create {path}.lock.queue: Permission denied; set SPIKE_DATABASE to a folder that can be written",
        )
    ]
    assert list(open_folder.iterdir()) == []


def test_a_file_that_cannot_be_written(open_folder: Path) -> None:
    path = open_folder / "spike.duckdb"
    write(path, ONE)
    for lock in open_folder.glob("*.lock*"):
        lock.chmod(0o666)
    path.chmod(0o444)
    ((name, text),) = told(try_as_nobody, path, True)
    assert name == "StoreError"
    assert text.startswith(f"{path} cannot be written: ")
    assert text.endswith("; set SPIKE_DATABASE to a file that can be")
    assert "\n" not in text
    assert read(path) == [1]


# --- a full disk ------------------------------------------------------------------------------------------------------


def fill(tell: Pipe, path: Path, more: int) -> None:
    """Write one small commit and then a large one, where files cannot grow by more than a little."""
    largest = max(file.stat().st_size for file in path.parent.iterdir()) + more
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (2)")
            tell.send("small")
            with connection.transaction():
                connection.execute("INSERT INTO t SELECT (random() * 1e15)::BIGINT FROM range(2_000_000)")
            tell.send("large")
    except SpikeError as error:
        tell.send((type(error).__name__, str(error)))


@pytest.mark.parametrize("more", [20_000, 300_000, 2_000_000])
def test_a_full_disk_loses_nothing(path: Path, more: int) -> None:
    write(path, ONE)
    heard = told(fill, path, more)
    assert heard[0] == "small"
    name, text = heard[-1]
    assert name == StoreUnavailableError.__name__
    assert str(path) in text
    assert "no space left" in text
    assert "\n" not in text
    assert read(path) == [1, 2]
    write(path, "INSERT INTO t VALUES (3)")
    assert read(path) == [1, 2, 3]


def fill_at_start(tell: Pipe, path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
            connection.execute(ONE)
        tell.send("done")
    except SpikeError as error:
        tell.send((type(error).__name__, str(error)))


def test_a_disk_that_is_full_from_the_start(path: Path) -> None:
    ((name, text),) = told(fill_at_start, path)
    assert name == StoreUnavailableError.__name__
    assert "no space left" in text
    assert not path.exists()
    write(path, ONE)
    assert read(path) == [1]


def test_a_file_that_was_cut_short(path: Path) -> None:
    write(path, ONE)
    path.write_bytes(path.read_bytes()[:4096])
    error = complaint(path, write=True)
    assert str(error) == f"{path} is cut short; restore it, or set SPIKE_DATABASE to another path"
    assert path.stat().st_size == 4096


# --- other programs, and death ----------------------------------------------------------------------------------------


def open_with_duckdb(end: Pipe, path: Path) -> None:
    """Open the file as some other program would."""
    with duckdb.connect(str(path)):
        end.send("open")
        end.recv()


@pytest.mark.parametrize("as_writer", [True, False])
def test_a_program_that_takes_no_lock_file(path: Path, as_writer: bool) -> None:
    write(path, ONE)
    here, there = CONTEXT.Pipe()
    process = start(open_with_duckdb, there, path)
    assert here.poll(PATIENCE)
    error = complaint(path, write=as_writer)
    assert isinstance(error, StoreLockedError)
    assert f"{path} is open in a program that does not take spike's lock file" in str(error)
    assert str(process.pid) in str(error)
    here.send("done")
    assert finished(process) == 0
    assert read(path) == [1]


def commit_and_die(path: Path) -> None:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (2)")
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (3)")
            die()


@pytest.mark.parametrize("as_writer", [True, False])
def test_what_was_committed_survives_and_the_rest_does_not(path: Path, as_writer: bool) -> None:
    write(path, ONE)
    assert run(commit_and_die, path) == -9
    if as_writer:
        write(path, "INSERT INTO t VALUES (4)")
    assert read(path) == [1, 2, *([4] if as_writer else [])]


def create_and_die(path: Path) -> None:
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True):
        die()


def test_death_at_the_first_opening(path: Path) -> None:
    assert run(create_and_die, path) == -9
    assert os.listdir(path.parent)  # noqa: PTH208 - just that there is something
    write(path, ONE)
    assert read(path) == [1]


KINDS = (
    Column("word", "text", "", null="maybe"),
    Column("flag", "bool", "", null="maybe"),
    Column("number", "int", "", null="maybe"),
    Column("share", "float", "", null="maybe"),
    Column("moment", "time", "", null="maybe"),
)
ONE_OF_EACH = ("x", True, 2**62, 0.1, datetime(2025, 3, 10, 5, 0, 0, 1, tzinfo=UTC))


@pytest.mark.parametrize("n", [1, 1_999, 2_000, 50_000])
@pytest.mark.parametrize("there", [False, True])
def test_frames_of_any_size_are_loaded_whatever_of_them_is_null(path: Path, n: int, there: bool) -> None:
    """DuckDB guesses what objects are by samples: a single value may be anywhere, and need not be like the others."""
    missing = np.ones(n, dtype=bool)
    missing[n * 2 // 3] = not there
    arrays = {
        column.name: np.ma.masked_array(np.full(n, value), mask=missing)
        for column, value in zip(
            KINDS, ("x", True, 2**62, 0.1, np.datetime64(ONE_OF_EACH[4].replace(tzinfo=None))), strict=True
        )
    }
    with DuckDBEngine(path).connect(FOREVER, "a test", write=True) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'{c.name} {SQL_TYPES[c.kind]}' for c in KINDS)})")
        connection.load("given", KINDS, typed(KINDS, arrays))
        connection.execute(f"INSERT INTO t SELECT {', '.join(c.name for c in KINDS)} FROM given")  # noqa: S608
        assert connection.rows("SELECT COUNT(*) AS n FROM t", N) == [(n,)]
        some = "SELECT * FROM t WHERE word = 'x' OR flag OR number > 0 OR share > 0 OR moment > '2000-01-01'"
        assert connection.rows(some, KINDS) == ([ONE_OF_EACH] if there else [])


def test_a_log_without_its_file_is_not_thrown_away(path: Path) -> None:
    """DuckDB would make a new file, and remove the log with what was committed last."""
    write(path, ONE)
    log = path.with_name(path.name + ".wal")
    assert log.stat().st_size
    path.rename(path.with_name("kept.duckdb"))
    for writing in (True, False):
        assert str(complaint(path, write=writing)) == (
            f"{path} is not there, its log {log.name} is, and has what was written last; put the file back beside it,"
            " or move the log away too, to where the file went"
        )
    with pytest.raises(StoreError, match="put the file back"):
        DuckDBEngine(path).tidy(FOREVER)
    path.with_name("kept.duckdb").rename(path)
    assert read(path) == [1]


def test_a_writer_of_little_leaves_its_log_and_nothing_is_lost(path: Path) -> None:
    """The next one, reader or writer, finds what it wrote; much, and tidying up, end in the file."""
    engine = DuckDBEngine(path)
    log = path.with_name(path.name + ".wal")
    with engine.connect(FOREVER, "a test", write=True) as connection:
        connection.execute("CREATE TABLE t (i BIGINT PRIMARY KEY)")
    for i in range(3):
        with engine.connect(FOREVER, "a test", write=True) as connection:
            connection.execute("INSERT INTO t VALUES (?)", [i])
        assert log.exists()
        with engine.connect(FOREVER, "a test", write=False) as connection:
            assert connection.frame("SELECT i FROM t ORDER BY i", [Column("i", "int", "")])["i"].tolist() == list(
                range(i + 1)
            )
    engine.tidy(FOREVER)
    assert not log.exists()
    engine.tidy(FOREVER)  # nothing to do
    with engine.connect(FOREVER, "a test", write=True) as connection:
        connection.execute("INSERT INTO t SELECT * FROM range(100, 100_000)")
    assert not log.exists()
    with engine.connect(FOREVER, "a test", write=False) as connection:
        assert connection.rows("SELECT COUNT(*) AS n FROM t", [Column("n", "int", "")]) == [(99_903,)]
