"""A real daemon with the shipped settings: runs end as they should, whoever is killed."""

from pathlib import Path

from spike_assets_tests.defs.launcher.launching import until
from spike_assets_tests.defs.launcher.storm import stormy


def test_a_run_that_takes_too_long_is_failed_and_its_process_ends(tmp_path: Path) -> None:
    with stormy(tmp_path) as storm:
        (tmp_path / "hold").touch()
        run_id = storm.runs.queue("held", **{"dagster/max_runtime": "1", "dagster/max_retries": "0"})
        process = storm.runs.worker(run_id).process
        until(lambda: not process.lives)
        assert storm.runs.status(run_id) in {"FAILURE", "CANCELED"}  # Dagster says the one first, its process the other
        assert "Exceeded maximum runtime of 1 seconds" in storm.runs.said(run_id)


def test_fifty_runs_in_a_storm(tmp_path: Path) -> None:
    with stormy(tmp_path) as storm:
        storm.rage(1, 50, kill=4, cancel=3, server=1, daemon=1, reload=1)
        storm.settle()
        assert storm.wrong() == []
        storm.stop()
        until(lambda: not storm.left(), lambda: str(storm.left()))
