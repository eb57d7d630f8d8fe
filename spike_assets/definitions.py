"""The one place that assembles Dagster: `build_defs` for tests and tools, `defs` for Dagster itself.

What an asset, a schedule, a sensor or a check does stands in `defs/`.
"""

import dagster as dg

from spike_assets.defs.assets import granularity_assets
from spike_assets.defs.checks import warnings
from spike_assets.defs.deliveries import alert_sensor, deliver_alerts
from spike_assets.defs.jobs import pass_job, pass_name
from spike_assets.defs.reconcile import reconcile_job, reconcile_name, reconcile_schedule
from spike_assets.defs.resources import PipelineResource
from spike_assets.defs.schedules import pass_schedule
from spike_assets.defs.sensors import failed_passes
from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline import Pipeline
from spike_assets.settings import Settings, load_settings


def build_defs(settings: Settings | None = None, *, pipeline: Pipeline | None = None) -> dg.Definitions:
    """Give everything Dagster is told of.

    Parameters
    ----------
    settings
        What is in force; read from the environment unless given.
    pipeline
        Used in place of the one that the settings ask for.

    Raises
    ------
    SettingsError
        A setting is missing or wrong; one line names every bad one.
    """
    pipeline = pipeline or Pipeline.from_settings(settings or load_settings())
    passes = {granularity: pass_job(granularity) for granularity in GRANULARITIES.values()}
    reconciles = {granularity: reconcile_job(granularity) for granularity in GRANULARITIES.values()}
    return dg.Definitions(
        assets=[asset for g in GRANULARITIES.values() for asset in granularity_assets(g, pipeline.history_start)],
        asset_checks=[warnings(granularity) for granularity in GRANULARITIES.values()],
        jobs=[*passes.values(), *reconciles.values(), deliver_alerts],
        schedules=[
            *(pass_schedule(granularity, job) for granularity, job in passes.items()),
            *(reconcile_schedule(granularity, job) for granularity, job in reconciles.items()),
        ],
        sensors=[failed_passes(), alert_sensor(_watched())],
        resources={"pipeline": PipelineResource.over(pipeline)},
        executor=dg.in_process_executor,
    )


def _watched() -> dict[str, str]:
    """Give what it is called when the runs of a job fail: of passes as the store calls it, so nobody is told twice."""
    granularities = GRANULARITIES.values()
    return {pass_name(g): f"{g} failed" for g in granularities} | {
        name: f"{name} failed" for name in (*map(reconcile_name, granularities), deliver_alerts.name)
    }


defs = build_defs()
