"""Faults drawn at random: some hours of a live platform, each tick with whatever may go wrong, from one seed."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spike_assets.deadline import Deadline
from spike_assets.errors import TransientError
from spike_assets.granularity import H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, close_of, nth_candle_before
from spike_assets.sources.oanda.client import RefusedError
from spike_assets.store.store import Store
from spike_assets_tests.faults.brokers import NAMES, Live, Market, live
from spike_assets_tests.oanda_server import (
    Corrected,
    Doubled,
    Drip,
    Dropped,
    Fault,
    Garbage,
    LateComplete,
    Missing,
    Outage,
    Skew,
    Slow,
    Status,
    Truncated,
    Unknown,
    WrongShape,
)

LIMIT = timedelta(seconds=1)
"""What a pass is given here: it waits for milliseconds where a real one waits for seconds."""
GRACE = 1.0
"""Seconds that storing what came in time may take on a busy machine."""

Draw = Callable[[random.Random, Market, int], Fault]


def some(chance: random.Random, market: Market, at: int) -> frozenset[datetime]:
    """Give a few candles, around the one that closes at a tick."""
    near = market.opens[max(0, at - 4) : at + 2]
    return frozenset(chance.sample(near, chance.randint(1, min(3, len(near)))))


def whom(chance: random.Random) -> frozenset[str] | None:
    return chance.choice([None, frozenset({chance.choice(NAMES)})])


FAULTS: dict[str, Draw] = {
    "late complete": lambda _chance, _market, _at: LateComplete(1, 45),
    "missing hours": lambda chance, market, at: Missing(some(chance, market, at), whom(chance)),
    "corrected volumes": lambda chance, market, at: Corrected(
        some(chance, market, at), whom(chance), chance.randint(1, 5000)
    ),
    "duplicate rows": lambda _chance, _market, _at: Doubled(),
    "429": lambda chance, _market, _at: Status(429, times=chance.choice([1, 3, None])),
    "429 with Retry-After": lambda chance, _market, _at: Status(
        429, retry_after=chance.choice(["0", "1", "60"]), times=2
    ),
    "5xx": lambda chance, _market, _at: Status(
        chance.choice([500, 502, 503, 504]), times=chance.choice([1, 3, None]), path=chance.choice(["", "candles"])
    ),
    "slow": lambda chance, _market, _at: Slow(chance.choice([0.05, 0.4, 5]), times=chance.choice([1, 2, None])),
    "dripping": lambda chance, _market, _at: Drip(chance.choice([0.1, 5]), times=1),
    "truncated": lambda chance, _market, _at: Truncated(times=chance.choice([1, 3])),
    "dropped": lambda chance, _market, _at: Dropped(times=chance.choice([1, 2])),
    "garbage": lambda chance, _market, _at: Garbage(times=chance.choice([1, 2, None])),
    "wrong shape": lambda chance, _market, _at: WrongShape(times=chance.choice([1, 2, None])),
    "clock skew": lambda chance, _market, _at: Skew(
        timedelta(seconds=chance.choice([-7200, -200, -20, 20, 200, 7200]))
    ),
    "unknown instrument": lambda chance, _market, _at: Unknown(frozenset({chance.choice(NAMES)})),
    "outage": lambda _chance, _market, _at: Outage(),
}
"""Each kind of fault, drawn for a tick."""


@dataclass
class Outcome:
    """How a drawn history went."""

    passes: int = 0
    failed: int = 0
    longest: float = 0.0
    hashes: dict[str, str] | None = None
    most_requests: int = 0
    most_connections: int = 0


TICKS = 5
HISTORY = {H1: 130, H4: 60, D: 60, W: 30}
"""How many candles lie before the first tick: more than a reconcile looks at."""
DAYS = {H1: 7, H4: 7, D: 16, W: 80}
"""How far back the reconcile looks that heals: farther than the daily one where faults last for more than a week."""


def market_of(granularity: Granularity, seed: int = 0, ticks: int = TICKS) -> Market:
    """Give candles that end at some time of 2025, another one for each seed."""
    end = datetime(2025, 1, 15, tzinfo=UTC) + timedelta(days=13 * seed % 340, hours=seed % 24)
    start = nth_candle_before(granularity, end, HISTORY[granularity] + ticks)
    last = nth_candle_before(granularity, end, 1)
    return Market(granularity, Window(start, close_of(granularity, last)))


def survive(seed: int, store: Store, folder: Path) -> tuple[Market, Outcome]:
    """Run a live platform through faults that a seed draws, then let it heal."""
    chance = random.Random(seed)
    granularity = chance.choice([H1, H1, H4, D, W])
    market = market_of(granularity, seed)
    outcome = Outcome()
    with live(market, store, folder) as platform:
        platform.load(market.opens[-TICKS])
        left: dict[str, int] = {}
        for at in range(len(market.opens) - TICKS, len(market.opens)):
            for kind in chance.sample(sorted(FAULTS), chance.choice([0, 1, 1, 2, 3])):
                platform.server.faults.append(FAULTS[kind](chance, market, at))
                left[kind] = at + chance.choice([1, 1, 2, 4])
            run(platform, market.closes[at], timedelta(seconds=chance.choice([1, 20, 90, 300])), outcome)
            if any(until <= at for until in left.values()):
                platform.server.faults.clear()
                left.clear()
        outcome.hashes = platform.heal(DAYS[granularity])
        outcome.most_requests = platform.server.most_requests_in_a_second()
        outcome.most_connections = platform.server.most_connections_in_a_second()
        market = platform.market
    return market, outcome


def run(platform: Live, close: datetime, after: timedelta, outcome: Outcome) -> None:
    """Run the pass of a tick; it may fail, and must end in time."""
    begun = time.monotonic()
    try:
        platform.tick(close, after, Deadline.after(LIMIT))
    except (TransientError, RefusedError):
        outcome.failed += 1
    outcome.passes += 1
    outcome.longest = max(outcome.longest, time.monotonic() - begun)
