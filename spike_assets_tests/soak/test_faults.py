"""Faults in random combination, kills at random moments, and a whole year tick by tick."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets.granularity import H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, nth_candle_before
from spike_assets.store.store import Store
from spike_assets_tests.engines import NewStore
from spike_assets_tests.faults.brokers import Market
from spike_assets_tests.faults.chaos import GRACE, LIMIT, survive
from spike_assets_tests.faults.kills import kill_again_and_again
from spike_assets_tests.faults.test_live import a_live_year
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak

COMBINATIONS, KILLS = 200, 100
BATCH = 20
FIRST_SEED = 1_000
"""Other histories than those of the suite."""


@pytest.mark.parametrize("batch", range(COMBINATIONS // BATCH))
def test_faults_together(batch: int, new_store: NewStore, tmp_path: Path, record_property: Tell) -> None:
    passes = failed = 0
    for seed in range(FIRST_SEED + batch * BATCH, FIRST_SEED + (batch + 1) * BATCH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        market, outcome = survive(seed, new_store(), folder)
        assert outcome.hashes == market.expected, seed
        assert outcome.longest < LIMIT.total_seconds() + GRACE, seed
        assert outcome.most_requests <= 120, seed
        assert outcome.most_connections <= 2, seed
        passes += outcome.passes
        failed += outcome.failed
    record_property("combinations", BATCH)
    record_property("passes", passes)
    record_property("of them failed, all healed", failed)


@pytest.mark.parametrize("batch", range(5))
def test_killed_at_random_moments(batch: int, database: str, tmp_path: Path, record_property: Tell) -> None:
    end = datetime(2025, 2 + 2 * batch, 12, tzinfo=UTC)
    market = Market(H1, Window(nth_candle_before(H1, end, 200), end))
    started, wrong = kill_again_and_again(100 + batch, market, database, tmp_path, KILLS // 5)
    assert wrong == []
    record_property("processes", started)
    record_property("killed", KILLS // 5)


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_a_year_tick_by_tick(granularity: Granularity, store: Store, tmp_path: Path, record_property: Tell) -> None:
    record_property("passes", a_live_year(granularity, store, tmp_path))
