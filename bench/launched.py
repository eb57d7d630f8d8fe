"""The definitions of a `spike up` that is measured: with Dagster's own executor where its own settings are."""

import os

import dagster as dg

from spike_assets.definitions import build_defs

VARIABLE = "BENCH_LAUNCHED"
"""Set where no schedules and sensors are wanted, because runs are asked for: loaded in `bench.launches`."""
STEP_PROCESSES = "BENCH_STEP_PROCESSES"
"""Set where each stage is to have a process of its own, which is what Dagster does unless it is told otherwise."""


def executor() -> dg.ExecutorDefinition:
    """Give how the stages of a pass are run."""
    return dg.multiprocess_executor if STEP_PROCESSES in os.environ else dg.in_process_executor


def _definitions() -> dg.Definitions:
    whole = build_defs(executor=executor())
    return dg.Definitions(
        assets=whole.assets,
        asset_checks=whole.asset_checks,
        jobs=whole.jobs,
        resources=whole.resources,
        executor=executor(),
    )


if VARIABLE in os.environ:
    defs = _definitions()
