"""After any order of events the tables are those of one clean run over the final candles, hash for hash."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store.engine import Engine
from spike_assets.store.postgres_engine import PostgresEngine
from spike_assets.store.whole import PLACES
from spike_assets_tests.invariants.histories import (
    Running,
    Step,
    World,
    nearsighted,
    small_steps,
    steps,
    strides,
    worlds,
)
from spike_assets_tests.postgres import Server
from spike_assets_tests.strategies import examples
from spike_assets_tests.support import MemoryEngine

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


class Drawn(NamedTuple):
    """What happens, and how far stages look back and go at once."""

    order: list[Step]
    period: int
    warmup: int
    tail: int
    chunks: int
    near: bool


drawn = st.builds(
    Drawn,
    st.lists(steps, max_size=7),
    st.sampled_from([2, 3, 14]),
    st.sampled_from([0, 30]),
    st.sampled_from([30, 60, 90]),
    st.sampled_from([1, 2, 10]),
    st.booleans(),
)


@EVERY
@examples(7)
@given(st.data(), drawn)
def test_any_order_ends_in_the_same_tables(granularity: Granularity, data: st.DataObject, how: Drawn) -> None:
    ends_in_the_same_tables(granularity, data, how, MemoryEngine())


@EVERY
@examples(2, of=7)
@given(st.data(), drawn)
def test_any_order_ends_in_the_same_tables_on_postgres(
    emptied: Callable[[], Engine], granularity: Granularity, data: st.DataObject, how: Drawn
) -> None:
    ends_in_the_same_tables(granularity, data, how, emptied())


@pytest.fixture(scope="module")
def emptied(server: Server) -> Iterator[Callable[[], Engine]]:
    """Give what empties one and the same database, and opens it: quicker than to make one for each example."""
    with server.database() as url:

        def empty() -> Engine:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("; ".join(f"DELETE FROM {place.name}" for place in PLACES).encode())  # noqa: S608
            return PostgresEngine(url)

        yield empty


def ends_in_the_same_tables(granularity: Granularity, data: st.DataObject, how: Drawn, engine: Engine) -> None:
    world: World = data.draw(worlds(nearsighted(granularity) if how.near else granularity, most=150), label="world")
    running = Running.of(world, engine, period=how.period, warmup=how.warmup)
    tail = how.tail * strides(granularity)
    with small_steps(tail, tail * how.chunks):
        for step in how.order:
            running.take(step)
        running.end()
        running.check()
        running.check_candles()
