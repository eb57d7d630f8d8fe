"""Passes that a real daemon launches warm, in any order, some of them killed, end as one clean backfill does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import dagster as dg
import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, candle_times
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline.backfill import backfill
from spike_assets.store.store import Store
from spike_assets_tests.invariants.launched import acts, launched
from spike_assets_tests.oanda_server import Clock
from spike_assets_tests.support import MemoryEngine, hashes

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A week before America's clocks change."""
DAYS = timedelta(days=60)


@pytest.mark.parametrize(
    ("runs", "kills"), [(8, 3), pytest.param(240, 60, marks=pytest.mark.soak)], ids=["a few", "two weeks"]
)
def test_runs_in_any_order_and_killed(runs: int, kills: int, tmp_path: Path) -> None:
    chance = Random(runs)
    opened = list(candle_times(H1, Window(START, START + DAYS)).to_pydatetime())[120 : 120 + runs]
    variables = {
        "SPIKE_DATABASE": str(tmp_path / "launched.duckdb"),
        "SPIKE_INSTRUMENTS": "EUR_USD,GBP_USD,USD_JPY,XAU_USD",
        "SPIKE_HISTORY_START": f"{START:%Y-%m-%d}",
    }
    done = acts(chance, runs, kill=kills, server=kills // 4, daemon=kills // 12)
    asked = chance.sample(opened, len(opened))
    with launched(tmp_path, variables, Clock(START + DAYS)) as running:
        backfill(running.pipeline, H1, Window(START, opened[0]))
        for open_, act in zip(asked, done, strict=True):
            running.queue("h1_pass", {"dagster/partition": partition_key(H1, open_)})
            running.do(act, chance)
            running.make_room()
        running.storm.settle()
        ended = {run.tags["dagster/partition"]: run.status for run in reversed(running.storm.instance.get_runs())}
        # Whatever was killed three times over is asked for once more, as a person would.
        for key in [key for key, status in ended.items() if status != dg.DagsterRunStatus.SUCCESS]:
            running.queue("h1_pass", {"dagster/partition": key})
        running.storm.settle()
    clean = replace(running.pipeline, store=Store(MemoryEngine()))
    backfill(clean, H1, Window(START, opened[-1] + timedelta(hours=1)))
    assert hashes(running.pipeline, H1) == hashes(clean, H1)
    assert running.storm.done["kill"] == kills
