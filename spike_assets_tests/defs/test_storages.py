"""Runs and ticks on open connections: what Dagster's own classes store and read, in the files that either can have."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage

from spike_assets.defs import sqlite
from spike_assets.defs.storages import SqliteRuns, SqliteSchedules


def ours(home: Path) -> tuple[SqliteRuns, SqliteSchedules]:
    config = {"home": str(home)}
    return SqliteRuns.from_config_value(None, config), SqliteSchedules.from_config_value(None, config)


def theirs(home: Path) -> tuple[SqliteRunStorage, SqliteScheduleStorage]:
    return SqliteRunStorage.from_local(str(home / "history")), SqliteScheduleStorage.from_local(str(home / "schedules"))


@pytest.mark.parametrize(("writer", "reader"), [(ours, theirs), (theirs, ours)], ids=["ours first", "theirs first"])
def test_either_class_reads_what_the_other_stored(tmp_path: Path, writer: object, reader: object) -> None:
    run = dg.DagsterRun("a_job", tags={"a": "tag"})
    runs, schedules = writer(tmp_path)  # type: ignore[operator]
    runs.add_run(run)
    assert schedules.all_instigator_state() == []
    for _ in range(2):  # the second time nobody looks for migrations
        runs, schedules = reader(tmp_path)  # type: ignore[operator]
        assert runs.get_runs() == [run]
        assert runs.alembic_version() == theirs(tmp_path)[0].alembic_version()
        assert schedules.alembic_version() == theirs(tmp_path)[1].alembic_version()
        runs.dispose()
        schedules.dispose()


def test_another_release_looks_for_migrations_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "history" / "runs.db"
    assert not sqlite.is_settled(file)
    for storage in ours(tmp_path):
        storage.dispose()
    assert sqlite.is_settled(file)
    monkeypatch.setattr(sqlite, "_RELEASE", 1)
    assert not sqlite.is_settled(file)
    for storage in ours(tmp_path):
        storage.dispose()
    assert sqlite.is_settled(file)
