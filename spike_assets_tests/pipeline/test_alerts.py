"""The alerts stage: what changes at a candle time changes the alerts of that time, of whomever."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.alerts.queue import Occasion
from spike_assets.granularity import GRANULARITIES, H1, Granularity, W
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window
from spike_assets.pipeline import candles
from spike_assets.pipeline.context import Watch
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.rebuild import rebuild
from spike_assets.pipeline.settle import chunk_end
from spike_assets.pipeline.stages import ALERTS_STAGE, STAGES
from spike_assets.store.pending import Mark
from spike_assets.store.store import Store
from spike_assets.store.tables import ALERTS
from spike_assets_tests.alerts.desk import ELSEWHERE, Desk, calm
from spike_assets_tests.invariants.histories import LATEST, small_steps, strides
from spike_assets_tests.pipeline.markets import hour
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
    run_window,
    simulated,
    stored_candles,
)

EUR, GBP, CHF, CROSS = "EUR_USD", "GBP_USD", "EUR_CHF", "EUR_GBP"
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def found(desk: Desk) -> dict[str, Any]:
    """Give, by instrument, the members of the group at noon; what is stored is what a clean run makes."""
    stored = stored_candles(desk.pipeline, H1)
    assert pending_marks(desk.pipeline, H1) == 0
    assert hashes(desk.pipeline, H1) == computed_hashes(stored, H1, LATEST, 2)
    return {row["instrument"]: row["members"] for row in desk.alerts() if row["time"] == hour(12)}


def of(desk: Desk) -> int:
    (row,) = [row for row in desk.alerts() if row["instrument"] == "*"]
    return int(json.loads(row["reasons"])["simultaneous"]["of"])


def test_one_instrument_changes_the_alerts_of_others() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 12)]).begin(14)
    assert found(desk) == {EUR: None, GBP: None}
    desk.peak(CHF, 12, ELSEWHERE)  # no alert of its own
    desk.reconcile()
    assert found(desk) == {"*": f"{CHF},{EUR},{GBP}", EUR: f"{CHF},{GBP}", GBP: f"{CHF},{EUR}"}
    desk.calm(GBP, 12)
    desk.reconcile()
    assert found(desk) == {EUR: None}


def test_a_late_candle_without_an_event_is_one_more_that_traded() -> None:
    desk = Desk(peaks=[(name, 12) for name in (EUR, GBP, CHF)])
    desk.omit(CROSS, 12)
    desk.begin(14)
    assert of(desk) == 3
    desk.calm(CROSS, 12)
    desk.reconcile()
    assert of(desk) == 4
    assert found(desk).keys() == {"*", EUR, GBP, CHF}


def test_late_candles_can_make_a_group_too_small() -> None:
    """Three of six are half of them, three of seven are not."""
    names = (EUR, GBP, CHF, CROSS, "GBP_CHF", "EUR_AUD", "CAD_CHF")
    desk = Desk(peaks=[(name, 12) for name in (EUR, GBP, CHF)], names=names)
    desk.omit("CAD_CHF", 12)
    desk.begin(14)
    assert (of(desk), found(desk)[EUR]) == (6, f"{CHF},{GBP}")
    desk.calm("CAD_CHF", 12)
    desk.reconcile()
    assert found(desk) == {EUR: None, GBP: None, CHF: None}


def test_a_corrected_volume_makes_and_unmakes_a_spike() -> None:
    """Of twenty volumes of that hour the median is 100; they differ enough that 104 is nothing and 900 is much."""
    days = 24 * 26
    desk = Desk(names=(EUR,), hours=1)
    hours = [n for n in range(days) if n // 24 % 7 < 4 and n % 24 in (11, 12)]
    for i, n in enumerate(hours):
        desk.world[EUR, n] = calm(n)._replace(volume=95 + i % 11)
    last = hours[-1]
    desk.peak(EUR, last, ELSEWHERE, volume=104)
    desk.begin(days)
    assert desk.alerts() == []
    for volume, rules in ((900, ["volume_spike"]), (104, []), (2_000, ["volume_spike"])):
        desk.peak(EUR, last, ELSEWHERE, volume=volume)
        desk.reconcile()
        assert [row["rules"] for row in desk.alerts()] == rules
        found(desk)


def test_what_no_longer_matters_is_removed() -> None:
    desk = Desk(peaks=[(EUR, 12)]).begin(14)
    desk.peak(EUR, 12, ELSEWHERE)
    desk.reconcile()
    assert found(desk) == {}


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_another_share_is_another_store_after_a_rebuild(share: float) -> None:
    desk = Desk(peaks=[(name, 12) for name in (EUR, GBP, CHF)]).begin(14)
    assert "*" in found(desk)
    object.__setattr__(desk.pipeline, "simultaneous_share", share)
    rebuild(desk.pipeline)
    rows = {row["instrument"] for row in desk.alerts()}
    assert rows == {EUR, GBP, CHF} | ({"*"} if share < 0.5 else set())


# --- steps ------------------------------------------------------------------------------------------------------------


def test_marks_of_all_instruments_are_one_stretch_and_gaps_are_left_out() -> None:
    desk = Desk(peaks=[(EUR, n) for n in (12, 40)] + [(GBP, 13)]).begin(60)
    before = desk.alerts()
    assert [row["time"] for row in before] == [hour(12), hour(40), hour(13)]
    pipeline = desk.pipeline
    with pipeline.changing(H1, FOREVER, "a test") as session:
        session.data.clear(H1, ALERTS)
        marks = [Mark(EUR, hour(10), hour(12)), Mark(GBP, hour(11), hour(15)), Mark(EUR, hour(40), hour(41))]
        session.pending.mark(H1, ["alerts"], marks)
        occasion = Occasion(desk.now, live=False)
        left = []
        while session.pending.of(H1, "alerts"):
            run_stage(pipeline, session, H1, ALERTS_STAGE, FOREVER, occasion, steps=1)
            left.append(sorted((mark.instrument, mark.from_time) for mark in session.pending.of(H1, "alerts")))
    assert left == [[(EUR, hour(40))], []]
    assert desk.alerts() == before


def test_a_mark_that_ends_where_a_step_does_is_worked_off_to_its_end() -> None:
    desk = Desk(peaks=[(EUR, 5), (EUR, 12), (EUR, 19)]).begin(30)
    before = desk.alerts()
    assert [row["time"] for row in before] == [hour(5), hour(12), hour(19)]
    with desk.pipeline.changing(H1, FOREVER, "a test") as session, small_steps(5, 5):
        assert chunk_end(H1, hour(5)) == hour(12)
        session.data.clear(H1, ALERTS)
        session.pending.mark(H1, ["alerts"], [Mark(EUR, hour(5), hour(12)), Mark(GBP, hour(12), hour(19))])
        run_stage(desk.pipeline, session, H1, ALERTS_STAGE, FOREVER, Occasion(desk.now, live=False))
    assert desk.alerts() == before


@pytest.mark.parametrize(("granularity", "chunk"), [(H1, 9), (H1, 40), (W, 9)], ids=str)
def test_a_long_stretch_goes_in_steps(granularity: Granularity, chunk: int) -> None:
    names = INSTRUMENTS[:4]
    window = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC) + 70 * granularity.step)
    source = FrameSource(simulated(granularity, names, window))
    pipeline = make_pipeline(source, Store(MemoryEngine()), names, atr_period=3)
    with small_steps(2, chunk):
        run_window(pipeline, granularity, window, LATEST)
    assert pending_marks(pipeline, granularity) == 0
    assert hashes(pipeline, granularity) == computed_hashes(source.candles, granularity, LATEST, 3)


@EVERY
@examples(4)
@given(
    st.data(),
    st.lists(st.tuples(st.sampled_from(["store", *STAGES]), st.integers(0, 99), st.integers(0, 99)), max_size=8),
)
def test_several_instruments_in_any_order_of_stages(
    granularity: Granularity, data: st.DataObject, order: list[tuple[Any, int, int]]
) -> None:
    """Two runs that interleave end in the right alerts; instruments that are not declared among them."""
    names = ("EUR_USD", "GBP_USD", "USD_JPY", "USD_ZAR")
    lists = {name: data.draw(candle_lists(granularity, 40, least=5)) for name in names}
    source = FrameSource(pd.concat([candle_frame(name, mine) for name, mine in lists.items()], ignore_index=True))
    pipeline = make_pipeline(source, Store(MemoryEngine()), names, atr_period=2)
    times = sorted({candle.time for mine in lists.values() for candle in mine})
    tick, now = timedelta(microseconds=1), LATEST
    steps = small_steps(60 * strides(granularity), 120 * strides(granularity))
    with steps, pipeline.changing(granularity, FOREVER, "a test") as session:

        def load(first: int, last: int) -> None:
            window = Window(times[first], times[last] + tick)
            received = candles.fetch(pipeline, granularity, dict.fromkeys(names, window), Watch(now), FOREVER)
            candles.store(session, granularity, received)

        for what, a, b in [*order, ("store", 0, len(times) - 1), *((stage, 0, 0) for stage in STAGES)]:
            now += tick
            if what == "store":
                load(*sorted((a % len(times), b % len(times))))
            else:
                run_stage(pipeline, session, granularity, what, FOREVER, Occasion(now, live=False))
    assert pending_marks(pipeline, granularity) == 0
    assert hashes(pipeline, granularity) == computed_hashes(source.candles, granularity, LATEST, 2)
