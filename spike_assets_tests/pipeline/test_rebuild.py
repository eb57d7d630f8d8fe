"""`rebuild`: a changed setting is refused until it, and then everything is as in a clean store."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spike_assets.errors import SettingsError
from spike_assets.granularity import GRANULARITIES, H1, H4, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.rebuild import rebuild
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.store import Store
from spike_assets.store.tables import QUARANTINE
from spike_assets_tests.support import (
    FOREVER,
    INVARIANT,
    CrashError,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    MemoryEngine,
    hashes,
    make_pipeline,
    pending_marks,
    simulated,
)

INSTRUMENTS = ("EUR_USD", "USD_JPY")
WINDOW = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC))
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


def loaded(atr_period: int, engine: object | None = None) -> Pipeline:
    store = Store(engine or MemoryEngine())  # type: ignore[arg-type]
    pipeline = make_pipeline(SimulatedSource(), store, INSTRUMENTS, atr_period=atr_period, clock=lambda: NOW)
    for granularity in GRANULARITIES.values():
        backfill(pipeline, granularity, WINDOW)
    return pipeline


def everything(pipeline: Pipeline) -> dict[Granularity, dict[str, str]]:
    return {granularity: hashes(pipeline, granularity) for granularity in GRANULARITIES.values()}


@pytest.fixture(scope="module")
def clean() -> dict[int, dict[Granularity, dict[str, str]]]:
    """Give what clean stores with these periods hold."""
    return {period: everything(loaded(period)) for period in (7, 14)}


@pytest.mark.parametrize("granularity", [H1, H4], ids=str)
def test_a_changed_period_is_refused_naming_both_ways_out(granularity: Granularity) -> None:
    pipeline = replace(loaded(14), atr_period=7)
    for attempt in (lambda: process(pipeline, granularity), lambda: backfill(pipeline, granularity, WINDOW)):
        with pytest.raises(SettingsError) as refused:
            attempt()
        text = str(refused.value)
        assert "ATR 14" in text
        assert "ATR 7" in text
        assert text.endswith("set SPIKE_DATABASE to another database, or `spike rebuild` recomputes it")


def test_rebuilt_is_what_a_clean_store_with_that_setting_holds(
    clean: dict[int, dict[Granularity, dict[str, str]]],
) -> None:
    pipeline = loaded(14)
    assert everything(pipeline) == clean[14]
    told: list[tuple[str, str]] = []
    rebuild(replace(pipeline, atr_period=7), progress=lambda granularity, stage: told.append((granularity.name, stage)))
    assert everything(pipeline) == clean[7]
    assert clean[7] != clean[14]
    assert list(dict.fromkeys(told)) == [(g, s) for g in GRANULARITIES for s in ("atr", "events", "features", "alerts")]
    seven = replace(pipeline, atr_period=7)
    assert all(verify(seven, granularity).difference is None for granularity in GRANULARITIES.values())
    assert process(seven, H1).status == "no_new_data"
    rebuild(pipeline)
    assert everything(pipeline) == clean[14]


def test_rebuilding_without_a_change_changes_nothing(clean: dict[int, dict[Granularity, dict[str, str]]]) -> None:
    pipeline = loaded(14)
    rebuild(pipeline)
    assert everything(pipeline) == clean[14]


def test_an_empty_store_is_rebuilt_at_once_and_takes_the_new_meaning() -> None:
    pipeline = make_pipeline(SimulatedSource(), Store(MemoryEngine()), INSTRUMENTS, atr_period=7)
    rebuild(pipeline)
    assert process(pipeline, H4).status == "success"


@pytest.mark.parametrize(("at", "before"), [(0, True), (0, False), (1, True), (3, False), (6, True)])
def test_a_rebuild_that_dies_is_taken_up_by_the_next_one_or_by_passes(
    clean: dict[int, dict[Granularity, dict[str, str]]], at: int, before: bool
) -> None:
    engine, plan = MemoryEngine(), CrashPlan()
    whole = loaded(14, engine)
    plan.arm(at, before=before)
    with pytest.raises(CrashError):
        rebuild(replace(whole, atr_period=7, store=Store(CrashingEngine(engine, plan))))
    seven = replace(whole, atr_period=7)
    if (at, before) == (0, True):
        with pytest.raises(SettingsError):  # nothing has happened yet
            process(seven, H1)
        rebuild(seven)
    elif at == 3:
        rebuild(seven)
    else:
        for granularity in GRANULARITIES.values():
            process(seven, granularity)
    assert everything(seven) == clean[7]
    assert sum(pending_marks(seven, granularity) for granularity in GRANULARITIES.values()) == 0


def test_another_source_is_refused_and_nothing_is_lost(clean: dict[int, dict[Granularity, dict[str, str]]]) -> None:
    pipeline = loaded(14)
    other = replace(pipeline, source=FrameSource(simulated(H1, INSTRUMENTS, WINDOW)))
    with pytest.raises(SettingsError, match=r"`spike rebuild --discard-candles` empties it for the new source$"):
        rebuild(other)
    with pytest.raises(SettingsError, match="`spike rebuild --discard-candles`"):
        process(other, H1)
    assert everything(pipeline) == clean[14]


def test_discarding_candles_leaves_an_empty_store_for_the_new_source(
    clean: dict[int, dict[Granularity, dict[str, str]]],
) -> None:
    pipeline = loaded(14)
    bad = simulated(H1, INSTRUMENTS, WINDOW)
    bad.loc[3, "high"] = -1.0
    backfill(replace(pipeline, source=Renamed(bad)), H1, WINDOW)
    other = replace(pipeline, source=FrameSource(simulated(H1, INSTRUMENTS, WINDOW)))
    rebuild(other, discard_candles=True)
    with other.store.reading(FOREVER) as session:
        assert session.ops.state(H1) is None
        assert session.data.count(H1, QUARANTINE) == 0
    empty = everything(make_pipeline(SimulatedSource(), Store(MemoryEngine()), INSTRUMENTS))
    assert everything(other) == empty
    backfill(other, H1, WINDOW)
    assert hashes(other, H1) == clean[14][H1]
    assert set(clean[14][H1]) == set(INVARIANT)


class Renamed(FrameSource):
    name = "simulated"
