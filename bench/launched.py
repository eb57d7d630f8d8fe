"""Definitions without schedules and sensors, for a `spike up` whose runs are asked for: loaded in `bench.launches`."""

import os

import dagster as dg

from spike_assets.definitions import build_defs

VARIABLE = "BENCH_LAUNCHED"


def _definitions() -> dg.Definitions:
    whole = build_defs()
    return dg.Definitions(
        assets=whole.assets,
        asset_checks=whole.asset_checks,
        jobs=whole.jobs,
        resources=whole.resources,
        executor=dg.in_process_executor,
    )


if VARIABLE in os.environ:
    defs = _definitions()
