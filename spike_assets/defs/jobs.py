"""One job per granularity: a pass, as Dagster runs it. When it runs is said by `schedules`."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from spike_assets.defs.resources import MAX_RUNTIME_TAG, max_runtime
from spike_assets.granularity import Granularity


def pass_name(granularity: Granularity) -> str:
    """Give the name of a granularity's job."""
    return f"{granularity.schema}_pass"


def pass_job(granularity: Granularity) -> UnresolvedAssetJobDefinition:
    """Give the job that runs every stage of a granularity.

    In-process: starting a process per step takes longer than the whole timeout, and the steps of a run know of one
    another what they did. The time limit is that of one partition; a range run that is launched without a longer one
    sets its own when it starts.
    """
    return dg.define_asset_job(
        pass_name(granularity),
        selection=dg.AssetSelection.groups(granularity.schema),
        description=f"One pass over {granularity}: candles, ATR, events, features, alerts.",
        tags={MAX_RUNTIME_TAG: max_runtime(granularity, 1)},
        executor_def=dg.in_process_executor,
    )
