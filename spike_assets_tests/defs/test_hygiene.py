"""Retries and time limits: sources that hang, stores that stay locked, brokers that are wrong, processes that die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from spike_assets.cli.children import Child
from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs import faults, resources
from spike_assets.defs import reconcile as reconcile_module
from spike_assets.errors import SourceError, TransientError
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, records
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Store
from spike_assets_tests.defs.faulty import FOLDER, WRONG
from spike_assets_tests.defs.running import INSTRUMENTS, KEYS, QUIET, ephemeral, market, passes, run, state
from spike_assets_tests.defs.test_assets import FailingSource, failure_text
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, make_pipeline

ROOT = Path(__file__).parents[2]
LIMIT = timedelta(seconds=0.5)
JOBS = pytest.mark.parametrize("job", ["h1_pass", "h1_reconcile"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture
def shorten(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give every run half a second from now on, and what comes behind it less."""

    def set_limits() -> None:
        monkeypatch.setattr(resources, "time_limit", lambda *_: LIMIT)
        monkeypatch.setattr(reconcile_module, "time_limit", lambda *_: LIMIT)
        monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)
        monkeypatch.setattr(records, "_RECORD_FAILURE", LIMIT / 10)

    return set_limits


def pipeline_over(source: FrameSource, store: Store | Path) -> Pipeline:
    """Give a pipeline that has its first partition, so that there is something to reconcile, and no candle after it."""
    settings = {"history_start": datetime.fromisoformat(KEYS[0])}
    clock = datetime.fromisoformat(KEYS[2])
    pipeline = make_pipeline(market(), store, INSTRUMENTS, **settings, clock=lambda: clock)
    with ephemeral() as instance:
        run(pipeline, KEYS[:1], instance)
    object.__setattr__(pipeline, "source", source)
    return pipeline


def launch(pipeline: Pipeline, job: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    if job == "h1_pass":
        return run(pipeline, KEYS[1:2], instance, raise_on_error=False)
    definition = build_defs(pipeline=pipeline).resolve_job_def(job)
    return definition.execute_in_process(QUIET, instance, raise_on_error=False)


def retries(result: dg.ExecuteInProcessResult) -> int:
    return len(result.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY))


class Hanging(FailingSource):
    """Answers nothing until its time is up; or gives up sooner, time and again."""

    def __init__(self, patience: timedelta | None = None) -> None:
        super().__init__()
        self.patience = patience

    def fetch(
        self,
        granularity: Granularity,  # noqa: ARG002
        windows: Mapping[str, Window],  # noqa: ARG002
        *,
        now: datetime,  # noqa: ARG002
        deadline: Deadline,
    ) -> Fetched:
        self.deadlines.append(deadline)
        gives_up = Deadline.after(self.patience) if self.patience else deadline
        while gives_up.remaining():
            deadline.check("an answer")
            time.sleep(0.005)
        deadline.check("an answer")
        raise TransientError("the broker does not answer")


@JOBS
def test_a_source_that_hangs_ends_the_run_when_its_time_is_up(
    job: str, instance: dg.DagsterInstance, shorten: Callable[[], None]
) -> None:
    source = Hanging()
    pipeline = pipeline_over(source, Store(MemoryEngine()))
    shorten()
    result = launch(pipeline, job, instance)
    assert failure_text(result) == "out of time before an answer; the next pass goes on from here"
    (deadline,) = source.deadlines
    assert deadline.remaining() == 0
    assert retries(result) == 0
    assert [each["status"] for each in passes(pipeline)] == ["success", "failed"]
    after = state(pipeline)
    assert after
    assert after.running is None


@JOBS
def test_attempts_share_the_limit_and_are_few(
    job: str, instance: dg.DagsterInstance, shorten: Callable[[], None]
) -> None:
    source = Hanging(timedelta(seconds=0.001))
    pipeline = pipeline_over(source, Store(MemoryEngine()))
    shorten()
    result = launch(pipeline, job, instance)
    assert failure_text(result) in (
        "the broker does not answer",
        "out of time before an answer; the next pass goes on from here",
    )
    assert retries(result) == len(source.deadlines) - 1 <= H1.retries
    assert len({deadline.at for deadline in source.deadlines}) == 1


@JOBS
def test_a_store_that_stays_locked_fails_with_its_holders_name(
    job: str, instance: dg.DagsterInstance, tmp_path: Path, shorten: Callable[[], None]
) -> None:
    database = tmp_path / "spike.duckdb"
    pipeline = pipeline_over(market(), database)
    shorten()
    other = make_pipeline(market(), database, INSTRUMENTS)
    with other.store.writing(FOREVER, "a very long backfill"):
        result = launch(pipeline, job, instance)
    said = failure_text(result)
    assert said
    assert said.startswith(f"spike.duckdb is in use by a very long backfill (process {os.getpid()} on ")
    assert [each["status"] for each in passes(pipeline)] == ["success"]


@JOBS
def test_a_broker_that_is_wrong_for_good_is_asked_once(job: str, instance: dg.DagsterInstance) -> None:
    source = FailingSource(*[SourceError("the token is wrong")] * 3)
    result = launch(pipeline_over(source, Store(MemoryEngine())), job, instance)
    assert failure_text(result) == "the token is wrong"
    assert (len(source.deadlines), retries(result)) == (1, 0)


# --- with a real daemon -----------------------------------------------------------------------------------------------


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
