"""Runs of passes in this process, quietly, for the tests of `defs`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from spike_assets.definitions import build_defs
from spike_assets.defs.jobs import pass_name
from spike_assets.defs.partitions import partition_key, partition_times
from spike_assets.defs.schedules import range_tags
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.store.ops import State
from spike_assets.store.store import Store
from spike_assets.store.tables import Column
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, make_pipeline, simulated

INSTRUMENTS = ("EUR_USD", "GBP_USD", "USD_JPY")
# Over a weekend in which New York changes its clocks, so that both of its edges are closed partitions of H1.
STRETCH = Window(datetime(2025, 10, 31, tzinfo=UTC), datetime(2025, 11, 3, 4, tzinfo=UTC))
CLOSED = {"2025-10-31T21:00+0000", "2025-11-02T21:00+0000"}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def market(granularity: Granularity = H1, window: Window = STRETCH) -> FrameSource:
    return FrameSource(simulated(granularity, INSTRUMENTS, window))


def memory_pipeline(source: object | None = None, **settings: object) -> Pipeline:
    defaults: dict[str, object] = {"history_start": STRETCH.start, "clock": lambda: STRETCH.end}
    return make_pipeline(source or market(), Store(MemoryEngine()), INSTRUMENTS, **(defaults | settings))


def keys_of(granularity: Granularity, window: Window) -> list[str]:
    return [partition_key(granularity, open_) for open_ in partition_times(granularity, window).to_pydatetime()]


KEYS = keys_of(H1, STRETCH)


def run(
    pipeline: Pipeline,
    keys: Sequence[str],
    instance: dg.DagsterInstance,
    *,
    granularity: Granularity = H1,
    tags: dict[str, str] | None = None,
    **how: Any,
) -> dg.ExecuteInProcessResult:
    """Run one pass: of a single partition as one, of several as a range run."""
    job = build_defs(pipeline=pipeline).resolve_job_def(pass_name(granularity))
    if len(keys) == 1:
        return job.execute_in_process(QUIET, instance, keys[0], tags=tags, **how)
    return job.execute_in_process(QUIET, instance, tags=range_tags(granularity, list(keys)) | (tags or {}), **how)


def ephemeral() -> dg.DagsterInstance:
    """Give an instance in memory."""
    return dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}})


@contextmanager
def persistent(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Give an instance on disk, with the event log that dagster.yaml names."""
    log = {"module": "spike_assets.defs.event_log", "class": "SqliteEventLog", "config": {"base_dir": str(folder)}}
    overrides = {"event_log_storage": log, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
        yield instance


def state(pipeline: Pipeline, granularity: Granularity = H1) -> State | None:
    with pipeline.store.reading(FOREVER) as session:
        return session.ops.state(granularity)


def set_processed(pipeline: Pipeline, granularity: Granularity, until: datetime) -> None:
    with pipeline.store.writing(FOREVER, "a test") as session:
        session.ops.write_state(granularity, State(until, until, until, 0, 0))


def passes(pipeline: Pipeline) -> list[dict[str, Any]]:
    columns = [Column(name, "text", "", null="x") for name in ("trigger", "status", "error", "stages")]
    with pipeline.store.reading(FOREVER) as session:
        found = session._connection.frame(
            "SELECT trigger, status, error, stages FROM ops.passes ORDER BY ended_at, started_at", columns
        )
    return [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]


def metadata_of(
    instance: dg.DagsterInstance, asset: str, *, newest: int = 1000
) -> dict[str, dict[str, dg.MetadataValue[Any]]]:
    """Give the metadata of the newest materialization of each partition."""
    records = instance.fetch_materializations(dg.AssetKey(asset.split("/")), limit=newest, ascending=False).records
    found: dict[str, dict[str, dg.MetadataValue[Any]]] = {}
    for record in records:
        assert record.asset_materialization
        assert record.partition_key
        found.setdefault(record.partition_key, dict(record.asset_materialization.metadata))
    return found
