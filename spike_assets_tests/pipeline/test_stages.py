"""The derived stages, one by one and in any order between them."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.alerts.queue import Occasion
from spike_assets.granularity import H1, Granularity, W
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, candles
from spike_assets.pipeline.context import Watch
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.settle import Stage
from spike_assets.pipeline.stages import ALERTS_STAGE, ATR_STAGE, EVENTS_STAGE, FEATURES_STAGE, STAGES
from spike_assets.pipeline.summary import Summary
from spike_assets.store.store import Session, Store
from spike_assets.store.tables import ATR, EVENTS
from spike_assets_tests.invariants.histories import LATEST, small_steps, strides
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import MONDAY, hour, hours_of
from spike_assets_tests.strategies import candle_lists, examples
from spike_assets_tests.support import (
    FOREVER,
    FrameSource,
    MemoryEngine,
    candle_frame,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    tables,
)


def store_window(pipeline: Pipeline, session: Session, granularity: Granularity, window: Window, now: datetime) -> None:
    """Fetch and store candles, and nothing more."""
    received = candles.fetch(pipeline, granularity, dict.fromkeys(pipeline.instruments, window), Watch(now), FOREVER)
    candles.store(session, granularity, received)


def run(pipeline: Pipeline, session: Session, stage: Stage, granularity: Granularity = H1) -> Summary:
    return run_stage(pipeline, session, granularity, stage, FOREVER, Occasion(MONDAY, live=False))


# --- any order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", [H1, W], ids=str)
@examples(12)
@given(
    st.data(),
    st.lists(st.tuples(st.sampled_from(["store", *STAGES]), st.integers(0, 99), st.integers(0, 99)), max_size=12),
    st.sampled_from([2, 14]),
)
def test_runs_may_interleave_stage_by_stage(
    granularity: Granularity, data: st.DataObject, order: list[tuple[Any, int, int]], period: int
) -> None:
    """Each stage works off what is pending, whoever marked it: two runs in any order end in the right tables."""
    mine = data.draw(candle_lists(granularity, 100, least=20))
    source = FrameSource(candle_frame("EUR_USD", mine))
    pipeline = make_pipeline(source, Store(MemoryEngine()), ("EUR_USD",), atr_period=period)
    tick = timedelta(microseconds=1)
    steps = small_steps(60 * strides(granularity), 120 * strides(granularity))
    with steps, pipeline.changing(granularity, FOREVER, "a test") as session:
        for i, (what, a, b) in enumerate(order):
            if what == "store":
                first, last = sorted((a % len(mine), b % len(mine)))
                window = Window(mine[first].time, mine[last].time + tick)
                store_window(pipeline, session, granularity, window, LATEST + i * tick)
            else:
                run(pipeline, session, what, granularity)
        whole = Window(mine[0].time, mine[-1].time + tick)
        store_window(pipeline, session, granularity, whole, LATEST + timedelta(days=1))
        for stage in STAGES:
            run(pipeline, session, stage, granularity)
    assert pending_marks(pipeline, granularity) == 0
    assert hashes(pipeline, granularity) == computed_hashes(source.candles, granularity, LATEST, period)


# --- one by one -------------------------------------------------------------------------------------------------------

RISES, FALLS = (10.0, 12.0, 9.0, 11.0), (11.0, 14.0, 9.0, 10.0)


def turns(n: int, *, skip: int = 0) -> list[Candle]:
    """Give candles that rise and fall by turns, so that every second one makes an event."""
    return [Candle(hour(i), *(RISES if i % 2 == 0 else FALLS), 10 + i) for i in range(skip, n)]


@pytest.fixture
def source() -> FrameSource:
    return FrameSource(candle_frame("EUR_USD", turns(60)))


@pytest.fixture
def pipeline(source: FrameSource) -> Pipeline:
    return make_pipeline(source, Store(MemoryEngine()), ("EUR_USD",), atr_period=2)


def load(pipeline: Pipeline, session: Session, first: int, last: int, now: float = 200) -> None:
    store_window(pipeline, session, H1, Window(hour(first), hour(last)), hour(now))


def test_each_stage_tells_what_it_did(pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 20)
        done = [run(pipeline, session, stage) for stage in STAGES]
        assert [(s.stage, s.added, s.updated, s.removed) for s in done] == [
            ("atr", 20, 0, 0),
            ("events", 9, 0, 0),  # at 3, 5 … 19: the first candles have no ATR
            ("features", 9, 0, 0),
            ("alerts", 9, 0, 0),  # every level is the round 14.0000
        ]
        assert done[0].changed_range == (hour(0), hour(19))
        assert done[1].changed_range == done[2].changed_range == (hour(3), hour(19))
        assert done[1].by_instrument() == {"EUR_USD": 9}
        assert [run(pipeline, session, stage).rows for stage in STAGES] == [0, 0, 0, 0]


def test_one_more_candle_touches_one_row_each(pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 59)
        for stage in STAGES:
            run(pipeline, session, stage)
        load(pipeline, session, 59, 60)
        assert [run(pipeline, session, stage).rows for stage in STAGES] == [1, 1, 1, 1]


def test_a_corrected_volume_touches_no_atr(source: FrameSource, pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 60)
        for stage in STAGES:
            run(pipeline, session, stage)
        source.candles = source.candles.assign(
            volume=source.candles["volume"].where(source.candles["time"] != hour(21), 999)
        )
        load(pipeline, session, 21, 22, 201)
        done = [run(pipeline, session, stage) for stage in STAGES]
        assert [s.rows for s in done[:2]] == [0, 1]
        assert done[2].changed_range is not None
        assert done[2].changed_range[0] == hour(21)


def test_a_late_first_candle_moves_the_seed(source: FrameSource, pipeline: Pipeline) -> None:
    """The instrument's first candle has no true range, and everything behind counts from it."""
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 1, 40)
        for stage in STAGES:
            run(pipeline, session, stage)
        load(pipeline, session, 0, 1)
        done = [run(pipeline, session, stage) for stage in STAGES]
        assert done[0].added == 1
        assert done[0].updated > 1
    expected = computed_hashes(source.candles[:40], H1, hour(300), 2)
    assert hashes(pipeline, H1) == expected


def test_an_event_that_is_no_more_takes_its_features_along(source: FrameSource, pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 40)
        for stage in STAGES:
            run(pipeline, session, stage)
        fine = source.candles
        source.candles = fine.assign(close=fine["close"].where(fine["time"] != hour(21), 11.5))  # it rises now
        load(pipeline, session, 21, 22, 201)
        done = [run(pipeline, session, stage) for stage in STAGES]
        assert (done[1].removed, done[2].removed) == (1, 1)
    rows = tables(pipeline, H1)
    assert hour(21) not in set(rows["events"]["time"])
    assert rows["events"]["time"].tolist() == rows["features"]["time"].tolist()


def test_a_candle_that_comes_between_the_stages_waits_for_its_atr(source: FrameSource, pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 20)
        run(pipeline, session, ATR_STAGE)
        load(pipeline, session, 20, 22)  # another run's, whose ATR is not there yet
        run(pipeline, session, EVENTS_STAGE)
        run(pipeline, session, FEATURES_STAGE)
        assert session.data.count(H1, ATR) == 20
        assert session.data.count(H1, EVENTS) == 9
        done = [run(pipeline, session, stage) for stage in STAGES]
        assert [s.rows for s in done] == [2, 1, 1, 10]
    assert hashes(pipeline, H1) == computed_hashes(source.candles[:22], H1, hour(300), 2)


def hour_by_hour(pipeline: Pipeline, source: FrameSource, first: int) -> None:
    """Load the candles before the first one at once, and then one by one, and check what is stored."""
    times = sorted(time.to_pydatetime() for time in source.candles["time"])
    tick = timedelta(microseconds=1)
    pieces = [Window(times[0], times[first]), *(Window(time, time + tick) for time in times[first:])]
    with pipeline.changing(H1, FOREVER, "a test") as session:
        for piece in pieces:
            store_window(pipeline, session, H1, piece, LATEST)
            for stage in STAGES:
                run(pipeline, session, stage)
    period = pipeline.atr_period
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, LATEST, period)


def later(candles_: list[Candle], by: timedelta) -> list[Candle]:
    return [candle._replace(time=candle.time + by) for candle in candles_]


def one_instrument(candles_: list[Candle], period: int = 2) -> tuple[Pipeline, FrameSource]:
    source = FrameSource(candle_frame("EUR_USD", candles_))
    return make_pipeline(source, Store(MemoryEngine()), ("EUR_USD",), atr_period=period), source


def test_history_is_found_however_far_back_it_lies() -> None:
    """Half a year without candles, far more than the first guess of how far to look back."""
    pipeline, source = one_instrument([*turns(59), *later(turns(14, skip=1), timedelta(weeks=26))])
    hour_by_hour(pipeline, source, 59)
    assert hour(1) + timedelta(weeks=26) in set(tables(pipeline, H1)["events"]["time"])


def quiet(weeks: int) -> list[Candle]:
    """Give weeks of candles that only rise, and so make no event."""
    window = Window(MONDAY + timedelta(weeks=1), MONDAY + timedelta(weeks=1 + weeks))
    return [Candle(time, *RISES, 10 + i % 7) for i, time in enumerate(hours_of(H1, window))]


def test_events_are_found_however_far_back_they_lie() -> None:
    """Enough candles and enough of each slot lie nearer than the events."""
    candles_ = [*turns(40), *quiet(8), *later(turns(9, skip=1), timedelta(weeks=9))]
    pipeline, source = one_instrument(candles_)
    hour_by_hour(pipeline, source, len(candles_) - 8)
    rows = tables(pipeline, H1)["features"]
    assert rows["candles_since_previous"].max() > 8 * 120
    assert rows["pattern_6"].notna().sum() > 12


def test_samples_of_a_slot_are_found_however_far_back_they_lie() -> None:
    """Enough candles and events lie near, but the slot of one has a candle on Mondays only."""
    candles_ = []
    for day in range(7 * 30):
        ten, eleven, three = (MONDAY + timedelta(days=day, hours=n) for n in (10, 11, 19))
        if day % 7 < 5:
            candles_ += [Candle(ten, *FALLS, 5 + day % 11), Candle(eleven, *RISES, 3)]
        if day % 7 == 0:
            candles_.append(Candle(three, *FALLS, 50 + day))
    pipeline, source = one_instrument(candles_)
    hour_by_hour(pipeline, source, len(candles_) - 22)
    rows = tables(pipeline, H1)["features"]
    assert rows["relative_volume"][rows["time"].dt.hour == 19].notna().sum() >= 18


def daily(n: int) -> list[Candle]:
    """Give one candle a weekday, all of one slot; some make an event, without a pattern."""
    days = [MONDAY + timedelta(days=day, hours=10) for day in range(n * 7 // 5) if day % 7 < 5]
    made = []
    for i, time in enumerate(days):
        open_, high, low, close = FALLS if i * 7919 % 101 % 3 == 0 else RISES
        made.append(Candle(time, open_, high + i * 31 % 17 / 10, low, close, 100 + i * 13 % 29))
    return made


def test_candles_are_found_however_far_back_they_lie() -> None:
    """Enough events and enough of the slot lie near, but not fifty candles."""
    candles_ = daily(150)
    pipeline, source = one_instrument(candles_)
    hour_by_hour(pipeline, source, len(candles_) - 12)
    assert tables(pipeline, H1)["features"]["resistances_50"].iloc[-1] >= 10


@pytest.mark.parametrize("late", range(40, 60, 5))
def test_a_late_candle_moves_what_counts_fifty(late: int) -> None:
    """It pushes an older event out of the count of a later one, long after everything else has come to rest."""
    pipeline, source = one_instrument(daily(160))
    fine = source.candles
    source.candles = fine.drop(index=late)
    times = [time.to_pydatetime() for time in fine["time"]]
    tick = timedelta(microseconds=1)
    with pipeline.changing(H1, FOREVER, "a test") as session, small_steps(24 * 30, 24 * 60):
        for window in (Window(times[0], times[-1] + tick), Window(times[late], times[late] + tick)):
            store_window(pipeline, session, H1, window, LATEST)
            for stage in STAGES:
                run(pipeline, session, stage)
            source.candles = fine
    assert hashes(pipeline, H1) == computed_hashes(fine, H1, LATEST, 2)


def test_a_warm_up_is_found_however_far_back_it_began() -> None:
    """The first ATR is the mean of true ranges that lie weeks apart."""
    candles_ = [*turns(4), *later(turns(5), timedelta(weeks=3)), *later(turns(20), timedelta(weeks=9))]
    pipeline, source = one_instrument(candles_, 14)
    hour_by_hour(pipeline, source, 2)


def test_features_that_ran_before_events_run_again(source: FrameSource, pipeline: Pipeline) -> None:
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 20)
        for stage in (ATR_STAGE, ALERTS_STAGE, FEATURES_STAGE, EVENTS_STAGE, FEATURES_STAGE, ALERTS_STAGE):
            run(pipeline, session, stage)
    assert hashes(pipeline, H1) == computed_hashes(source.candles[:20], H1, LATEST, 2)


def test_a_run_is_known_however_long_it_is() -> None:
    """Levels that rise for longer than a stage reads back."""
    rising = [
        candle._replace(**{name: getattr(candle, name) + i * 0.01 for name in ("open", "high", "low", "close")})
        for i, candle in enumerate(turns(90))
    ]
    pipeline, source = one_instrument([*rising, *later(rising[:1], timedelta(weeks=8))])
    hour_by_hour(pipeline, source, 86)
    assert tables(pipeline, H1)["features"]["pattern_run"].max() > 40


@pytest.mark.parametrize("tail", [2, 6])
@pytest.mark.parametrize("place", [0, 3, 8])
def test_a_correction_while_there_is_no_atr_yet_reaches_the_seed(tail: int, place: int) -> None:
    """Rows without an ATR are equal though the sums behind them differ."""
    pipeline, source = one_instrument(turns(40), 14)
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 40)
        for stage in STAGES:
            run(pipeline, session, stage)
        fine = source.candles
        source.candles = fine.assign(high=fine["high"].where(fine["time"] != hour(place), 15.0))
        load(pipeline, session, place, place + 1, 201)
        with small_steps(tail, 2 * tail):
            for stage in STAGES:
                run(pipeline, session, stage)
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, LATEST, 14)


def bumpy(n: int, every: int) -> list[Candle]:
    """Give candles that make an event at every so-manieth one, at levels and volumes that do not repeat."""
    made = []
    for i in range(n):
        bump = (i * 7919 % 101) / 50
        open_, high, low, close = FALLS if i % every == 0 else RISES
        made.append(Candle(hour(0), open_, high + bump, low, close, 100 + i * 31 % 97))
    times = hours_of(H1, Window(MONDAY, MONDAY + timedelta(days=n)))[:n]
    return [candle._replace(time=time) for candle, time in zip(made, times, strict=True)]


@pytest.mark.parametrize("every", [2, 7, 30, 120])
@pytest.mark.parametrize("what", ["volume", "level", "late"])
def test_features_are_recomputed_as_far_as_they_see(every: int, what: str) -> None:
    """However dense or sparse events are: through six of them, 50 candles and 20 of each slot, and not beyond."""
    candles_ = bumpy(1_300, every)
    pipeline, source = one_instrument(candles_)
    at = 3 * 120
    time = candles_[at].time
    fine = source.candles
    wrong = {
        "volume": fine.assign(volume=fine["volume"].where(fine["time"] != time, 5_000.0)),
        "level": fine.assign(high=fine["high"].where(fine["time"] != time, 17.0)),
        "late": fine[fine["time"] != time],
    }
    tick = timedelta(microseconds=1)
    with pipeline.changing(H1, FOREVER, "a test") as session:
        source.candles = wrong[what]
        store_window(pipeline, session, H1, Window(candles_[0].time, candles_[-1].time + tick), LATEST)
        for stage in STAGES:
            run(pipeline, session, stage)
        source.candles = fine
        store_window(pipeline, session, H1, Window(time, time + tick), LATEST + timedelta(minutes=1))
        # Stretches so short that a stage which stops too early does so before it has seen everything.
        with small_steps(60, 120):
            done = [run(pipeline, session, stage) for stage in STAGES]
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, LATEST, 2)
    assert done[2].changed_range is not None


def test_instruments_of_different_length_are_worked_off_together() -> None:
    frames = [candle_frame(name, turns(n)) for name, n in (("EUR_USD", 60), ("GBP_USD", 5), ("USD_JPY", 1))]
    source = FrameSource(pd.concat(frames))
    pipeline = make_pipeline(source, Store(MemoryEngine()), ("EUR_USD", "GBP_USD", "USD_JPY"), atr_period=3)
    with pipeline.changing(H1, FOREVER, "a test") as session:
        load(pipeline, session, 0, 60)
        for stage in STAGES:
            run(pipeline, session, stage)
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, hour(300), 3)
