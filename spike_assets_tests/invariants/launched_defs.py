"""Definitions of which a daemon launches runs: what the settings say, at a time of day that a test sets.

There are no schedules and no sensors, which go by the machine's time: what they would ask for, a test does. A source
and a channel wait for milliseconds where they would wait for seconds, and a pass for no longer than the test says.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from spike_assets.definitions import build_defs
from spike_assets.defs import faults, reconcile
from spike_assets.granularity import Granularity
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.reconcile import DAYS
from spike_assets.settings import Settings, load_settings
from spike_assets_tests import control
from spike_assets_tests.faults.brokers import oanda_of
from spike_assets_tests.faults.senders import Impatient
from spike_assets_tests.sources.oanda.asking import HASTE

MODULE = __name__

RECONCILE = timedelta(seconds=30)
"""What a reconcile may take: a broker that asks to be left alone for a minute is not waited for."""


def runs_of(pipeline: Pipeline) -> dg.Definitions:
    """Give what can be launched on a pipeline, and nothing that launches it."""
    built = build_defs(pipeline=pipeline)
    return dg.Definitions(
        assets=built.assets,
        asset_checks=built.asset_checks,
        jobs=built.jobs,
        resources=built.resources,
        executor=built.executor,
    )


def _now() -> datetime:
    control.take_timeouts()  # a run asks for the time of day before it asks how long it may take
    return control.now()


def hasty(settings: Settings, folder: Path, clock: Callable[[], datetime]) -> Pipeline:
    """Give the pipeline that the settings ask for, in a hurry; all its processes count in a folder what they ask."""
    pipeline = Pipeline.from_settings(settings)
    channels = tuple(Impatient(channel) for channel in pipeline.policy.channels)
    made = replace(pipeline, clock=clock, policy=replace(pipeline.policy, channels=channels))
    return replace(made, source=oanda_of(settings.oanda_url, folder)) if settings.oanda_url else made


def _limit(granularity: Granularity, days: int = DAYS) -> timedelta:  # noqa: ARG001 - the same for all
    return RECONCILE


if control.CONTROL in os.environ:
    faults.RETRY_SECONDS = HASTE
    reconcile.time_limit = _limit  # type: ignore[attr-defined]
    defs = runs_of(hasty(load_settings(), Path(os.environ[control.CONTROL]).parent, _now))
