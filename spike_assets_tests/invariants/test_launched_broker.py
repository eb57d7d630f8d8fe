"""Passes and reconciles that a real daemon launches warm, on a broker that fails and killed, end as a backfill does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from spike_assets.alerts.policy import Policy
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.store import Store
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Market
from spike_assets_tests.faults.chaos import FAULTS, market_of
from spike_assets_tests.invariants.launched import Launched, acts, launched
from spike_assets_tests.oanda_server import ACCOUNT, TOKEN, Clock, OandaServer
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes, pending_marks

PATIENCE = 3.0
"""Seconds that a pass may take while the broker fails."""


@dataclass
class Trouble:
    """What is wrong with a broker, drawn tick by tick."""

    server: OandaServer
    chance: Random
    drawn: int = 0
    _left: dict[str, int] = field(default_factory=dict)

    def begin(self, market: Market, at: int) -> None:
        """Let up to three more things go wrong at a tick, and on for some."""
        for kind in self.chance.sample(sorted(FAULTS), self.chance.choice([0, 1, 1, 2, 3])):
            self.server.faults.append(FAULTS[kind](self.chance, market, at))
            self._left[kind] = at + self.chance.choice([1, 1, 2, 4])
            self.drawn += 1

    def end(self, at: int) -> None:
        """Mend everything when the time of something is over."""
        if any(until <= at for until in self._left.values()):
            self.server.faults.clear()
            self._left.clear()


@contextmanager
def on_a_broker(folder: Path, market: Market, until: datetime) -> Iterator[tuple[Launched, OandaServer]]:
    """Give a platform that has a market's candles up to a time, and its broker."""
    clock = Clock(until + AFTER_CLOSE)
    with OandaServer(SimulatedSource(), clock, instruments=market.instruments) as server:
        variables = {
            "SPIKE_SOURCE": "oanda",
            "OANDA_URL": server.url,
            "OANDA_API_TOKEN": TOKEN,
            "OANDA_ACCOUNT_ID": ACCOUNT,
            "SPIKE_DATABASE": str(folder / "spike.duckdb"),
            "SPIKE_INSTRUMENTS": ",".join(market.instruments),
            "SPIKE_HISTORY_START": market.window.start.isoformat(),
            "SPIKE_WARMUP": "0",
        }
        with launched(folder, variables, clock) as running:
            backfill(running.pipeline, H1, Window(market.window.start, until))
            running.pipeline.source.client.close()  # type: ignore[attr-defined]
            yield running, server


def healed(running: Launched, server: OandaServer, market: Market) -> Market:
    """End every fault and reconcile once; give the market up to where the platform has come."""
    server.faults.clear()
    server.forget()
    running.at(market.window.end + timedelta(minutes=30))
    running.catch_up()
    running.at(running.clock() + timedelta(minutes=1))
    running.succeeded("h1_reconcile")
    with running.pipeline.store.reading(FOREVER) as session:
        unknown = session.ops.unavailable(H1)
    if len(unknown):  # whom the broker did not know is asked for again a day later
        running.at(running.clock() + timedelta(hours=25))
        market = market.until(running.clock())
        running.catch_up()
        running.succeeded("h1_reconcile")
    return market


@pytest.mark.parametrize(
    ("ticks", "times"),
    [(5, {"kill": 2}), pytest.param(60, {"kill": 20, "server": 4, "daemon": 1}, marks=pytest.mark.soak)],
    ids=["a few", "days"],
)
def test_faults_and_kills(ticks: int, times: dict[str, int], tmp_path: Path, record_property: Tell) -> None:
    chance = Random(ticks)
    market = market_of(H1, ticks, ticks)
    first = len(market.opens) - ticks
    with on_a_broker(tmp_path, market, market.opens[first]) as (running, server):
        trouble = Trouble(server, chance)
        for at, act in enumerate(acts(chance, ticks, **times), first):
            trouble.begin(market, at)
            running.at(market.closes[at] + timedelta(seconds=chance.choice([1, 20, 90, 300])), PATIENCE)
            assert running.tick()
            if chance.random() < 0.2:
                running.queue("h1_reconcile")
            running.do(act, chance)
            running.make_room()
            trouble.end(at)
        market = healed(running, server, market)
        told = running.figures()
    pipeline = running.pipeline
    clean = replace(pipeline, source=SimulatedSource(), store=Store(MemoryEngine()), policy=Policy())
    backfill(clean, H1, market.window)
    assert hashes(pipeline, H1) == hashes(clean, H1)
    assert pending_marks(pipeline, H1) == 0
    assert verify(pipeline, H1).difference is None
    told |= {"faults": trouble.drawn, "requests": len(server.requests)}
    told |= {"most connections in a second": server.most_connections_in_a_second()}
    for name, figure in told.items():
        record_property(name, figure)
