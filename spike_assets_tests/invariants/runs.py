"""The ways in which the same candles may come: hour by hour, newest half first, late and corrected, through kills."""

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import Pipeline, process
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.engine import Engine
from spike_assets.store.postgres_engine import PostgresEngine
from spike_assets.store.store import Store
from spike_assets_tests.processes import die, run
from spike_assets_tests.support import (
    CrashingEngine,
    CrashPlan,
    FrameSource,
    captured,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    run_window,
    simulated,
)

LATER = datetime(2040, 1, 1, tzinfo=UTC)
AFTER_CLOSE = timedelta(minutes=5)


@dataclass(frozen=True)
class Market:
    """Final candles of some instruments, as a source gives them."""

    granularity: Granularity
    window: Window
    candles: pd.DataFrame

    @property
    def instruments(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.candles["instrument"])))

    @cached_property
    def expected(self) -> dict[str, str]:
        """What the pure functions make of the candles: every way must end in this."""
        return computed_hashes(self.candles, self.granularity, LATER)

    @cached_property
    def closes(self) -> list[datetime]:
        """When the candles of the window close that the market can make."""
        times = candle_times(self.granularity, self.window)
        return [close_of(self.granularity, time) for time in times.to_pydatetime()]

    def pipeline(self, store: str | Path | Store, source: FrameSource | None = None) -> Pipeline:
        source = source or FrameSource(self.candles)
        pipeline = make_pipeline(source, store, self.instruments, history_start=self.window.start)
        return replace(pipeline, clock=lambda: LATER)

    def ends_in(self, pipeline: Pipeline) -> dict[str, str]:
        """Give what the tables are, when nothing is left to do."""
        assert pending_marks(pipeline, self.granularity) == 0
        return hashes(pipeline, self.granularity)


def captured_market(instruments: tuple[str, ...], window: Window) -> Market:
    """Give real H1 candles."""
    frames = [captured("fx_h1", name, window) for name in instruments]
    return Market(H1, window, pd.concat(frames, ignore_index=True))


def simulated_market(granularity: Granularity, instruments: tuple[str, ...], window: Window) -> Market:
    """Give candles that are there on every machine."""
    return Market(granularity, window, simulated(granularity, instruments, window))


def tick_by_tick(market: Market, store: str | Store) -> dict[str, str]:
    """One pass after each close, as the schedule does it."""
    pipeline = market.pipeline(store)
    for close in market.closes:
        process(pipeline, market.granularity, now=close + AFTER_CLOSE)
    return market.ends_in(pipeline)


def newest_half_first(market: Market, store: str | Store) -> dict[str, str]:
    """The newer half, and then the older one."""
    pipeline = market.pipeline(store)
    middle = market.closes[len(market.closes) // 2]
    for i, half in enumerate((Window(middle, market.window.end), Window(market.window.start, middle))):
        run_window(pipeline, market.granularity, half, LATER + timedelta(hours=i))
    return market.ends_in(pipeline)


def late_and_corrected(market: Market, store: Store, seed: int = 1) -> dict[str, str]:
    """Everything at once with one candle in ten late, wrong, doubled or invalid; then the truth, piece by piece."""
    chance = random.Random(seed)
    source = FrameSource(with_defects(market.candles, chance))
    pipeline = market.pipeline(store, source)
    run_window(pipeline, market.granularity, market.window, LATER)
    assert hashes(pipeline, market.granularity) != market.expected
    source.candles = market.candles
    edges = sorted({market.window.start, market.window.end, *chance.sample(market.closes, 5)})
    pieces = [Window(start, end) for start, end in pairwise(edges)]
    chance.shuffle(pieces)
    for i, piece in enumerate(pieces, start=1):
        run_window(pipeline, market.granularity, piece, LATER + timedelta(hours=i))
    return market.ends_in(pipeline)


def with_defects(candles: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    """Give candles of which one in ten is not as it will be."""
    rows = candles.copy()
    wrong = np.array([chance.random() < 0.1 for _ in range(len(rows))])
    kinds = np.array([chance.choice(("late", "price", "volume", "invalid", "doubled")) for _ in range(len(rows))])
    kinds[~wrong] = ""
    rows.loc[kinds == "price", "high"] *= 1.004
    rows.loc[kinds == "volume", "volume"] += 217
    rows.loc[kinds == "invalid", "low"] = np.nan
    doubled = rows[kinds == "doubled"].assign(close=rows["low"])
    said: pd.DataFrame = pd.concat([doubled, rows[kinds != "late"]], ignore_index=True)
    return said


# --- kills ------------------------------------------------------------------------------------------------------------


class KillPlan(CrashPlan):
    """Dies as `kill -9` makes it die."""

    def die(self) -> None:
        die()


def engine_of(database: str) -> Engine:
    """Give the engine of a DuckDB file, or of a Postgres by its address."""
    return PostgresEngine(database) if "://" in database else DuckDBEngine(Path(database))


def killed_pass(database: str, market: Path, now: datetime, at: int, before: bool) -> None:
    """Run a pass in this process that is killed at a commit, if it comes so far."""
    plan = KillPlan(at, before)
    known: Market = pickle.loads(market.read_bytes())  # noqa: S301 - written by the test
    store = Store(CrashingEngine(engine_of(database), plan))
    process(known.pipeline(store), known.granularity, now=now)


COMMITS = 7
"""Commits of a pass: that it has begun, candles, ATR, events, features, alerts, the state. The first has the schema."""


def killed_everywhere(
    market: Market, database: str, folder: Path, seen: Callable[[int], None] = lambda _: None, stride: int = 1
) -> dict[str, str]:
    """Pass after pass is killed, at each commit in turn, before and behind it; each is run again."""
    file = folder / "killed.market"
    file.write_bytes(pickle.dumps(market))
    pipeline = market.pipeline(Store(engine_of(database)))
    kills = 0
    closes = market.closes[::stride]
    for n, close in enumerate([*closes, market.closes[-1]]):
        now = close + AFTER_CLOSE
        at, before = n // 2 % COMMITS, n % 2 == 0
        code = run(killed_pass, database, file, now, at, before)
        assert code in {0, -9}
        kills += code == -9
        process(pipeline, market.granularity, now=now + timedelta(seconds=1))
    seen(kills)
    return market.ends_in(pipeline)
