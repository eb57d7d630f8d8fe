"""A real daemon with the shipped settings: runs end as they should, whoever is killed."""

from pathlib import Path

from spike_assets_tests.defs.launcher.launching import until
from spike_assets_tests.defs.launcher.storm import stormy


def test_fifty_runs_in_a_storm(tmp_path: Path) -> None:
    with stormy(tmp_path) as storm:
        storm.rage(1, 50, kill=4, cancel=3, server=1, daemon=1, reload=1)
        storm.settle()
        assert storm.wrong() == []
        storm.stop()
        until(lambda: not storm.left(), lambda: str(storm.left()))
