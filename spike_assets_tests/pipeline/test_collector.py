"""The collector rests while a pass runs, and is as it was behind it."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from spike_assets.granularity import H1
from spike_assets.pipeline import process
from spike_assets.pipeline.collector import at_rest
from spike_assets.sources.base import Fetched
from spike_assets_tests.pipeline.markets import hour, market, memory
from spike_assets_tests.support import FrameSource


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_rests_during_a_pass() -> None:
    resting: list[bool] = []

    class Noted(FrameSource):
        def fetch(self, *args: Any, **how: Any) -> Fetched:
            resting.append(not gc.isenabled())
            return super().fetch(*args, **how)

    source = Noted(market().candles)
    process(memory(source), H1, now=hour(5))
    assert resting == [True]
    assert gc.isenabled()


def test_it_rests_in_the_block() -> None:
    with at_rest():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_behind_what_failed_it_goes_on() -> None:
    with pytest.raises(ValueError, match="wrong"), at_rest():
        raise ValueError("wrong")
    assert gc.isenabled()


def test_one_that_was_turned_off_stays_off() -> None:
    gc.disable()
    with at_rest():
        pass
    assert not gc.isenabled()


def test_two_at_once_end_with_it_on() -> None:
    first, second = at_rest(), at_rest()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert gc.isenabled()
