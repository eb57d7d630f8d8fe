"""Where the commands are tried: an empty folder, no settings but the defaults, and one instrument."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spike_assets_tests.cli.running import stop_leftovers


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "DAGSTER_", "DEMO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD,USD_JPY")
    with socket.socket() as probe:  # several of these tests run at once
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SPIKE_DASHBOARD_PORT", str(probe.getsockname()[1]))


@pytest.fixture(autouse=True)
def _no_leftovers(_clean_folder: None) -> Iterator[None]:
    yield
    stop_leftovers()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
