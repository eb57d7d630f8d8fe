"""The file is open while somebody uses it, and at no other time; whatever happened to those before."""

import multiprocessing
import threading
from pathlib import Path

import duckdb
import pytest

from spike_assets.store.duckdb_instance import AttachedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it's a store.duckdb"


def is_open(path: Path) -> bool:
    return any(link.readlink() == path for link in Path("/proc/self/fd").iterdir() if link.exists())


def run(file: AttachedFile, sql: str, *, write: bool = True, short: bool = True) -> list[tuple[object, ...]]:
    with file.used(write=write, is_short=lambda: short) as connection:
        return connection.execute(sql).fetchall()


def test_it_is_let_go_of_behind_each_use(path: Path) -> None:
    file = AttachedFile(path)
    run(file, "CREATE TABLE t AS SELECT 1 AS n")
    assert not is_open(path)
    assert run(file, "SELECT n FROM t", write=False) == [(1,)]
    assert not is_open(path)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    path.unlink()
    with pytest.raises(duckdb.Error, match="does not exist"):
        run(file, "SELECT n FROM t", write=False)
    run(file, "CREATE TABLE t AS SELECT 2 AS n")
    assert run(file, "SELECT n FROM t", write=False) == [(2,)]


@pytest.mark.parametrize("short", [True, False])
def test_a_long_log_is_written_into_the_file(path: Path, short: bool) -> None:
    file = AttachedFile(path)
    run(file, "CREATE TABLE t AS SELECT 1 AS n", short=short)
    assert path.with_name(path.name + ".wal").exists() == short
    assert run(file, "SELECT n FROM t", short=False) == [(1,)]
    assert not path.with_name(path.name + ".wal").exists()


def test_those_who_read_at_once_share_it(path: Path) -> None:
    file = AttachedFile(path)
    run(file, "CREATE TABLE t AS SELECT 1 AS n", short=False)
    here, there = threading.Event(), threading.Event()

    def read() -> None:
        with file.used(write=False, is_short=bool) as connection:
            here.set()
            assert there.wait(60)
            assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]

    reader = threading.Thread(target=read)
    reader.start()
    assert here.wait(60)
    assert run(file, "SELECT n FROM t", write=False) == [(1,)]
    with pytest.raises(ZeroDivisionError), file.used(write=False, is_short=bool):
        raise ZeroDivisionError
    assert run(AttachedFile(path), "SELECT n FROM t", write=False) == [(1,)]
    assert is_open(path)
    there.set()
    reader.join()
    assert not is_open(path)
    run(file, "INSERT INTO t VALUES (2)")


def test_what_goes_wrong_is_gone_with_its_instance(path: Path) -> None:
    file = AttachedFile(path)
    run(file, "CREATE TABLE t AS SELECT 1 AS n")
    with pytest.raises(duckdb.Error, match="Conversion"):
        run(file, "BEGIN; INSERT INTO t VALUES (2); SELECT CAST('two' AS INTEGER)")
    assert not is_open(path)
    assert run(file, "SELECT n FROM t") == [(1,)]


def test_nobody_sees_what_others_have_loaded(path: Path) -> None:
    file = AttachedFile(path)
    with file.used(write=True, is_short=lambda: True) as connection:
        connection.execute("CREATE TEMP TABLE mine AS SELECT 1 AS n")
    with pytest.raises(duckdb.CatalogException, match="mine"):
        run(file, "SELECT n FROM mine")


# It is what this is about: the server that runs are forked off makes sure to have one thread.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_has_an_instance_of_its_own(path: Path) -> None:
    file = AttachedFile(path)
    run(file, "CREATE TABLE t AS SELECT 1 AS n", short=False)
    process = multiprocessing.get_context("fork").Process(target=run, args=(file, "INSERT INTO t VALUES (2)"))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert run(file, "SELECT n FROM t ORDER BY n") == [(1,), (2,)]


def test_a_file_of_an_older_format_is_read_and_written(path: Path) -> None:
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v0.10.2"}) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    file = AttachedFile(path)
    assert run(file, "SELECT n FROM t", write=False) == [(1,)]
    run(file, "INSERT INTO t VALUES (2)", short=False)
    assert run(file, "SELECT n FROM t ORDER BY n", write=False) == [(1,), (2,)]
