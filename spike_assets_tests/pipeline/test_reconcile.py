"""Reconciling: whatever a broker changed or brought late in the last days, the tables end as one clean run's."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError, SourceError, TransientError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, candle_times, close_of, last_closed
from spike_assets.pipeline import Pipeline, process, records
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import reconcile, reconcile_window, time_limit
from spike_assets.pipeline.status import status
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Store
from spike_assets_tests.pipeline.markets import (
    SOON,
    asked,
    changed,
    hour,
    hours_of,
    hours_stored,
    market,
    memory,
    state,
    without,
)
from spike_assets_tests.pipeline.test_passes import recorded
from spike_assets_tests.support import (
    FOREVER,
    CrashError,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    MemoryEngine,
    computed_hashes,
    hashes,
    make_pipeline,
    pending_marks,
    simulated,
)

INSTRUMENTS = ("EUR_USD", "USD_JPY")
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
SPRING = datetime(2025, 3, 12, 3, 35, tzinfo=UTC)
AUTUMN = datetime(2025, 11, 5, 3, 35, tzinfo=UTC)
LENGTH = {"H1": 40, "H4": 80, "D": 250, "W": 700}
"""Days of history, by granularity."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(granularity: Granularity, now: datetime) -> Window:
    return Window(now - timedelta(days=LENGTH[granularity.name]), last_closed(granularity, now).end)


def loaded(granularity: Granularity, now: datetime, engine: object | None = None) -> tuple[Pipeline, FrameSource]:
    """Give a pipeline that has every candle up to `now`, and its source."""
    window = history(granularity, now)
    source = FrameSource(simulated(granularity, INSTRUMENTS, window))
    store = Store(engine or MemoryEngine())  # type: ignore[arg-type]
    before = now - timedelta(minutes=1)
    pipeline = make_pipeline(source, store, INSTRUMENTS, clock=lambda: before)
    backfill(pipeline, granularity, window)
    return replace(pipeline, clock=lambda: now), source


def worsened(candles: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Give candles as a broker may have had them at first: some other volumes and prices, some missing."""
    inside = candles[(candles["time"] >= window.start) & (candles["time"] < window.end)].index
    first = candles.copy()
    first.loc[inside[::3], "volume"] += 5
    first.loc[inside[::4], "high"] *= 1.002
    return first.drop(index=inside[1::5])


# --- the window -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "now", "start", "end"),
    [
        (H1, "2025-07-16 03:35", "2025-07-09 03:00", "2025-07-16 03:00"),
        (H1, "2025-07-20 03:35", "2025-07-13 03:00", "2025-07-18 21:00"),
        (H4, "2025-07-16 03:40", "2025-07-09 01:00", "2025-07-16 01:00"),
        (D, "2025-07-16 03:45", "2025-07-08 21:00", "2025-07-15 21:00"),
        (W, "2025-07-16 03:50", "2025-07-04 21:00", "2025-07-11 21:00"),
        (W, "2025-07-20 03:50", "2025-07-11 21:00", "2025-07-18 21:00"),
        # New York changes its clocks within the week.
        (H4, "2025-03-12 03:40", "2025-03-05 02:00", "2025-03-12 01:00"),
        (D, "2025-03-12 03:45", "2025-03-04 22:00", "2025-03-11 21:00"),
        (W, "2025-03-12 03:50", "2025-02-28 22:00", "2025-03-07 22:00"),
        (W, "2025-11-05 03:50", "2025-10-24 21:00", "2025-10-31 21:00"),
        (D, "2025-11-05 03:45", "2025-10-28 21:00", "2025-11-04 22:00"),
    ],
    ids=str,
)
def test_the_window_is_what_closed_in_the_last_seven_days(
    granularity: Granularity, now: str, start: str, end: str
) -> None:
    assert reconcile_window(granularity, utc(now)) == Window(utc(start), utc(end))


@EVERY
@pytest.mark.parametrize("hours", range(0, 7 * 24, 11))
def test_the_window_leaves_out_no_candle_that_closed_in_them(granularity: Granularity, hours: int) -> None:
    now = utc("2025-11-01 00:35") + timedelta(hours=hours)
    window = reconcile_window(granularity, now)
    within = candle_times(granularity, Window(now - timedelta(days=15), now)).to_pydatetime()
    closed = [open_ for open_ in within if now - timedelta(days=7) < close_of(granularity, open_) <= now]
    assert hours_of(granularity, window) == closed


def test_a_day_over_a_weekend_has_no_candle() -> None:
    assert not reconcile_window(H1, utc("2025-07-20 03:35"), days=1)
    pipeline, source = loaded(H1, utc("2025-07-20 03:35"))
    source.asked.clear()
    assert reconcile(pipeline, H1, days=1).status == "no_new_data"
    assert source.asked == []


def test_the_time_limit_grows_with_the_candle_times() -> None:
    assert [time_limit(g).total_seconds() for g in GRANULARITIES.values()] == [114.5, 51.5, 64.0, 61.0]
    assert time_limit(H1, 14) - time_limit(H1, 7) == timedelta(seconds=84)


# --- what comes in ----------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("now", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_corrections_and_late_candles_end_in_the_tables_of_a_clean_run(granularity: Granularity, now: datetime) -> None:
    window = history(granularity, now)
    final = simulated(granularity, INSTRUMENTS, window)
    source = FrameSource(worsened(final, reconcile_window(granularity, now)))
    before = now - timedelta(minutes=1)
    pipeline = make_pipeline(source, Store(MemoryEngine()), INSTRUMENTS, clock=lambda: before)
    backfill(pipeline, granularity, window)
    assert hashes(pipeline, granularity) != computed_hashes(final, granularity, now)

    source.candles = final
    done = reconcile(pipeline, granularity, now=now)
    assert done.status == "success"
    assert hashes(pipeline, granularity) == computed_hashes(final, granularity, now)
    assert pending_marks(pipeline, granularity) == 0

    again = reconcile(pipeline, granularity, now=now + timedelta(minutes=1))
    assert (again.status, any(again.touched.values())) == ("no_new_data", False)


def test_a_correction_reaches_the_events_and_features_behind_it() -> None:
    pipeline, source = loaded(H1, SPRING)
    first = reconcile_window(H1, SPRING).start
    rows = source.candles
    source.candles.loc[(rows["time"] == first) & (rows["instrument"] == "EUR_USD"), ["high", "volume"]] *= 1.5
    done = reconcile(pipeline, H1)
    touched = done.touched
    assert touched["candles"] == [first]
    assert len(touched["atr"]) > 100
    assert touched["atr"][0] == first
    assert min(map(len, touched.values())) >= 1
    assert touched["features"][-1] > first
    assert all(times == sorted(set(times)) for times in touched.values())
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, SPRING)


def test_an_event_that_was_none_is_removed() -> None:
    pipeline, source = loaded(H1, SPRING)
    source.candles.loc[source.candles["time"] >= reconcile_window(H1, SPRING).start, "close"] = source.candles["open"]
    done = reconcile(pipeline, H1)
    assert {summary.stage: summary.removed > 0 for summary in done.summaries} == {
        "candles": False,
        "atr": False,
        "events": True,
        "features": True,
        "alerts": True,
    }
    assert hashes(pipeline, H1) == computed_hashes(source.candles, H1, SPRING)


def test_what_lies_before_the_window_is_not_asked_for() -> None:
    source = market(range(-200, 48))
    pipeline = memory(source)
    backfill(replace(pipeline, clock=lambda: hour(40)), H1, Window(hour(-200), hour(40)))
    source.candles = changed(source, "EUR_USD", -170, volume=9)
    assert reconcile(pipeline, H1, now=hour(40) + SOON).status == "no_new_data"
    assert asked(source) == dict.fromkeys(("EUR_USD", "USD_JPY"), (-128, 40))
    assert reconcile(pipeline, H1, now=hour(40) + SOON, days=9).touched["candles"] == [hour(-170)]


def test_a_candle_that_a_broker_no_longer_gives_stays() -> None:
    pipeline, source = passed(40)
    source.candles = without(source, "EUR_USD", 30)
    assert reconcile(pipeline, H1, now=hour(40) + SOON).status == "no_new_data"
    assert 30 in hours_stored(pipeline, "EUR_USD")


def test_a_candle_that_cannot_be_right_goes_into_quarantine_and_the_stored_one_stays() -> None:
    pipeline, source = passed(40)
    source.candles = changed(source, "EUR_USD", 30, high=-1.0)
    done = reconcile(pipeline, H1, now=hour(40) + SOON)
    assert (done.status, done.summaries[0].quarantined, any(done.touched.values())) == ("success", 1, False)
    assert 30 in hours_stored(pipeline, "EUR_USD")
    assert reconcile(pipeline, H1, now=hour(40) + SOON).status == "no_new_data"


def passed(until: int, names: tuple[str, ...] = INSTRUMENTS) -> tuple[Pipeline, FrameSource]:
    """Give a pipeline whose passes have processed the hours up to one."""
    source = market()
    pipeline = memory(source, names)
    backfill(replace(pipeline, clock=lambda: hour(until)), H1, Window(hour(0), hour(until)))
    return pipeline, source


# --- who is asked -----------------------------------------------------------------------------------------------------


def test_an_empty_store_is_left_alone() -> None:
    source = market()
    pipeline = memory(source)
    done = reconcile(pipeline, H1, now=hour(40))
    assert (done.status, done.summaries, done.touched, done.first_processed) == ("no_new_data", (), {}, None)
    assert source.asked == []
    assert recorded(pipeline) == []
    with pipeline.store.reading(FOREVER) as session:
        assert session.ops.state(H1) is None
        assert session.ops.provenance() is None
    assert process(pipeline, H1, now=hour(40) + SOON).window.start == hour(39)


def test_an_instrument_without_candles_gets_its_warm_up_from_the_next_pass() -> None:
    pipeline, source = passed(40, INSTRUMENTS[:1])
    pipeline = replace(pipeline, instruments=INSTRUMENTS, warmup=20)
    reconcile(pipeline, H1, now=hour(40) + SOON)
    assert set(asked(source)) == {"EUR_USD"}
    process(pipeline, H1, now=hour(41) + SOON)
    assert hours_stored(pipeline, "USD_JPY") == list(range(20, 41))


def test_a_gap_that_begins_before_the_window_is_the_next_passes_and_none_remains() -> None:
    source = market(range(-300, 48))
    pipeline = memory(source)
    backfill(replace(pipeline, clock=lambda: hour(-220)), H1, Window(hour(-300), hour(-220)))
    source.asked.clear()
    assert reconcile(pipeline, H1, now=hour(40) + SOON).status == "no_new_data"
    assert source.asked == []
    assert state(pipeline).last_processed == hour(-220)
    process(pipeline, H1, now=hour(40) + SOON)
    assert len(hours_stored(pipeline, "EUR_USD")) == len(candle_times(H1, Window(hour(-300), hour(40))))


def test_an_outage_of_one_instrument_that_began_before_the_window_leaves_no_hole() -> None:
    full = market(range(-300, 48))
    source = FrameSource(without(full, "EUR_USD", *range(-200, 48)))
    pipeline = memory(source)
    backfill(replace(pipeline, clock=lambda: hour(39)), H1, Window(hour(-300), hour(39)))
    source.candles = full.candles
    reconcile(pipeline, H1, now=hour(39) + SOON)
    process(pipeline, H1, now=hour(40) + SOON)
    closed = full.candles[full.candles["time"] < hour(40)]
    assert hashes(pipeline, H1) == computed_hashes(closed, H1, hour(40))


def test_an_instrument_that_the_source_does_not_know_rests() -> None:
    pipeline, source = passed(40)
    everything = source.candles
    source.candles = everything[everything["instrument"] == "EUR_USD"]
    reconcile(pipeline, H1, now=hour(40) + SOON)
    reconcile(pipeline, H1, now=hour(41) + SOON)
    assert set(asked(source)) == {"EUR_USD"}
    source.candles = everything
    reconcile(pipeline, H1, now=hour(65) + SOON)
    assert set(asked(source)) == {"EUR_USD", "USD_JPY"}


# --- how it is remembered ---------------------------------------------------------------------------------------------


def test_it_is_recorded_beside_the_live_passes() -> None:
    pipeline, source = passed(40)
    process(pipeline, H1, now=hour(40) + SOON, trigger="schedule")
    source.candles = changed(source, "EUR_USD", 30, volume=9)
    done = reconcile(pipeline, H1, now=hour(40) + 2 * SOON)
    row = recorded(pipeline)[-1]
    assert (row["trigger"], row["status"], row["candles"]) == ("reconcile", "success", 1)
    assert (row["window_start"], row["window_end"]) == (done.window.start, done.window.end)
    assert done.first_processed is None
    after = state(pipeline)
    assert (after.last_processed, after.last_run, after.running) == (hour(40), hour(40) + 2 * SOON, None)


def test_what_no_pass_had_come_to_is_processed_and_told_of() -> None:
    pipeline, _ = passed(38)
    done = reconcile(pipeline, H1, now=hour(40) + SOON)
    assert done.first_processed == Window(hour(38), hour(40))
    assert done.touched["candles"] == [hour(38), hour(39)]
    assert state(pipeline).last_processed == hour(40)


def test_a_failure_counts_against_no_live_pass_and_the_next_one_goes_on() -> None:
    pipeline, source = passed(40)
    source.candles = changed(source, "EUR_USD", 30, volume=9)
    failing = replace(pipeline, source=Failing(TransientError("the broker is away")))
    with pytest.raises(TransientError, match="the broker is away"):
        reconcile(failing, H1, now=hour(40) + SOON)
    assert [(row["trigger"], row["status"], row["error"]) for row in recorded(pipeline)][1:] == [
        ("reconcile", "failed", "the broker is away")
    ]
    assert (state(pipeline).consecutive_failures, state(pipeline).running) == (0, None)
    assert status(pipeline, now=hour(40) + SOON).granularities[0].reasons() == []
    assert reconcile(pipeline, H1, now=hour(40) + SOON).touched["candles"] == [hour(30)]


class Failing:
    name = "frame"
    price = "mid"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.deadlines: list[Deadline] = []

    def fetch(
        self,
        granularity: Granularity,  # noqa: ARG002
        windows: Mapping[str, Window],  # noqa: ARG002
        *,
        now: datetime,  # noqa: ARG002
        deadline: Deadline,
    ) -> Fetched:
        self.deadlines.append(deadline)
        raise self.error


def test_source_and_store_are_under_one_deadline() -> None:
    pipeline, _ = passed(40)
    source = Failing(SourceError("no"))
    with pytest.raises(SourceError):
        reconcile(replace(pipeline, source=source), H1, now=hour(40), deadline=FOREVER)
    assert source.deadlines == [FOREVER]
    with pytest.raises(SourceError):
        reconcile(replace(pipeline, source=source), H1, now=hour(40))
    assert source.deadlines[1].left() <= time_limit(H1)


def test_it_is_seen_while_it_runs() -> None:
    pipeline, source = passed(40)
    seen = []

    class Looking(FrameSource):
        def fetch(self, *arguments: object, **options: object) -> Fetched:
            seen.append(state(pipeline).running)
            return super().fetch(*arguments, **options)  # type: ignore[arg-type]

    reconcile(replace(pipeline, source=Looking(source.candles)), H1, now=hour(40) + SOON)
    (running,) = seen
    assert running
    assert (running.trigger, running.since) == ("reconcile", hour(40) + SOON)
    assert running.until <= hour(40) + SOON + time_limit(H1)
    assert running.trigger in records.BESIDE


def test_a_store_of_other_settings_is_refused() -> None:
    pipeline, _ = passed(40)
    with pytest.raises(SettingsError, match="`spike rebuild` recomputes it"):
        reconcile(replace(pipeline, atr_period=7), H1, now=hour(40) + SOON)


@pytest.mark.parametrize(("at", "before"), [(at, before) for at in range(6) for before in (True, False)][:-1])
def test_a_crash_at_any_commit_loses_no_correction(at: int, before: bool) -> None:
    plan, engine = CrashPlan(), MemoryEngine()
    pipeline, source = loaded(H1, SPRING, engine)
    source.candles = worsened(source.candles, reconcile_window(H1, SPRING)).combine_first(source.candles)
    final = computed_hashes(source.candles, H1, SPRING)
    crashing = replace(pipeline, store=Store(CrashingEngine(engine, plan)))
    with crashing.store.reading(FOREVER):  # the schema stands before the first commit that is counted
        pass
    plan.arm(at, before=before)
    with pytest.raises(CrashError):
        reconcile(crashing, H1)
    reconcile(pipeline, H1, now=SPRING + timedelta(minutes=1))
    assert hashes(pipeline, H1) == final
    assert pending_marks(pipeline, H1) == 0
