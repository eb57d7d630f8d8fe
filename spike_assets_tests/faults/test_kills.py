"""kill -9 at any moment: the next pass heals, and nothing is lost, doubled or torn."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, nth_candle_before
from spike_assets_tests.engines import DUCKDB, POSTGRES
from spike_assets_tests.faults.brokers import Market
from spike_assets_tests.faults.kills import kill_again_and_again

END = datetime(2025, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(("engine", "kills"), [(DUCKDB, 10), (POSTGRES, 5)])
def test_killed_at_random_moments(database: str, kills: int, tmp_path: Path) -> None:
    """Processes: live passes, backfills and reconciles on a loopback OANDA, corrections pending."""
    market = Market(H1, Window(nth_candle_before(H1, END, 150), END))
    started, wrong = kill_again_and_again(1, market, database, tmp_path, kills)
    assert wrong == []
    assert started >= kills
