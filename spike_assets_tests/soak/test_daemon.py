"""A real daemon, dagster.yaml as shipped: a run whose process died is run again, one that failed for good is not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from spike_assets.cli.children import Child
from spike_assets.defs import faults
from spike_assets_tests.defs.faulty import FOLDER, WRONG
from spike_assets_tests.defs.running import INSTRUMENTS, KEYS, market, passes
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.support import make_pipeline

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run a Dagster daemon under the shipped dagster.yaml, looked after more often, over `faulty`."""
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shipped = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    assert shipped.count("poll_interval_seconds: 10") == 1
    config = shipped.replace("poll_interval_seconds: 10", "poll_interval_seconds: 1")
    (tmp_path / "dagster.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "workspace.yaml").write_text(
        "load_from:\n  - python_module: {module_name: spike_assets_tests.defs.faulty, location_name: spike}\n",
        encoding="utf-8",
    )
    with dg.DagsterInstance.get() as instance:  # two processes that make Dagster's tables at once: one of them fails
        assert instance.event_log_storage
        assert instance.schedule_storage
        assert instance.get_runs() == []
    arguments = ["dagster._daemon", "run", "--workspace", str(tmp_path / "workspace.yaml")]
    daemon = Child("the daemon", arguments, os.environ, tmp_path / "daemon.log")
    yield tmp_path
    daemon.stop()


def launch_by_command(home: Path, job: str, run_id: str) -> None:
    """Put a run into the daemon's queue."""
    tags = json.dumps({"dagster/partition": KEYS[0]} if job.endswith("pass") else {})
    place = ["--workspace", str(home / "workspace.yaml"), "--location", "spike"]
    command = ["-m", "dagster", "job", "launch", *place, "--job", job, "--tags", tags, "--run-id", run_id]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wait_for(home: Path, what: str, found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end, f"{what}; {(home / 'daemon.log').read_text(encoding='utf-8')[-4000:]}"
        time.sleep(0.2)


def asked(home: Path) -> list[int]:
    """Give the processes that asked the source, in order."""
    path = home / "asked"
    return [int(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def engine_says(instance: dg.DagsterInstance, run_id: str, words: str) -> bool:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any(words in (entry.get_dagster_event().message or "") for entry in entries)


@pytest.mark.soak
def test_a_run_whose_process_died_is_run_again_and_one_that_failed_for_good_is_not(home: Path) -> None:
    killed, wrong = str(uuid4()), str(uuid4())
    (home / "hold").touch()
    launch_by_command(home, "h1_pass", killed)
    wait_for(home, "the run asks its source", lambda: bool(asked(home)))
    (victim,) = asked(home)
    os.kill(victim, signal.SIGKILL)
    (home / "hold").unlink()
    with dg.DagsterInstance.get() as instance:

        def status(run_id: str) -> dg.DagsterRunStatus:
            found = instance.get_run_by_id(run_id)
            assert found
            return found.status

        def again() -> list[dg.DagsterRun]:
            return [each for each in instance.get_runs() if each.parent_run_id == killed]

        wait_for(home, "the run is failed", lambda: status(killed) == dg.DagsterRunStatus.FAILURE)
        wait_for(home, "it is run again", lambda: bool(again()))
        (second,) = again()
        wait_for(home, "it goes well", lambda: status(second.run_id) == dg.DagsterRunStatus.SUCCESS)
        assert second.tags["dagster/retry_number"] == "1"
        assert second.tags["dagster/partition"] == KEYS[0]

        (home / "wrong").touch()
        launch_by_command(home, "h1_pass", wrong)
        wait_for(home, "it is not run again", lambda: engine_says(instance, wrong, "Not retrying run"))
        assert status(wrong) == dg.DagsterRunStatus.FAILURE
        assert {each.run_id for each in instance.get_runs()} == {killed, second.run_id, wrong}
        failures = instance.get_records_for_run(wrong, of_type=dg.DagsterEventType.STEP_FAILURE).records
        assert [faults.own_words([r.event_log_entry.dagster_event]) for r in failures] == [WRONG]  # type: ignore[list-item]

    processes = asked(home)
    assert len(processes) == len(set(processes)) == 3
    recorded = passes(make_pipeline(market(), home / "spike.duckdb", INSTRUMENTS))
    assert sorted(each["status"] for each in recorded) == ["crashed", "failed", "success"]
    # Both failures are told of by the sensor, each in one line; between them a run went well.
    log = home / "daemon.log"
    last = f"h1_pass failed at {KEYS[0]}: {WRONG} (run {wrong[:8]})"
    wait_for(home, "the sensor tells", lambda: last in log.read_text(encoding="utf-8").splitlines())
    told = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("h1_pass failed at ")]
    assert told[1:] == [last]
    assert "SIGKILL" in told[0]
    assert told[0].endswith(f"(run {killed[:8]})")
