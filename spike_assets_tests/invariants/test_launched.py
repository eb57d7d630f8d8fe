"""Passes that a real daemon launches warm, in any order, some of them killed, end as one clean backfill does."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.granularity import H1
from spike_assets.market_hours import Window, candle_times
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.settings import load_settings
from spike_assets_tests.defs.launcher.launching import Code, environment
from spike_assets_tests.defs.launcher.storm import stormy
from spike_assets_tests.support import hashes

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A week before America's clocks change."""


def pipeline_of(folder: Path, name: str) -> tuple[dict[str, str], Pipeline]:
    """Give the settings of a store in a folder, and their pipeline."""
    variables = {
        "SPIKE_DATABASE": str(folder / f"{name}.duckdb"),
        "SPIKE_INSTRUMENTS": "EUR_USD,GBP_USD,USD_JPY,XAU_USD",
        "SPIKE_HISTORY_START": f"{START:%Y-%m-%d}",
    }
    with environment(folder, **variables):
        return variables, Pipeline.from_settings(load_settings())


@pytest.mark.parametrize(
    ("runs", "kills"), [(8, 3), pytest.param(240, 60, marks=pytest.mark.soak)], ids=["a few", "two weeks"]
)
def test_runs_in_any_order_and_killed(runs: int, kills: int, tmp_path: Path) -> None:
    chance = random.Random(runs)
    times = list(candle_times(H1, Window(START, START + timedelta(days=60))).to_pydatetime())
    opened = times[120 : 120 + runs]
    variables, pipeline = pipeline_of(tmp_path, "launched")
    backfill(pipeline, H1, Window(START, opened[0]))
    code = Code("spike_assets.definitions", build_defs(pipeline=pipeline))
    acts = ["kill"] * kills + ["server"] * (kills // 4) + ["daemon"] * (kills // 12)
    acts += ["nothing"] * (runs - len(acts))
    chance.shuffle(acts)
    asked = chance.sample(opened, len(opened))
    with stormy(tmp_path, code, **variables) as storm:
        for open_, act in zip(asked, acts, strict=True):
            storm.runs.queue("h1_pass", **{"dagster/partition": partition_key(H1, open_)})
            storm.do(act, chance)
        storm.settle()
        ended = {run.tags["dagster/partition"]: run.status for run in reversed(storm.instance.get_runs())}
        # Whatever was killed three times over is asked for once more, as a person would.
        for key in [key for key, status in ended.items() if status != dg.DagsterRunStatus.SUCCESS]:
            storm.runs.queue("h1_pass", **{"dagster/partition": key})
        storm.settle()
    _, clean = pipeline_of(tmp_path, "clean")
    backfill(clean, H1, Window(START, opened[-1] + timedelta(hours=1)))
    assert hashes(pipeline, H1) == hashes(clean, H1)
    assert storm.done["kill"] == kills
