"""How often rules hit, against chance: by hand, and on a market without memory."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.significance import _at_least, _coin, significance
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.store import Store
from spike_assets.store.tables import EVENTS
from spike_assets_tests.support import FOREVER, MemoryEngine, make_pipeline

NAMES = ("CHF_JPY", "EUR_USD", "GBP_USD", "USD_CNH")
WINDOW = Window(datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 6, 28, tzinfo=UTC))


@pytest.fixture(scope="module")
def filled() -> Pipeline:
    """Give a store of half a year; one of the instruments has no declared round numbers."""
    pipeline = make_pipeline(SimulatedSource(), Store(MemoryEngine()), NAMES)
    backfill(pipeline, H1, WINDOW)
    return pipeline


def test_every_rule_is_held_against_every_instrument(filled: Pipeline) -> None:
    found = significance(filled, H1)
    with filled.store.reading(FOREVER) as session:
        events = session.data.read(H1, EVENTS)
    assert [(hits.rule, hits.instrument) for hits in found.hits] == [
        (rule, name) for name in NAMES for rule in ("psychological_level", "volume_spike", "pattern_completion")
    ]
    for hits in found.hits:
        assert hits.events == int((events["instrument"] == hits.instrument).sum())
        assert 0 < hits.expected < hits.events
    assert found.groups.times == events["time"].nunique()
    assert found.groups.days == pytest.approx((WINDOW.end - WINDOW.start).days, abs=3)


def test_a_made_up_market_knows_no_round_numbers(filled: Pipeline) -> None:
    """Within four standard deviations of chance: nothing in it is drawn to a number, and nothing has a trend."""
    for hits in significance(filled, H1).hits:
        if hits.rule != "volume_spike":
            assert abs(hits.observed - hits.expected) < 4 * np.sqrt(hits.expected) + 5, hits


def test_an_empty_store_has_nothing() -> None:
    empty = make_pipeline(SimulatedSource(), Store(MemoryEngine()), NAMES)
    found = significance(empty, H1)
    assert found.hits == ()
    assert (found.groups.observed, found.groups.expected) == (0, 0.0)


def test_a_fair_coin() -> None:
    known = np.array([False, True, True, True, True, True])
    assert _coin(known).tolist() == [0, 0, 0, 0.25, 0.125, 0.125]


@pytest.mark.parametrize("least", [0, 1, 2, 3, 4])
def test_independent_things(least: int) -> None:
    rates = np.array([0.2, 0.5, 0.9])
    by_hand = sum(
        np.prod([rate if happens else 1 - rate for rate, happens in zip(rates, which, strict=True)])
        for which in itertools.product([True, False], repeat=3)
        if sum(which) >= least
    )
    assert _at_least(rates, least) == pytest.approx(by_hand)


def test_progress_is_told(filled: Pipeline) -> None:
    told: list[tuple[int, int]] = []
    significance(filled, H1, lambda done, of: told.append((done, of)))
    assert told == [(n, 4) for n in range(4)]
