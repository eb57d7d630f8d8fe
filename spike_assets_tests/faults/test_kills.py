"""kill -9 at any moment: the next pass heals, and nothing is lost, doubled or torn."""

from datetime import UTC, datetime
from pathlib import Path

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, nth_candle_before
from spike_assets_tests.faults.brokers import Market
from spike_assets_tests.faults.kills import kill_again_and_again

END = datetime(2025, 3, 12, tzinfo=UTC)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Ten processes: live passes, backfills and reconciles on a loopback OANDA, corrections pending."""
    market = Market(H1, Window(nth_candle_before(H1, END, 150), END))
    started, wrong = kill_again_and_again(1, market, tmp_path / "spike.duckdb", tmp_path, 10)
    assert wrong == []
    assert started >= 10
