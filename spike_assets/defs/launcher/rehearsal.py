"""A rehearsal of what is forked most often: two H1 passes over a made-up market, in a folder for the time being.

What Dagster, SQLAlchemy, pandas and DuckDB do only once in a process, they have done then.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from dagster import DagsterInstance, JobDefinition
from dagster._core.definitions.repository_definition import RepositoryDefinition

from spike_assets import market_hours
from spike_assets.defs.jobs import pass_name
from spike_assets.defs.resources import PipelineResource
from spike_assets.granularity import H1
from spike_assets.instruments import INSTRUMENTS
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.context import utc_now
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.store import TIDYING

_HOME = "DAGSTER_HOME"
_SETTINGS = {
    "telemetry": {"enabled": False},
    "event_log_storage": {
        "module": "spike_assets.defs.event_log",
        "class": "SqliteEventLog",
        "config": {"base_dir": {"env": _HOME}},
    },
    "run_storage": {
        "module": "spike_assets.defs.storages",
        "class": "SqliteRuns",
        "config": {"home": {"env": _HOME}},
    },
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


def rehearse(repository: RepositoryDefinition) -> None:
    """Run the pass of H1, where a repository has one, on a store and an instance of its own."""
    job = repository.get_job(pass_name(H1)) if repository.has_job(pass_name(H1)) else None
    if job is None or job.partitions_def is None:
        return
    newest = market_hours.last_closed(H1, utc_now()).start
    opens = [market_hours.nth_candle_before(H1, newest, 1), newest]
    with _home() as folder, DagsterInstance.get() as instance:
        for opened in opens:
            if job.partitions_def.has_partition_key(partition_key(H1, opened)):  # history may begin today
                _run(job, instance, folder, opened)


def _run(job: JobDefinition, instance: DagsterInstance, folder: Path, opened: datetime) -> None:
    pipeline = Pipeline(
        SimulatedSource(),
        open_store(str(folder / "rehearsal.duckdb")),
        INSTRUMENTS,
        history_start=opened - H1.lookback,
        clock=lambda: opened + timedelta(hours=1, minutes=5),
    )
    job.execute_in_process(
        instance=instance,
        partition_key=partition_key(H1, opened),
        resources={"pipeline": PipelineResource.over(pipeline)},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    for thread in threading.enumerate():
        if thread.name == TIDYING:
            thread.join()


@contextmanager
def _home() -> Iterator[Path]:
    """Give a Dagster home that DAGSTER_HOME names meanwhile; it is gone behind the block."""
    before = os.environ.get(_HOME)
    with tempfile.TemporaryDirectory(prefix="spike-rehearsal-") as folder:
        (Path(folder) / "dagster.yaml").write_text(yaml.safe_dump(_SETTINGS), encoding="utf-8")
        os.environ[_HOME] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[_HOME]
            else:
                os.environ[_HOME] = before
