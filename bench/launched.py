"""The definitions of a `spike up` that is measured: with Dagster's own executor where its own settings are."""

import os

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from spike_assets import definitions
from spike_assets.defs.jobs import pass_job
from spike_assets.granularity import Granularity
from spike_assets.pipeline import Pipeline

VARIABLE = "BENCH_LAUNCHED"
"""Set where no schedules and sensors are wanted, because runs are asked for: loaded in `bench.launches`."""
STEP_PROCESSES = "BENCH_STEP_PROCESSES"
"""Set where each stage is to have a process of its own, which is what Dagster does unless it is told otherwise."""


def build(pipeline: Pipeline | None = None) -> dg.Definitions:
    """Give spike's definitions; with a process per stage a pass is not recorded as it should, which is not measured."""
    if STEP_PROCESSES in os.environ:
        definitions.pass_job = _in_step_processes  # type: ignore[attr-defined]
    return definitions.build_defs(pipeline=pipeline)


def _in_step_processes(granularity: Granularity) -> UnresolvedAssetJobDefinition:
    job = pass_job(granularity)
    return dg.define_asset_job(job.name, job.selection, tags=job.tags, executor_def=dg.multiprocess_executor)


def _without_schedules() -> dg.Definitions:
    whole = build()
    return dg.Definitions(
        assets=whole.assets, asset_checks=whole.asset_checks, jobs=whole.jobs, resources=whole.resources
    )


if VARIABLE in os.environ:
    defs = _without_schedules()
