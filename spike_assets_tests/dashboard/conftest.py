"""No settings but the defaults, and a platform to look at."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard import offices
from spike_assets_tests.dashboard.offices import TestClient

Visits = Callable[..., TestClient]


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


@pytest.fixture(scope="module")
def at_rest(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Give a platform at which nothing happens: for all tests of a module that only look."""
    return offices.copy(begun, tmp_path_factory.mktemp("at_rest"))


@pytest.fixture(scope="module")
def visits(at_rest: Desk) -> Iterator[Visits]:
    """Give what gives a client of that platform's dashboard: one for each way in which it is set up."""
    known: dict[str, TestClient] = {}
    with ExitStack() as open_ones, pytest.MonkeyPatch.context() as environment:
        for name in [n for n in os.environ if n.startswith(("SPIKE_", "OANDA_"))]:
            environment.delenv(name)

        def visit(**given: Any) -> TestClient:
            key = repr(sorted(given.items()))
            if key not in known:
                known[key] = open_ones.enter_context(offices.visitor(at_rest, **given))
            known[key].cookies.clear()
            return known[key]

        yield visit
