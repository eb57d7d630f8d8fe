"""The two engines, for tests that are to hold on both: what is asked for here comes once from each.

A test asks for `store`, `new_store` or `database`. Where all of it on Postgres would take too long for the suite, it is
parametrised by `engine` with `on_both`: the suite then tries some of its cases there, the soak all of them.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spike_assets.store import open_store
from spike_assets.store.store import Store
from spike_assets_tests.postgres import Server
from spike_assets_tests.support import MemoryEngine

DUCKDB, POSTGRES = "duckdb", "postgres"

NewStore = Callable[[], Store]


def on_both(*cases: Any, suite: Collection[Any] = ()) -> list[Any]:
    """Give values of `engine` and what else is named: every case on DuckDB, and on Postgres; there a few in the suite.

    Parameters
    ----------
    cases
        A value, or a tuple of values, each.
    suite
        Which of them the suite tries on Postgres too; the soak tries the others.
    """
    return [
        pytest.param(
            engine,
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if engine == DUCKDB or case in suite else pytest.mark.soak,
        )
        for engine in (DUCKDB, POSTGRES)
        for case in cases
    ]


SOAKED = [DUCKDB, pytest.param(POSTGRES, marks=pytest.mark.soak)]
"""Values of `engine` for what only the soak tries on Postgres."""


@pytest.fixture(params=[DUCKDB, POSTGRES])
def engine(request: pytest.FixtureRequest) -> str:
    """Give which engine it is."""
    name: str = request.param
    return name


@pytest.fixture
def database(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of an empty database that any process may open."""
    if engine == DUCKDB:
        return str(tmp_path / "spike.duckdb")
    url: str = request.getfixturevalue("postgres")
    return url


@pytest.fixture
def new_store(engine: str, request: pytest.FixtureRequest) -> Iterator[NewStore]:
    """Give what gives empty stores, as quick as the engine has them: in memory, or of databases that are there."""
    if engine == DUCKDB:
        yield lambda: Store(MemoryEngine())
        return
    server: Server = request.getfixturevalue("server")
    with ExitStack() as databases:
        yield lambda: open_store(databases.enter_context(server.database()))


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """Give an empty store, as quick as the engine has it."""
    return new_store()
