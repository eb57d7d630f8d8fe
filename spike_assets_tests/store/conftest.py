"""The stores that these tests are about: DuckDB, also with the keys of an engine that keeps them, and Postgres."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Protocol

import pytest

from spike_assets.store import open_store
from spike_assets.store.store import Session, Store
from spike_assets_tests.postgres import Server, empty_postgres, postgres, server
from spike_assets_tests.support import FOREVER, MemoryEngine

__all__ = ["empty_postgres", "postgres", "server"]


class Opened(Protocol):
    """Opens an empty store to write; what is written is gone with the block."""

    def __call__(self) -> AbstractContextManager[Session]:
        """Open it."""
        ...


class _UndoneError(Exception):
    pass


@contextmanager
def undone(store: Store) -> Iterator[Session]:
    """Open a store in a transaction that never ends well: making the tables anew takes a hundred times as long."""
    with suppress(_UndoneError), store.writing(FOREVER, "a test") as session, session.transaction():
        yield session
        raise _UndoneError


@pytest.fixture(scope="session")
def elephant(server: Server) -> Iterator[Opened]:
    with server.database() as url:
        yield partial(undone, open_store(url))


@pytest.fixture(scope="session")
def duck() -> Opened:
    return partial(undone, Store(MemoryEngine()))


@pytest.fixture(scope="session")
def duck_with_keys() -> Opened:
    return partial(undone, Store(MemoryEngine(natural_keys=True)))


@pytest.fixture(scope="module", params=["duck", "elephant"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Give what opens an empty store of either engine."""
    found: Opened = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def session(opened: Opened) -> Iterator[Session]:
    with opened() as session:
        yield session
