"""Runs of `cheap`, made and launched as a daemon would, and looking at what becomes of them."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import DagsterEvent
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from spike_assets.defs.launcher import WarmRunLauncher
from spike_assets.defs.launcher.process import Process, Worker
from spike_assets_tests.defs.launcher import cheap
from spike_assets_tests.processes import PATIENCE

ROOT = Path(__file__).parents[3]
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = tuple(status for status in dg.DagsterRunStatus if status not in FINISHED)
UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class Code:
    """A module of definitions."""

    module: str
    definitions: dg.Definitions


CHEAP = Code(cheap.MODULE, cheap.cheap_defs(0))


def prepare(folder: Path, code: Code = CHEAP, **changes: Any) -> None:
    """Make a Dagster home with the shipped settings, but for changes, and definitions; those of `cheap` are written."""
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8")) | changes
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    module = {"module_name": code.module, "location_name": "spike", "working_directory": str(folder)}
    (folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}), encoding="utf-8")
    cheap.write(folder, 1)


@contextmanager
def environment(folder: Path, **variables: str) -> Iterator[None]:
    """Have this process, and what it starts, use the home, and see variables."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("SPIKE_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ |= {"DAGSTER_HOME": str(folder), cheap.FOLDER: str(folder), "PYTHONPATH": str(ROOT)} | variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Runs:
    """Makes runs on an instance, launches them, and looks at them."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, code: Code = CHEAP) -> None:
        self.folder = folder
        self.instance = instance
        self._module = code.module
        self._jobs = {job.name: job for job in code.definitions.get_repository_def().get_all_jobs()}

    @property
    def launcher(self) -> WarmRunLauncher:
        """The launcher of this process."""
        assert isinstance(self.instance.run_launcher, WarmRunLauncher)
        return self.instance.run_launcher

    def make(self, job: str, location: str = "spike", python: str = sys.executable, **tags: str) -> str:
        """Make a run that is not launched yet, and give its id."""
        repository = ReconstructableRepository.for_module(self._module, "defs", str(self.folder))
        # As the daemon has it: with None in place of {}, a run that it launches again would need another server.
        repository = repository._replace(executable_path=python, container_context={})
        target = LoadableTargetOrigin(module_name=self._module, working_directory=str(self.folder))
        origin = RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(target, location), "__repository__")
        return self.instance.create_run_for_job(
            self._jobs[job],
            tags=tags,
            remote_job_origin=origin.get_job_origin(job),
            job_code_origin=repository.get_reconstructable_job(job).get_python_origin(),
        ).run_id

    def launch(self, job: str, **how: Any) -> str:
        """Make and launch a run from this process, and give its id."""
        run_id = self.make(job, **how)
        self.instance.launch_run(run_id, None)  # type: ignore[arg-type]  # a warm launch asks it nothing
        return run_id

    def queue(self, job: str, **tags: str) -> str:
        """Make a run and put it into the daemon's queue."""
        run_id = self.make(job, **tags)
        event = DagsterEvent.job_enqueue(self.run(run_id))
        self.instance.report_dagster_event(event, run_id=run_id)
        return run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        """Give a run as it is now."""
        found = self.instance.get_run_by_id(run_id)
        assert found
        return found

    def status(self, run_id: str) -> str:
        """Give the status that a run comes to in the end."""
        self.wait(run_id, lambda: self.run(run_id).status in FINISHED)
        return self.run(run_id).status.value

    def worker(self, run_id: str) -> Worker:
        """Give who works at a run, once its op is at work."""
        self.wait(run_id, lambda: run_id in cheap.noted(self.folder))
        worker = Worker.of(self.run(run_id))
        assert worker
        return worker

    def said(self, run_id: str) -> str:
        """Give what the run's log says."""
        return "\n".join(entry.user_message or entry.message for entry in self.instance.all_logs(run_id))

    def wait(self, run_id: str, found: Callable[[], bool]) -> None:
        """Look until something is so; a failure has the run's log."""
        until(found, lambda: f"{self.run(run_id).status} {self.said(run_id)}")


def opened(server: Process) -> list[str]:
    """Give what a server has open that a child would share: neither what every process has, nor what it waits with."""
    links = {path.name: str(path.readlink()) for path in Path(f"/proc/{server.pid}/fd").iterdir()}
    kinds = [link.split(":")[0] for number, link in links.items() if int(number) > 2 and "[eventpoll]" not in link]
    return sorted(kinds)


def until(found: Callable[[], bool], told: Callable[[], str] = str) -> None:
    """Look until something is so."""
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end, told()
        time.sleep(0.05)
