"""One release and the next on one store: what a newer one added, the one before it lives with."""

import io
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets.granularity import H1, D
from spike_assets.market_hours import Window
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.rebuild import rebuild
from spike_assets.pipeline.status import status
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import migrations
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import PEAKS
from spike_assets_tests.dashboard.test_postgres import PATHS, said
from spike_assets_tests.engines import database, engine, new_store, store
from spike_assets_tests.postgres import postgres, server
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.store.later import bring_up_to_date
from spike_assets_tests.support import FOREVER, INVARIANT, MemoryEngine, hashes, make_pipeline

__all__ = ["database", "engine", "new_store", "postgres", "server", "store"]

ROOT = Path(__file__).parents[1]
NAMES = ("EUR_USD", "USD_JPY")
SCHEMA = "spike_assets/store/schema.sql"


def a_day(store_: Store) -> tuple[dict[str, str], list[tuple[str, object, object]], list[tuple[str, str]]]:
    """Load, pass, correct, silence, reconcile, deliver and rebuild; give the tables, what was told, and the queue."""
    desk = Desk(peaks=PEAKS, store=store_).begin(26)
    for n in range(27, 31):
        desk.run(n)
    desk.silence("GBP_USD", 2)
    desk.peak("EUR_USD", 29)
    desk.calm("GBP_USD", 28)
    desk.omit("EUR_GBP", 31)
    desk.reconcile()
    desk.deliver()
    desk.run(32)
    rebuild(desk.pipeline)
    desk.later(minutes=5).deliver()
    assert verify(desk.pipeline, H1).difference is None
    assert status(desk.pipeline).granularities[0].outcome == "ok"
    return hashes(desk.pipeline, H1), list(desk.inbox.told()), [(item.instrument, item.status) for item in desk.items()]


def test_all_goes_on_where_a_newer_release_was(store: Store) -> None:
    found = a_day(bring_up_to_date(store))
    assert found == a_day(Store(MemoryEngine()))
    assert len(found[0]) == len(INVARIANT)
    assert [told[0] for told in found[1]] == ["digest", "correction"]


def test_the_dashboard_goes_on_where_a_newer_release_was(store: Store) -> None:
    ours, newer = said(Store(MemoryEngine())), said(bring_up_to_date(store))
    for path in PATHS:
        assert newer[path] == ours[path], path
        assert newer[path][0] == 200, newer[path]


# --- the code of the release before -----------------------------------------------------------------------------------


def git(*arguments: str) -> bytes:
    """Give what git says; nothing where there is no repository, or not enough of it."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S607
    return done.stdout if not done.returncode else b""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the newest code that knew the migration before the last, and not the last."""
    header = f"-- migration {migrations.LATEST}: "
    commits = git("log", "--reverse", "--format=%H", f"-S{header}", "--", SCHEMA).decode().split()
    code = git("archive", "--format=zip", f"{commits[0]}~1", "spike_assets") if commits else b""
    if not code:
        pytest.skip("this checkout has not the history in which the code of the migration before the last stands")
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        archive.extractall(folder)
    known = (folder / SCHEMA).read_text(encoding="utf-8")
    assert header not in known
    assert f"-- migration {migrations.LATEST - 1}: " in known
    return folder


_COMMANDS = """
import sys, spike_assets
from spike_assets.cli import spike

print(spike_assets.__file__, flush=True)
for line in sys.argv[1:]:
    spike(line.split(), standalone_mode=False)
"""


def run_before(code: Path, folder: Path, database_: str, *commands: str) -> list[str]:
    """Run commands of the release before, as a person types them; give the lines that they print."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPIKE_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _COMMANDS, *commands],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(code), "SPIKE_DATABASE": database_, "SPIKE_INSTRUMENTS": ",".join(NAMES)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    where, *lines = done.stdout.splitlines()
    assert where == str(code / "spike_assets" / "__init__.py")
    return lines


def test_the_release_before_runs_on_the_newest_schema(before: Path, database: str, tmp_path: Path) -> None:
    """It goes on where this one was, and this one where it was; each verifies what the other did."""
    if "://" in database and not (before / "spike_assets" / "store" / "postgres_engine.py").exists():
        pytest.skip("the release before did not know Postgres")
    ours = make_pipeline(SimulatedSource(), database, NAMES)
    backfill(ours, D, Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)))
    commands = ("backfill D --from 2025-03-01 --to 2025-05-01", "verify D", "run D", "rebuild", "status")
    lines = run_before(before, tmp_path, database, *commands)
    assert any('"status": "success"' in line for line in lines)
    assert any(line.startswith("D: ") for line in lines)
    assert verify(ours, D).difference is None
    backfill(ours, D, Window(datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)))
    assert verify(ours, D).difference is None
    with ours.store.reading(FOREVER) as session:
        last = session.data.last_time(D)
    assert last is not None
    assert last > datetime(2026, 1, 1, tzinfo=UTC)
