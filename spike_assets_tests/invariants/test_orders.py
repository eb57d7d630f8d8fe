"""After any order of events the tables are those of one clean run over the final candles, hash for hash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.granularity import GRANULARITIES, Granularity
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
from spike_assets_tests.strategies import examples

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


@EVERY
@examples(7)
@given(
    st.data(),
    st.lists(steps, max_size=7),
    st.sampled_from([2, 3, 14]),
    st.sampled_from([0, 30]),
    st.sampled_from([30, 60, 90]),
    st.sampled_from([1, 2, 10]),
    st.booleans(),
)
def test_any_order_ends_in_the_same_tables(
    granularity: Granularity,
    data: st.DataObject,
    order: list[Step],
    period: int,
    warmup: int,
    tail: int,
    chunks: int,
    near: bool,
) -> None:
    world: World = data.draw(worlds(nearsighted(granularity) if near else granularity, most=150), label="world")
    running = Running.of(world, period=period, warmup=warmup)
    tail *= strides(granularity)
    with small_steps(tail, tail * chunks):
        for step in order:
            running.take(step)
        running.end()
        running.check()
        running.check_candles()
