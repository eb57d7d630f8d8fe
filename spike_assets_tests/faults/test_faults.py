"""Each fault of a broker, alone and with others: when it ends, the tables are those of a clean run."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from spike_assets.granularity import H1
from spike_assets.store.store import Store
from spike_assets_tests.engines import on_both
from spike_assets_tests.faults.brokers import AFTER_CLOSE, live
from spike_assets_tests.faults.chaos import FAULTS, GRACE, LIMIT, TICKS, Outcome, market_of, run, survive

SOON = timedelta(seconds=2)


@pytest.mark.parametrize(("engine", "kind"), on_both(*FAULTS, suite={"missing hours", "outage"}))
def test_a_fault_alone(kind: str, store: Store, tmp_path: Path) -> None:
    chance = random.Random(kind)
    market = market_of(H1, len(kind))
    outcome = Outcome()
    with live(market, store, tmp_path) as platform:
        platform.load(market.opens[-TICKS])
        for at in range(len(market.opens) - TICKS, len(market.opens)):
            if len(market.opens) - at in {4, 3}:
                platform.server.faults.append(FAULTS[kind](chance, market, at))
            else:
                platform.server.faults.clear()
            run(platform, market.closes[at], SOON if kind == "late complete" else AFTER_CLOSE, outcome)
        assert platform.heal() == platform.market.expected
        assert platform.server.most_requests_in_a_second() <= 120
        assert platform.server.most_connections_in_a_second() <= 2
    assert outcome.longest < LIMIT.total_seconds() + GRACE


@pytest.mark.parametrize(("engine", "seed"), on_both(*range(8), suite={0, 5}))
def test_faults_together(seed: int, store: Store, tmp_path: Path) -> None:
    market, outcome = survive(seed, store, tmp_path)
    assert outcome.hashes == market.expected
    assert outcome.longest < LIMIT.total_seconds() + GRACE
    assert outcome.most_requests <= 120
    assert outcome.most_connections <= 2
