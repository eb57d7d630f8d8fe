"""What a warm process has ready: Dagster, its storages and our definitions, loaded and used once, and nothing open.

Whatever a run would do first is done here once, before anything is forked: modules are imported, jobs are resolved,
plans are made, statements are compiled. Connections are closed behind it.
"""

import gc
import logging
import os
from contextlib import suppress
from dataclasses import dataclass

import duckdb
from dagster import DagsterInstance, DagsterInvalidConfigError
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import create_execution_plan
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._serdes import deserialize_value
from dagster._utils.hosted_user_process import recon_repository_from_origin

from spike_assets.alerts import config
from spike_assets.defs.launcher.rehearsal import rehearse
from spike_assets.defs.launcher.sources import Sources
from spike_assets.defs.launcher.wire import Message
from spike_assets.settings import variable

_log = logging.getLogger(__name__)

NOBODY = "00000000-0000-0000-0000-000000000000"
"""A run that there never is."""


@dataclass(frozen=True)
class Warmth:
    """A Dagster instance and a repository, loaded from `sources`."""

    instance: DagsterInstance
    repository: ReconstructableRepository
    sources: Sources

    @classmethod
    def load(cls, told: Message) -> "Warmth":
        """Load what a launcher tells of: an instance and a repository as Dagster writes them, its location's name."""
        instance = DagsterInstance.from_ref(deserialize_value(told["instance"], InstanceRef))
        instance.inject_env_vars(told["location"])
        repository = recon_repository_from_origin(deserialize_value(told["repository"], RepositoryPythonOrigin))
        _use(instance, repository)
        instance.dispose()
        duckdb.close()  # importing it opens a database in memory, with a thread
        for name in told["added"]:
            del os.environ[name]
        gc.collect()
        gc.freeze()  # what is there now stays: collections of a run leave it alone, and its memory shared
        return cls(instance, repository, Sources.loaded(told["began"], _settings_files()))

    def unfit(self) -> str | None:
        """Say why nothing may be forked off this process; None while it may."""
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are enough
        return None if threads == 1 else f"its definitions keep {threads - 1} threads, which no child would have"


def _use(instance: DagsterInstance, repository: ReconstructableRepository) -> None:
    """Do once what every run does."""
    for job in repository.get_definition().get_all_jobs():
        with suppress(DagsterInvalidConfigError):  # one that cannot do without configuration is planned when it has it
            create_execution_plan(repository.get_reconstructable_job(job.name))
    instance.get_run_by_id(NOBODY)
    _ = instance.compute_log_manager
    instance.all_logs(NOBODY)
    try:
        rehearse(repository.get_definition())
    except Exception:  # noqa: BLE001 - whatever a pass raises; runs are forked all the same
        _log.warning("the rehearsal failed: runs are launched warm, and are slower", exc_info=True)


def _settings_files() -> list[str]:
    """Give the files besides modules that definitions are made from, whether they are there or not."""
    return [".env", os.environ.get(variable("alerts_file")) or str(config.FILE)]
