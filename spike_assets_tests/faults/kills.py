"""Live passes, backfills and reconciles in processes of their own that are killed at a random moment."""

import random
from datetime import timedelta
from pathlib import Path

from spike_assets.market_hours import Window
from spike_assets.pipeline import process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import reconcile
from spike_assets.pipeline.verify import verify
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Live, Market, live, oanda_of
from spike_assets_tests.oanda_server import Clock, Corrected, Missing
from spike_assets_tests.processes import PATIENCE, start
from spike_assets_tests.support import make_pipeline

LONGEST = 0.6
"""Seconds after which the latest kill comes: a pass takes about half of that."""


def work(what: str, url: str, database: str, folder: Path, market: Market, close: float) -> None:
    """Do one of the platform's works in this process."""
    now = market.closes[0] + timedelta(seconds=close)
    source = oanda_of(url, folder, limited=False)
    pipeline = make_pipeline(source, database, market.instruments, history_start=market.window.start, clock=Clock(now))
    if what == "pass":
        process(pipeline, market.granularity, now=now)
    elif what == "reconcile":
        reconcile(pipeline, market.granularity, now=now)
    else:
        backfill(pipeline, market.granularity, Window(market.window.start, now))


def kill_again_and_again(seed: int, market: Market, database: str, folder: Path, kills: int) -> tuple[int, list[str]]:
    """Kill so many processes, tick after tick, corrections pending; give how many were started, and what differs.

    One that had ended before its kill came does not count, and another one is started.
    """
    chance = random.Random(seed)
    hit, started, wrong = 0, 0, []
    with live(market, database, folder, limited=False) as platform:
        platform.load(market.opens[-2 * kills - 2])
        for close in market.closes[-2 * kills - 2 : -2]:
            if hit == kills:
                break
            mend_or_break(platform, chance)
            platform.clock.set(close + AFTER_CLOSE)
            what = chance.choice(["pass", "pass", "reconcile", "backfill"])
            since = (platform.clock() - market.closes[0]).total_seconds()
            process_ = start(work, what, platform.server.url, database, folder, market, since)
            process_.join(chance.uniform(0.0, LONGEST))
            process_.kill()
            process_.join(PATIENCE)
            assert process_.exitcode in {0, -9}, process_.exitcode
            started += 1
            hit += process_.exitcode == -9
            platform.clock.advance(timedelta(seconds=30))
            process(platform.pipeline, market.granularity, now=platform.clock())
            wrong += [text for text in [verify(platform.pipeline, market.granularity).difference] if text]
        assert hit == kills, f"only {hit} of {started} processes were killed"
        found = platform.heal()
        wrong += [name for name, text in found.items() if text != platform.market.expected[name]]
    return started, wrong


def mend_or_break(platform: Live, chance: random.Random) -> None:
    """Have some candles late or wrong for a while."""
    opens = platform.market.opens
    if chance.random() < 0.5:
        platform.server.faults.clear()
    else:
        times = frozenset(chance.sample(opens[-60:], 3))
        platform.server.faults.append(chance.choice([Corrected(times, volume=chance.randint(1, 900)), Missing(times)]))
