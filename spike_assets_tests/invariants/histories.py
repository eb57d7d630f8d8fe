"""Histories that end in the same candles: ticks, refetches, late and corrected candles, crashes, in any order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import event
from hypothesis import strategies as st

from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process, settle
from spike_assets.store.engine import Engine
from spike_assets.store.store import Store
from spike_assets.store.tables import CANDLES
from spike_assets_tests.oracle import Candle
from spike_assets_tests.strategies import STRIDES, candle_lists, grid
from spike_assets_tests.support import (
    CrashError,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    candle_frame,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    plain,
    run_window,
    stored_candles,
)

LATEST = datetime(2029, 1, 1, tzinfo=UTC)
"""When the last fetch of every history comes."""

DEFECTS = ("late", "price", "volume", "invalid", "duplicate", "left out")


@dataclass(frozen=True)
class Defect:
    """What is wrong with one candle until it is mended."""

    kind: str
    instrument: str
    at: int


@dataclass
class World:
    """What the source says: the final candles, but for the defects that are not mended yet."""

    granularity: Granularity
    final: dict[str, list[Candle]]
    defects: list[Defect]
    mended: int = 0
    source: FrameSource = field(init=False)

    def __post_init__(self) -> None:
        self.source = FrameSource(self.candles())

    def mend(self, n: int) -> None:
        """Mend the next n defects."""
        self.mended += n
        self.source.candles = self.candles()

    def candles(self) -> pd.DataFrame:
        """Give what the source has now."""
        by_candle = {(d.instrument, d.at): d.kind for d in self.defects[self.mended :]}
        said = {
            name: [version for i, candle in enumerate(mine) for version in said_of(candle, by_candle.get((name, i)))]
            for name, mine in self.final.items()
        }
        for defect in self.defects[self.mended :]:
            if defect.kind == "left out":
                said[defect.instrument].append(self.left_out(defect))
        return pd.concat([candle_frame(name, mine) for name, mine in said.items()], ignore_index=True)

    def left_out(self, defect: Defect) -> Candle:
        """Give a candle in a gap of the final ones, or a version of one of them; it is omitted later."""
        times = grid(self.granularity)
        mine = self.final[defect.instrument]
        here = mine[defect.at]
        time = times[times.index(here.time) + 1]
        taken = {candle.time: candle for candle in mine}
        return taken.get(time, here._replace(time=time, volume=77))


def said_of(candle: Candle, kind: str | None) -> list[Candle]:
    """Give what the source says of a final candle that has a defect."""
    if kind == "late":
        return []
    if kind == "price":
        return [candle._replace(close=candle.open, high=candle.high + 0.01)]
    if kind == "volume":
        return [candle._replace(volume=candle.volume + 13)]
    if kind == "invalid":
        return [candle._replace(high=candle.low - 0.01)]
    if kind == "duplicate":
        return [candle._replace(close=candle.low, volume=3), candle]
    return [candle]


@st.composite
def worlds(draw: st.DrawFn, granularity: Granularity, most: int = 200) -> World:
    """One or two instruments, and up to eight defects."""
    lists = {"EUR_USD": draw(candle_lists(granularity, most, least=20))}
    if draw(st.booleans()):
        lists["USD_JPY"] = draw(candle_lists(granularity, most // 2))
    places = [(name, i) for name, mine in lists.items() for i in range(len(mine))]
    defects = [
        Defect(draw(st.sampled_from(DEFECTS)), *place)
        for place in draw(st.lists(st.sampled_from(places), max_size=8, unique=True))
    ]
    return World(granularity, lists, defects)


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    `tick`: a pass when the b-th candle has closed. `window`: candles a to b are fetched and worked off.
    `mend`: so many defects are. `crash`: the next tick or window dies at its a-th commit.
    """

    kind: str
    a: int
    b: int


KINDS = ("tick", "tick", "window", "window", "mend", "crash")
steps = st.builds(Step, st.sampled_from(KINDS), st.integers(0, 199), st.integers(0, 199))


@dataclass
class Running:
    """A world, a pipeline on a store, and when its next process will die."""

    world: World
    pipeline: Pipeline
    plan: CrashPlan
    times: list[datetime]

    @classmethod
    def of(cls, world: World, engine: Engine, *, period: int, warmup: int) -> "Running":
        plan = CrashPlan()
        store = Store(CrashingEngine(engine, plan))
        pipeline = make_pipeline(world.source, store, ("EUR_USD", "USD_JPY"), atr_period=period, warmup=warmup)
        pipeline = replace(pipeline, clock=lambda: LATEST)
        times = sorted({candle.time for mine in world.final.values() for candle in mine})
        return cls(world, pipeline, plan, times)

    def take(self, step: Step) -> None:
        """Take one step; a crash is taken silently."""
        if step.kind == "mend":
            self.world.mend(step.a % 3)
        elif step.kind == "crash":
            self.plan.arm(step.a % 12, before=step.b % 2 == 0)
        else:
            try:
                self._run(step)
            except CrashError:
                event("crashed")
            self.plan.arm(-1, before=True)

    def _run(self, step: Step) -> None:
        first, last = sorted((step.a % len(self.times), step.b % len(self.times)))
        now = self.times[last] + timedelta(days=8, minutes=step.a)  # whatever the granularity, it has closed
        if step.kind == "tick":
            process(self.pipeline, self.world.granularity, now=now)
        else:
            run_window(self.pipeline, self.world.granularity, self._window(first, last), now)

    def _window(self, first: int, last: int) -> Window:
        return Window(self.times[first], self.times[last] + timedelta(microseconds=1))

    def end(self) -> None:
        """Mend everything and fetch it all once more."""
        self.world.mend(len(self.world.defects))
        self.plan.arm(-1, before=True)
        run_window(self.pipeline, self.world.granularity, self._window(0, -1), LATEST)

    def check(self) -> None:
        """Everything that is derived is what the pure functions make of the stored candles."""
        granularity, period = self.world.granularity, self.pipeline.atr_period
        assert pending_marks(self.pipeline, granularity) == 0
        stored = stored_candles(self.pipeline, granularity)
        assert hashes(self.pipeline, granularity) == computed_hashes(stored, granularity, LATEST, period)

    def check_candles(self) -> None:
        """What is stored is the final candles, and of what was omitted later perhaps some."""
        stored = stored_candles(self.pipeline, self.world.granularity)
        omitted = {(d.instrument, self.world.left_out(d).time) for d in self.world.defects if d.kind == "left out"}
        final = {(name, candle.time): candle for name, mine in self.world.final.items() for candle in mine}
        for row in plain(stored[list(CANDLES.names[:7])]):
            name, *values = row.values()
            key = (name, values[0])
            if key not in final:
                assert key in omitted
                continue
            assert Candle(*values) == final.pop(key)
        assert not final


@contextmanager
def small_steps(tail: int, chunk: int) -> Iterator[None]:
    """Let stages stop, or pause, so soon that small histories see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle, "TAIL_CANDLES", tail)
        patch.setattr(settle, "CHUNK_CANDLES", chunk)
        yield


def nearsighted(granularity: Granularity) -> Granularity:
    """Give a granularity whose first guess of how far to look back is too short."""
    short = {"H1": 5, "H4": 5, "D": 7, "W": 21}[granularity.name]
    return replace(granularity, lookback=timedelta(days=short))


def strides(granularity: Granularity) -> int:
    """Give how many candles of the grid lie between two of a nasty list, at most."""
    return max(STRIDES[granularity.name])
