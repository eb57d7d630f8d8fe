"""The function on both engines, and killed again and again."""

from pathlib import Path

import pytest

from spike_assets_tests.cloud.platform import world
from spike_assets_tests.cloud.scenarios import NAMES, START, everyday, faults_and_a_kill, kill_after_kill
from spike_assets_tests.engines import DUCKDB, POSTGRES

KILLS = 20

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("engine", [DUCKDB])
def test_everyday(database: str, tmp_path: Path) -> None:
    with world(tmp_path, database, NAMES, START) as here:
        everyday(here)


@pytest.mark.parametrize("engine", [POSTGRES])
def test_faults(database: str, tmp_path: Path) -> None:
    with world(tmp_path, database, NAMES, START) as here:
        faults_and_a_kill(here)


def test_twenty_kills(database: str, tmp_path: Path) -> None:
    with world(tmp_path, database, NAMES, START) as here:
        kill_after_kill(here, KILLS)
