"""The function on both engines, and killed again and again."""

from pathlib import Path

import pytest

from spike_assets_tests.cloud.platform import world
from spike_assets_tests.cloud.scenarios import NAMES, START, everyday, faults_and_a_kill, kill_after_kill
from spike_assets_tests.postgres import postgres, server

__all__ = ["postgres", "server"]

KILLS = 20

pytestmark = pytest.mark.soak


def test_everyday_on_duckdb(tmp_path: Path) -> None:
    with world(tmp_path, str(tmp_path / "spike.duckdb"), NAMES, START) as here:
        everyday(here)


def test_faults_on_postgres(tmp_path: Path, postgres: str) -> None:
    with world(tmp_path, postgres, NAMES, START) as here:
        faults_and_a_kill(here)


def test_twenty_kills_on_duckdb(tmp_path: Path) -> None:
    with world(tmp_path, str(tmp_path / "spike.duckdb"), NAMES, START) as here:
        kill_after_kill(here, KILLS)


def test_twenty_kills_on_postgres(tmp_path: Path, postgres: str) -> None:
    with world(tmp_path, postgres, NAMES, START) as here:
        kill_after_kill(here, KILLS)
