"""No settings but the defaults, and a platform to look at."""

import os
from pathlib import Path

import pytest

from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard import offices


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "OANDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a platform that is copied for each test."""
    folder = tmp_path_factory.mktemp("begun")
    offices.begin(folder)
    return folder


@pytest.fixture
def desk(begun: Path, tmp_path: Path) -> Desk:
    return offices.copy(begun, tmp_path)
