"""A backup is of everything, whole or none, and comes back bit for bit; what is damaged is told and changes nothing."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from spike_assets.errors import StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.granularity import H1
from spike_assets.pipeline import records
from spike_assets.pipeline.backup import backup, restore
from spike_assets.store import folder as folder_module
from spike_assets.store import open_store
from spike_assets.store import whole as whole_module
from spike_assets.store.copy import copy
from spike_assets.store.folder import Folder, new_folder
from spike_assets.store.manifest import NAME, Saved, read_manifest, written
from spike_assets.store.migrations import LATEST
from spike_assets.store.store import Store
from spike_assets.store.whole import PLACES, Place
from spike_assets_tests.postgres import postgres, server
from spike_assets_tests.processes import die, run
from spike_assets_tests.store.filled import NOW, everything, filled
from spike_assets_tests.support import FOREVER, MemoryEngine

__all__ = ["postgres", "server"]


@pytest.fixture(scope="module")
def full() -> Store:
    return filled()


@pytest.fixture(scope="module")
def saved(full: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a backup that nobody changes."""
    folder = tmp_path_factory.mktemp("saved") / "backup"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_module, "_CHUNK_STEPS", 300)
        backup(full, folder, NOW)
    return folder


@pytest.fixture
def mine(saved: Path, tmp_path: Path) -> Path:
    """Give a backup to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "mine"))


@pytest.fixture(params=["duckdb", "postgres"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give an empty store of either engine."""
    path = str(tmp_path / "new.duckdb")
    return open_store(path if request.param == "duckdb" else request.getfixturevalue("postgres"))


def same(one: Store, other: Store) -> None:
    before, after = everything(one), everything(other)
    for name, rows in before.items():
        pd.testing.assert_frame_equal(after[name], rows, check_exact=True)


def test_everything_comes_back_bit_for_bit_and_there_is_one_state_of_it(
    full: Store, new: Store, saved: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    restored = restore(saved, new, NOW, progress=lambda *step: told.append(step))
    same(full, new)
    total = restored.manifest.rows
    assert (told[0], told[-1]) == (("h1.candles", 0, total), ("all", total, total))
    again = backup(new, tmp_path / "again", NOW + timedelta(hours=1))
    assert {one.name: one.rows for one in again.tables} == {one.name: one.rows for one in restored.tables}
    assert again.size == sum(file.stat().st_size for file in (tmp_path / "again").iterdir())
    same(full, new)
    with pytest.raises(StoreError, match=r"h1\.candles has [\d,]+ rows; nothing was changed, .* --replace"):
        restore(saved, new, NOW)
    with new.writing(FOREVER, "a test") as session:
        session.ops.write_pips({"EUR_USD": -9, "USD_JPY": -2})
    assert restore(tmp_path / "again", new, NOW, replace=True).tables == again.tables
    same(full, new)


def test_what_a_backup_says_of_itself(full: Store, saved: Path) -> None:
    says = read_manifest(saved, "backup")
    assert (says.kind, says.created_at, says.schema_version, says.database) == ("backup", NOW, LATEST, "memory")
    assert says.provenance == {
        "source": "simulated",
        "price": "mid",
        "atr_period": 14,
        "formula_version": 1,
        "simultaneous_share": 0.1 + 0.2,
    }
    assert [table.name for table in says.tables] == [place.name for place in PLACES]
    assert {table.name: table.rows for table in says.tables} == {
        name: len(all_) for name, all_ in everything(full).items()
    }
    candles = says.tables[0]
    assert len(candles.parts) > 2
    first = everything(full)["h1.candles"]["time"].min()
    assert (candles.parts[0].first, candles.parts[0].file) == (first, "h1.candles.0000.parquet")
    files = {part.file for table in says.tables for part in table.parts}
    assert {file.name for file in saved.iterdir()} == files | {NAME}


def test_whoever_reads_parquet_reads_a_backup(full: Store, saved: Path) -> None:
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT COUNT(*), MAX(close) FROM read_parquet(?)", [f"{saved}/h1.candles.*.parquet"]
        )
        rows = everything(full)["h1.candles"]
        assert found.fetchone() == (len(rows), rows["close"].max())


def test_its_hashes_are_those_of_a_copy(full: Store, tmp_path: Path) -> None:
    copied = copy(full, open_store(str(tmp_path / "spike.duckdb")), FOREVER)
    assert list(backup(full, tmp_path / "backup", NOW).tables) == copied


# --- what is damaged --------------------------------------------------------------------------------------------------


def changed(folder: Path, **says: object) -> None:
    """Write a manifest that nobody has tampered with."""
    manifest = read_manifest(folder, "backup").model_copy(update=says)
    (folder / NAME).write_text(written(manifest), encoding="utf-8")


def tampered(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    both = json.loads((folder / NAME).read_text(encoding="utf-8"))
    change(both["manifest"])
    (folder / NAME).write_text(json.dumps(both), encoding="utf-8")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (
        lambda at: cut(at / "h1.events.0000.parquet"),
        r"h1\.events\.0000\.parquet is missing, damaged or cut short",
    ),
    "gone": (lambda at: (at / "ops.outbox.0000.parquet").unlink(), r"ops\.outbox\.0000\.parquet is missing"),
    "flipped": (lambda at: flipped(at / "h1.atr.0001.parquet"), r"h1\.atr\.0001\.parquet "),
    "other rows": (
        lambda at: shutil.copy(at / "h1.atr.0000.parquet", at / "h1.atr.0001.parquet"),
        r"h1\.atr\.0001\.parquet does not hold the rows that the manifest says; use another backup",
    ),
    "counts": (
        lambda at: tampered(at, lambda says: says["tables"][0].update(rows=3)),  # type: ignore[index]
        "manifest.json was changed after it was written",
    ),
    "time": (lambda at: tampered(at, lambda says: says.update(created_at="2020-01-01T00:00:00Z")), "was changed after"),
    "half a manifest": (lambda at: cut(at / NAME), r"manifest\.json is damaged; use another backup"),
    "another manifest": (lambda at: (at / NAME).write_text('["x"]'), r"manifest\.json is damaged"),
    "binary": (lambda at: (at / NAME).write_bytes(b"\xff\xfe\xff"), "it is no text"),
    "no manifest": (lambda at: (at / NAME).unlink(), r"is no backup: it has no manifest\.json"),
    "nothing": (shutil.rmtree, r"is no backup: it has no manifest\.json"),
    "archive": (lambda at: changed(at, kind="archive"), "is an archive, not a backup"),
    "newer": (
        lambda at: changed(at, schema_version=LATEST + 1, spike="9.9"),
        rf"schema {LATEST + 1}, written by spike 9\.9; this release knows schema {LATEST}: use that release",
    ),
    "format": (lambda at: changed(at, format=2), "is of format 2; a newer release of spike reads it"),
}


@pytest.fixture(scope="module")
def spared() -> Store:
    """Give a store in which a restore that fails changes nothing."""
    store = Store(MemoryEngine())
    with store.writing(FOREVER, "a test") as session:
        session.ops.write_pips({"EUR_USD": -4})
    return store


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_told_and_the_database_is_as_it_was(mine: Path, spared: Store, damage: str) -> None:
    how, says = DAMAGE[damage]
    how(mine)
    with pytest.raises(StoreError, match=says) as raised:
        restore(mine, spared, NOW, replace=True)
    assert "\n" not in str(raised.value)
    assert {name: len(rows) for name, rows in everything(spared).items() if len(rows)} == {"ops.pips": 1}


# --- other schemas ----------------------------------------------------------------------------------------------------

LATER = {"alerts", "grids", "outbox", "deliveries", "silences", "incidents", "acknowledged"}
"""Tables that came with the migrations behind the second …"""
WIDER = {"provenance", "processing_state"}
"""… and those that have got columns since."""


def as_of_schema_2(table: Saved) -> Saved:
    """Give a table as a release without alerts would have saved it; those that have got columns since, without rows."""
    if table.name.split(".")[1] not in WIDER:
        return table
    columns = tuple(name for name in table.columns if name not in {"simultaneous_share", "live_since"})
    return table.model_copy(update={"columns": columns, "rows": 0, "parts": ()})


def test_an_older_schema_comes_back_as_its_migrations_leave_it(mine: Path, full: Store, tmp_path: Path) -> None:
    tables = read_manifest(mine, "backup").tables
    tables = tuple(as_of_schema_2(table) for table in tables if table.name.split(".")[1] not in LATER)
    changed(mine, schema_version=2, tables=tables)
    store = open_store(str(tmp_path / "new.duckdb"))
    restore(mine, store, NOW)
    before, after = everything(full), everything(store)
    for name in ("h1.candles", "h1.features", "ops.passes"):
        pd.testing.assert_frame_equal(after[name], before[name], check_exact=True)
    with store.reading(FOREVER) as session:
        assert session.whole.schema() == LATEST
        assert {mark.instrument for mark in session.pending.of(H1, "alerts")} == {"EUR_USD", "USD_JPY"}
    with pytest.raises(StoreError, match=rf"tables of schema {LATEST}, the backup is of schema 2; nothing was changed"):
        restore(mine, store, NOW, replace=True)


def test_what_a_newer_release_has_been_at_is_not_saved_by_halves(tmp_path: Path) -> None:
    engine = MemoryEngine()
    with Store(engine).writing(FOREVER, "a test"):
        pass
    with engine.connect(FOREVER, "a newer release", write=True) as connection:
        connection.execute("INSERT INTO ops.migrations VALUES (99, now())")
    with pytest.raises(StoreError, match=rf"schema 99, of which this release knows {LATEST}; a newer release"):
        backup(Store(engine), tmp_path / "backup", NOW)
    assert not list(tmp_path.iterdir())


# --- whole or none ----------------------------------------------------------------------------------------------------


def test_there_has_to_be_something_to_save(tmp_path: Path, new: Store) -> None:
    with new.writing(FOREVER, "a test"):
        pass
    with pytest.raises(StoreError, match="is empty; there is nothing to copy or to back up"):
        backup(new, tmp_path / "backup", NOW)
    with pytest.raises(StoreError, match=r"there is no database at .*nowhere\.duckdb to back up; set SPIKE_DATABASE"):
        backup(open_store(str(tmp_path / "nowhere.duckdb")), tmp_path / "backup", NOW)
    assert [path.name for path in tmp_path.iterdir() if "new" not in path.name] == []


def test_a_folder_that_is_there_is_left_alone(full: Store, mine: Path) -> None:
    before = {file.name: file.read_bytes() for file in mine.iterdir()}
    with pytest.raises(StoreError, match="is there already; nothing was done, give a name that is new"):
        backup(full, mine, NOW)
    assert {file.name: file.read_bytes() for file in mine.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/backup cannot be written: Not a directory; name a folder that can be"):
        backup(full, tmp_path / "file" / "backup", NOW)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "_sync", full_disk)
    with pytest.raises(StoreUnavailableError, match="No space left on device; free some space and try again"):
        backup(full, tmp_path / "backup", NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def killed_backup(database: str, name: Path, at: int) -> None:
    """Back up in this process, which is killed before it has written so many files."""
    real, added = Folder.add, [0]

    def add(self: Folder, place: Place, rows: pd.DataFrame) -> None:
        added[0] += 1
        if added[0] == at:
            die()
        real(self, place, rows)

    Folder.add = add  # type: ignore[method-assign]
    backup(open_store(database), name, NOW)


def test_a_backup_that_was_killed_is_none_and_in_nobodys_way(full: Store, tmp_path: Path) -> None:
    store, name = open_store(str(tmp_path / "spike.duckdb")), tmp_path / "backup"
    copy(full, store, FOREVER)
    assert run(killed_backup, store.url, name, 3) == -9
    assert not name.exists()
    left = tmp_path / "backup.partial"
    assert "snapshot.duckdb" in {file.name for file in left.iterdir()}
    with pytest.raises(StoreError, match="is no backup"):
        restore(left, Store(MemoryEngine()), NOW)
    backup(store, name, NOW)
    assert not left.exists()
    restored = Store(MemoryEngine())
    restore(name, restored, NOW)
    same(store, restored)


def test_two_at_one_folder_and_what_is_not_ours(tmp_path: Path) -> None:
    name = tmp_path / "backup"
    with (
        new_folder(name),
        pytest.raises(StoreLockedError, match="is being written by another process"),
        new_folder(name),
    ):
        pass
    (tmp_path / "backup.partial").mkdir(exist_ok=True)
    (tmp_path / "backup.partial" / "letter.txt").write_text("")
    with pytest.raises(StoreError, match=r"holds letter\.txt, which spike did not write"), new_folder(name):
        pass
    assert (tmp_path / "backup.partial" / "letter.txt").exists()


def test_nothing_is_replaced_under_a_pass_that_is_at_work(full: Store, saved: Path) -> None:
    store = Store(MemoryEngine())
    running = records.starting("cli", NOW, timedelta(minutes=1))
    with store.writing(FOREVER, "a test") as session, session.transaction():
        records.begin(session, H1, running)
    with pytest.raises(StoreLockedError, match="a pass over H1 is at work on memory"):
        restore(saved, store, NOW, replace=True)
    restore(saved, store, NOW + timedelta(minutes=2), replace=True)
    same(full, store)
