"""Dagster's run launcher over the warm server: launches, ends and looks after runs."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from dagster import DagsterInstance, DagsterRun
from dagster._config import StringSource
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from spike_assets.defs import EVENT_BATCHES
from spike_assets.defs.launcher import books
from spike_assets.defs.launcher.client import LOG, NotWarmError, WarmServer, WarmServers
from spike_assets.defs.launcher.process import Worker
from spike_assets.errors import PermanentError

TESTED = ("1.13.27",)
"""The Dagster releases that the tests pass on. What a launcher does is not public, and may change in the next one."""

LOCATION = "spike"


class WarmRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches runs of one code location by forking; those of others as Dagster does, and says so.

    Parameters
    ----------
    location
        The code location's name. It is loaded by the process that launches, with the Python that it names.
    """

    def __init__(self, location: str = LOCATION, inst_data: ConfigurableClassData | None = None) -> None:
        if dg.__version__ not in TESTED:
            raise PermanentError(
                f"spike's WarmRunLauncher was tested with Dagster {' and '.join(TESTED)}, this is {dg.__version__};"
                " install that one, or take run_launcher out of dagster.yaml"
            )
        self._location = location
        self._inst_data = inst_data
        self._stock = DefaultRunLauncher()
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What it was configured from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Give what may be configured."""
        return {"location": dg.Field(StringSource, default_value=LOCATION, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make it from `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def register_instance(self, instance: DagsterInstance) -> None:
        """Take the instance whose runs are launched."""
        super().register_instance(instance)
        self._servers = WarmServers.of(instance)
        self._stock.register_instance(instance)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run: warm, or, where that cannot be, as Dagster does."""
        run = context.dagster_run
        try:
            self._launch_warm(run)
        except NotWarmError as error:
            LOG.warning("run %s is launched as Dagster does by itself, in seconds: %s", run.run_id, error)
            self._instance.report_engine_event(
                f"Not launched warm, but as Dagster does by itself, in seconds: {error}", run, cls=type(self)
            )
            self._stock.launch_run(context)

    def _launch_warm(self, run: DagsterRun) -> None:
        since = time.monotonic()
        if sys.platform != "linux":
            raise NotWarmError(f"it needs Linux, this is {sys.platform}")
        location = run.remote_job_origin.location_name if run.remote_job_origin else None
        if location != self._location or run.job_code_origin is None:
            raise NotWarmError(f"the code location is {location}, run_launcher in dagster.yaml names {self._location}")
        repository = run.job_code_origin.repository_origin
        self._servers.launch(
            lambda: WarmServer(
                self._instance.get_ref(), self._location, repository, self._instance.code_server_process_startup_timeout
            ),
            repository,
            {"run_id": run.run_id, "since": since, "environment": EVENT_BATCHES},
            lambda worker: self._instance.add_run_tags(run.run_id, worker.tags if worker else Worker.nobody()),
        )

    def terminate(self, run_id: str) -> bool:
        """Have a run end: its process is told to look, or looks by itself within seconds; False when it has ended."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        worker = Worker.of(run)
        if worker is None:
            return bool(self._stock.terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        return worker.look()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether somebody works at a run, or will tell what became of it."""
        worker = Worker.of(run)
        if worker is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not launched warm: Dagster's code server looks after it")
        if not worker.process.is_here:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it runs on another machine, and is not asked after")
        if worker.process.lives or worker.server.lives:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        found = self._instance.get_run_by_id(run.run_id)
        died = (
            f"The run's process (pid {worker.process.pid}) has died, and so has the server that would have told of it"
        )
        if found is not None:
            books.tell_of_crash(self._instance, found, died)
        return CheckRunHealthResult(WorkerStatus.FAILED, died)

    def join(self, timeout: int = 30) -> None:
        """Wait until no run is under way."""
        until = time.monotonic() + timeout
        while under_way := self._instance.get_runs(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES)):
            if time.monotonic() > until:
                raise TimeoutError(f"{len(under_way)} runs have not ended within {timeout} s")
            time.sleep(0.1)

    def dispose(self) -> None:
        """Let the warm server end, behind its last run."""
        if self.has_instance:
            self._servers.close()
