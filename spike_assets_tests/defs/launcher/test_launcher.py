"""The warm launcher in this process, real runs in real processes: what becomes of them, whoever is killed."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from spike_assets.defs.launcher import WarmRunLauncher
from spike_assets.defs.launcher.process import WORKER_TAG, Process, Worker
from spike_assets.errors import PermanentError
from spike_assets_tests.defs.launcher import cheap
from spike_assets_tests.defs.launcher.launching import Runs, environment, opened, prepare, until
from spike_assets_tests.processes import die, finished, start


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    prepare(folder, run_monitoring={"enabled": True, "cancel_timeout_seconds": 1})
    with environment(folder):
        yield folder


@pytest.fixture(scope="module")
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def runs(home: Path, instance: dg.DagsterInstance) -> Iterator[Runs]:
    cheap.write(home, 1)
    yield Runs(home, instance)
    (home / "hold").unlink(missing_ok=True)
    until(lambda: not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])))


@pytest.fixture
def hold(home: Path) -> Path:
    """Hold up the runs of `held` and `deaf` until it is removed."""
    (home / "hold").touch()
    return home / "hold"


def test_runs_are_forked_off_one_server_and_say_so(runs: Runs) -> None:
    first, second = runs.launch("quick"), runs.launch("quick")
    assert [runs.status(first), runs.status(second)] == ["SUCCESS", "SUCCESS"]
    one, two = runs.worker(first), runs.worker(second)
    assert one.server == two.server
    assert one.server.lives
    assert len({os.getpid(), one.server.pid, one.process.pid, two.process.pid}) == 4
    assert f"Started process for run (pid: {one.process.pid}), forked off the warm server: " in runs.said(first)
    assert "Not launched warm" not in runs.said(first)
    until(lambda: not one.process.lives and not two.process.lives)
    assert cheap.noted(runs.folder)[first] == [("began", one.process.pid, 1), ("ended", one.process.pid, 1)]


def test_who_asks_for_a_run_makes_no_other_server(runs: Runs) -> None:
    # The daemon says {} of a container where others say nothing: each run that it tried again cost a new server.
    ids = [runs.launch("quick")]
    runs.container = None
    ids += [runs.launch("quick")]
    runs.container = {}
    ids += [runs.launch("quick")]
    assert [runs.status(run_id) for run_id in ids] == ["SUCCESS"] * 3
    assert len({runs.worker(run_id).server for run_id in ids}) == 1


def test_the_server_has_nothing_open_that_a_run_would_share(runs: Runs) -> None:
    run_id = runs.launch("quick")
    assert runs.status(run_id) == "SUCCESS"
    server = runs.worker(run_id).server
    until(lambda: not runs.worker(run_id).process.lives)
    # Until it has buried its child, it has a handle of it.
    until(lambda: opened(server) == ["socket"], lambda: str(opened(server)))


def test_many_at_once(runs: Runs, hold: Path) -> None:
    ids = [runs.launch("held") for _ in range(6)]
    assert len({runs.worker(run_id).process.pid for run_id in ids}) == 6
    hold.unlink()
    assert [runs.status(run_id) for run_id in ids] == ["SUCCESS"] * 6
    runs.launcher.join()


def test_what_a_run_prints_is_captured(tmp_path: Path) -> None:
    stock = {"module": "dagster._core.storage.local_compute_log_manager", "class": "LocalComputeLogManager"}
    prepare(tmp_path, compute_logs=stock | {"config": {"base_dir": str(tmp_path / "logs")}})
    with environment(tmp_path), dg.DagsterInstance.get() as other:
        elsewhere = Runs(tmp_path, other)
        run_id = elsewhere.launch("quick")
        assert elsewhere.status(run_id) == "SUCCESS"
        (captured,) = (tmp_path / "logs").rglob("*.out")
        until(lambda: captured.read_text(encoding="utf-8") == "events in batches of 1000\n")


@pytest.mark.parametrize("by", ["the launcher", "another process"])
@pytest.mark.usefixtures("hold")
def test_a_run_that_is_terminated_is_canceled(runs: Runs, by: str) -> None:
    run_id = runs.launch("held")
    process = runs.worker(run_id).process
    if by == "the launcher":
        assert runs.launcher.terminate(run_id)
    else:
        with dg.DagsterInstance.get() as webserver:
            assert webserver.run_launcher.terminate(run_id)
    assert runs.status(run_id) == "CANCELED"
    until(lambda: not process.lives)
    assert [what for what, _, _ in cheap.noted(runs.folder)[run_id]] == ["began"]
    assert not runs.launcher.terminate(run_id), "it has ended"


@pytest.mark.usefixtures("hold")
def test_who_is_deaf_to_it_is_killed_behind_the_cancel_timeout(runs: Runs) -> None:
    run_id = runs.launch("deaf")
    process = runs.worker(run_id).process
    assert runs.launcher.terminate(run_id)
    assert runs.status(run_id) == "CANCELED"
    until(lambda: not process.lives)
    assert "was terminated by signal 9 (SIGKILL)" in runs.said(run_id)


@pytest.mark.usefixtures("hold")
def test_a_run_that_ended_in_the_books_is_interrupted(runs: Runs) -> None:
    """As when it was terminated by force, or from another machine: its process looks by itself."""
    run_id = runs.launch("held")
    worker = runs.worker(run_id)
    runs.instance.report_run_canceled(runs.run(run_id))
    assert worker.look()
    until(lambda: not worker.process.lives)
    assert [what for what, _, _ in cheap.noted(runs.folder)[run_id]] == ["began"]


def test_a_run_that_was_to_end_before_it_began_is_canceled(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = dg.DagsterInstance.add_run_tags

    def cancel_first(instance: dg.DagsterInstance, run_id: str, tags: dict[str, str]) -> None:
        if WORKER_TAG in tags:
            instance.report_run_canceling(runs.run(run_id))
        write(instance, run_id, tags)

    monkeypatch.setattr(dg.DagsterInstance, "add_run_tags", cancel_first)
    run_id = runs.launch("quick")
    assert runs.status(run_id) == "CANCELED"
    assert run_id not in cheap.noted(runs.folder)


@pytest.mark.usefixtures("hold")
def test_a_killed_process_is_a_failed_run_at_once(runs: Runs) -> None:
    run_id = runs.launch("held")
    os.kill(runs.worker(run_id).process.pid, signal.SIGKILL)
    assert runs.status(run_id) == "FAILURE"
    assert f"Run execution process for {run_id} was terminated by signal 9 (SIGKILL)" in runs.said(run_id)


def test_a_killed_server_costs_no_run(runs: Runs, hold: Path) -> None:
    run_id = runs.launch("held")
    worker = runs.worker(run_id)
    os.kill(worker.server.pid, signal.SIGKILL)
    after = runs.launch("held")
    assert runs.worker(after).server != worker.server
    hold.unlink()
    assert [runs.status(run_id), runs.status(after)] == ["SUCCESS", "SUCCESS"]


def test_what_is_changed_is_what_runs_next(runs: Runs, hold: Path) -> None:
    before = runs.launch("held")
    server = runs.worker(before).server
    cheap.write(runs.folder, 2)
    after = runs.launch("quick")
    assert runs.status(after) == "SUCCESS"
    assert {version for _, _, version in cheap.noted(runs.folder)[after]} == {2}
    hold.unlink()
    assert runs.status(before) == "SUCCESS"
    assert {version for _, _, version in cheap.noted(runs.folder)[before]} == {1}
    until(lambda: not server.lives)


@pytest.mark.parametrize(
    ("besides", "why"),
    [
        ("raise ValueError('no market today')", "could not load the definitions: .*no market today"),
        ("import os; os._exit(3)", "ended while it loaded"),
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "may not fork: its definitions keep 1 thread",
        ),
    ],
    ids=["wrong", "dead", "threads"],
)
def test_definitions_that_cannot_be_warm_are_launched_as_dagster_does(runs: Runs, besides: str, why: str) -> None:
    cheap.write(runs.folder, 3, besides)
    run_id = runs.make("quick")
    with pytest.raises(dg.DagsterInvariantViolationError, match="DefaultRunLauncher requires a workspace"):
        runs.instance.launch_run(run_id, None)  # type: ignore[arg-type]
    assert re.search(why, runs.said(run_id), re.DOTALL)


def test_a_python_that_is_not_there_is_told(runs: Runs) -> None:
    run_id = runs.make("quick", python="/nowhere/python")
    with pytest.raises(dg.DagsterInvariantViolationError, match="DefaultRunLauncher requires a workspace"):
        runs.instance.launch_run(run_id, None)  # type: ignore[arg-type]
    assert "/nowhere/python cannot be run: No such file or directory" in runs.said(run_id)


def test_another_code_location_is_launched_and_ended_as_dagster_does(
    runs: Runs, hold: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = runs.make("held", location="theirs")
    target = ModuleTarget(cheap.MODULE, attribute=None, working_directory=str(runs.folder), location_name="theirs")
    with WorkspaceProcessContext(runs.instance, target) as workspace:
        runs.instance.launch_run(run_id, workspace.create_request_context())
        runs.wait(run_id, lambda: run_id in cheap.noted(runs.folder))
        assert Worker.of(runs.run(run_id)) is None
        assert runs.launcher.check_run_worker_health(runs.run(run_id)).status == WorkerStatus.RUNNING
        assert runs.launcher.terminate(run_id)
        assert runs.status(run_id) == "CANCELED"
    hold.unlink()
    why = "the code location is theirs, run_launcher in dagster.yaml names spike"
    assert f"Not launched warm, but as Dagster does by itself, in seconds: {why}" in runs.said(run_id)
    assert [record.levelname for record in caplog.records if why in record.getMessage()] == ["WARNING"]


def test_a_process_that_dies_before_it_begins_leaves_the_run_to_dagster(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = dg.DagsterInstance.add_run_tags

    def kill_first(instance: dg.DagsterInstance, run_id: str, tags: dict[str, str]) -> None:
        write(instance, run_id, tags)
        worker = Worker.of(runs.run(run_id))
        if worker:
            os.kill(worker.process.pid, signal.SIGKILL)
            until(lambda: not worker.process.lives)

    monkeypatch.setattr(dg.DagsterInstance, "add_run_tags", kill_first)
    run_id = runs.make("quick")
    with pytest.raises(dg.DagsterInvariantViolationError, match="DefaultRunLauncher requires a workspace"):
        runs.instance.launch_run(run_id, None)  # type: ignore[arg-type]
    assert "ended before it began" in runs.said(run_id)
    assert Worker.of(runs.run(run_id)) is None
    assert "was terminated by signal" not in runs.said(run_id)


def launch_and_wait(folder: Path, run_id: str, moment: str) -> None:
    """Launch a run, in a process of its own, and be killed."""
    with environment(folder), dg.DagsterInstance.get() as instance:
        if moment == "before it begins":
            write = dg.DagsterInstance.add_run_tags

            def die_behind(instance: dg.DagsterInstance, run_id: str, tags: dict[str, str]) -> None:
                write(instance, run_id, tags)
                die()

            setattr(dg.DagsterInstance, "add_run_tags", die_behind)  # noqa: B010
        instance.launch_run(run_id, None)  # type: ignore[arg-type]
        until(lambda: run_id in cheap.noted(folder))
        die()


@pytest.mark.parametrize("moment", ["before it begins", "while it runs"])
def test_a_launcher_that_is_killed_leaves_nothing_behind_but_runs_that_end(runs: Runs, hold: Path, moment: str) -> None:
    run_id = runs.make("held")
    assert finished(start(launch_and_wait, runs.folder, run_id, moment)) == -signal.SIGKILL
    worker = Worker.of(runs.run(run_id))
    assert worker
    if moment == "while it runs":
        assert worker.process.lives
        assert worker.server.lives
        hold.unlink()
        assert runs.status(run_id) == "SUCCESS"
    until(lambda: not worker.process.lives and not worker.server.lives)
    assert (run_id in cheap.noted(runs.folder)) == (moment == "while it runs")


@pytest.mark.usefixtures("hold")
def test_run_monitoring_is_told_who_is_well(runs: Runs) -> None:
    def health(run_id: str) -> WorkerStatus:
        return runs.launcher.check_run_worker_health(runs.run(run_id)).status

    run_id = runs.launch("held")
    worker = runs.worker(run_id)
    assert health(run_id) == WorkerStatus.RUNNING
    os.kill(worker.server.pid, signal.SIGKILL)
    until(lambda: not worker.server.lives)
    assert health(run_id) == WorkerStatus.RUNNING
    os.kill(worker.process.pid, signal.SIGKILL)
    until(lambda: not worker.process.lives)
    assert health(run_id) == WorkerStatus.FAILED
    assert runs.status(run_id) == "FAILURE"
    assert "has died, and so has the server" in runs.said(run_id)
    run_id = runs.launch("held")
    runs.worker(run_id)  # Dagster loses tags that are added while a status changes
    gone = Process(worker.process.machine, worker.process.pid, worker.process.started)
    runs.instance.add_run_tags(run_id, Worker(run_id, gone, Process.own()).tags)
    assert health(run_id) == WorkerStatus.RUNNING, "a server that lives tells of it"
    elsewhere = Process("another machine", 1, 1)
    runs.instance.add_run_tags(run_id, Worker(run_id, elsewhere, elsewhere).tags)
    assert health(run_id) == WorkerStatus.RUNNING
    assert runs.launcher.terminate(run_id), "its process looks by itself"
    runs.instance.add_run_tags(run_id, Worker("the run that this one repeats", gone, gone).tags)
    assert health(run_id) == WorkerStatus.RUNNING, "nobody of ours"
    runs.instance.report_run_canceled(runs.run(run_id))


def test_another_release_of_dagster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg, "__version__", "1.99.0")
    says = r"was tested with Dagster 1\.13\.27, this is 1\.99\.0; install that one, or take run_launcher out of"
    with pytest.raises(PermanentError, match=says):
        WarmRunLauncher()
