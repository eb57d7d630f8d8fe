"""What is rehearsed in the warm server leaves nothing behind, and touches nothing that is real."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.defs.launcher.rehearsal import rehearse
from spike_assets.defs.partitions import partitions
from spike_assets.granularity import H1
from spike_assets.pipeline import Pipeline
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))


def held() -> set[str]:
    """Give what of this process every child would share, or not have: what is open, and threads."""
    return {
        f"{name}/{one.name} {one.readlink() if name == 'fd' else ''}"
        for name in ("fd", "task")
        for one in Path("/proc/self", name).iterdir()
        if name == "task" or os.path.lexists(one)
    }


def test_it_is_a_pass_of_which_nothing_is_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "spike.duckdb"))
    pipeline = Pipeline(SimulatedSource(), store, ("EUR_USD",), history_start=datetime(2025, 1, 1, tzinfo=UTC))
    repository = build_defs(pipeline=pipeline).get_repository_def()
    rehearse(repository)
    before = held()
    rehearse(repository)
    assert held() <= before
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home")


def test_definitions_that_have_no_pass_have_no_rehearsal(tmp_path: Path) -> None:
    @dg.job
    def nothing() -> None: ...

    rehearse(dg.Definitions(jobs=[nothing]).get_repository_def())
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_history_may_begin_today(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "spike.duckdb"))
    pipeline = Pipeline(SimulatedSource(), store, ("EUR_USD",), history_start=datetime.now(UTC))
    rehearse(build_defs(pipeline=pipeline).get_repository_def())
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_one_that_fails_is_told(tmp_path: Path) -> None:
    @dg.op
    def fail() -> None:
        raise ValueError("as a pass would")

    @dg.job(partitions_def=partitions(H1, datetime(2025, 1, 1, tzinfo=UTC)))
    def h1_pass() -> None:
        fail()

    with pytest.raises(ValueError, match="as a pass would"):
        rehearse(dg.Definitions(jobs=[h1_pass]).get_repository_def())
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
