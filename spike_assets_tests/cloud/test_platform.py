"""The shipped functions behind a real functions-framework, called by HTTP and by CloudEvents, its process killed.

Everyday life is tried on Postgres, where functions live, the faults on DuckDB; each on the other one in the soak.
"""

from pathlib import Path

from spike_assets_tests.cloud.platform import world
from spike_assets_tests.cloud.scenarios import NAMES, START, everyday, faults_and_a_kill


def test_by_http_and_by_events_a_candle_after_another(tmp_path: Path, postgres: str) -> None:
    with world(tmp_path, postgres, NAMES, START) as here:
        everyday(here)


def test_faults_and_a_kill(tmp_path: Path) -> None:
    with world(tmp_path, str(tmp_path / "spike.duckdb"), NAMES, START) as here:
        faults_and_a_kill(here)
