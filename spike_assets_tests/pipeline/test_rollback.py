"""Behind a rollback the tables are a clean backfill's, and nobody is told twice; killed, the next one ends it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from spike_assets.errors import SettingsError
from spike_assets.granularity import GRANULARITIES, H1, D, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process, settle
from spike_assets.pipeline import backfill as backfill_module
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.rollback import plan, rollback
from spike_assets.pipeline.verify import verify
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import Desk, away
from spike_assets_tests.invariants.histories import small_steps, strides
from spike_assets_tests.invariants.runs import Market, simulated_market
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import (
    FOREVER,
    CrashError,
    CrashingEngine,
    CrashPlan,
    FrameSource,
    MemoryEngine,
    hashes,
    pending_marks,
)

EUR, GBP, CHF = "EUR_USD", "GBP_USD", "EUR_CHF"
BEGIN = datetime(2025, 2, 26, tzinfo=UTC)
DAYS = {"H1": 9, "H4": 30, "D": 150, "W": 800}
NAMES = ("EUR_USD", "USD_JPY", "USD_TRY")


def market_of(granularity: Granularity) -> Market:
    return simulated_market(granularity, NAMES, Window(BEGIN, BEGIN + timedelta(days=DAYS[granularity.name])))


def loaded(market: Market, engine: MemoryEngine, source: FrameSource | None = None) -> Pipeline:
    pipeline = replace(market.pipeline(Store(engine), source), clock=lambda: market.closes[-1] + timedelta(minutes=5))
    backfill(pipeline, market.granularity, market.window)
    return pipeline


def corrupt(engine: MemoryEngine, granularity: Granularity, since: datetime) -> None:
    """Do to derived rows all that nobody should."""
    schema = granularity.schema
    with engine.connect(FOREVER, "a test", write=True) as connection:
        for sql in (
            "UPDATE {}.atr SET atr = atr * 2, true_range = NULL WHERE time >= ? AND instrument = 'EUR_USD'",
            "DELETE FROM {}.atr WHERE time >= ? AND instrument = 'USD_JPY'",
            "INSERT INTO {}.events SELECT * FROM {}.events WHERE time >= ?",
            "UPDATE {}.features SET pattern_run = 77, pattern = 'LH' WHERE time >= ?",
            "INSERT INTO {}.alerts SELECT * REPLACE ('XAU_USD' AS instrument) FROM {}.alerts WHERE time >= ?",
            "DELETE FROM {}.alerts WHERE time >= ? AND instrument = 'USD_TRY'",
        ):
            connection.execute(sql.format(schema, schema), [since])


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_what_was_derived_comes_back_as_a_clean_backfill_makes_it(granularity: Granularity) -> None:
    market, engine = market_of(granularity), MemoryEngine()
    pipeline = loaded(market, engine)
    middle = market.closes[len(market.closes) // 2]
    corrupt(engine, granularity, middle)
    assert verify(pipeline, granularity).difference
    tail = 30 * strides(granularity)
    with small_steps(tail, tail):
        done = rollback(pipeline, granularity, middle)
    assert market.ends_in(pipeline) == market.expected
    assert [summary.stage for summary in done] == ["atr", "events", "features", "alerts"]
    assert process(pipeline, granularity).status == "no_new_data"


def test_a_plan_counts_and_changes_nothing() -> None:
    market = market_of(H1)
    pipeline = loaded(market, MemoryEngine())
    before = hashes(pipeline, H1)
    to = market.closes[100]
    for asked in (to, to + timedelta(minutes=59)):
        found = plan(pipeline, H1, asked)
        assert found.window == Window(to, market.closes[-1])
        assert found.staying["atr"] == found.staying["candles"] == 101 * len(NAMES)
        assert found.going["atr"] == found.going["candles"] == (len(market.closes) - 101) * len(NAMES)
        assert (found.told, found.untold) == (0, 0)
    assert not plan(pipeline, H1, market.closes[-1]).window
    assert hashes(pipeline, H1) == before
    with pytest.raises(SettingsError, match="`spike rebuild` recomputes it"):
        plan(replace(pipeline, atr_period=7), H1, to)
    with pytest.raises(SettingsError, match="`spike rebuild` recomputes it"):
        rollback(replace(pipeline, atr_period=7), H1, to)
    rollback(pipeline, H1, market.closes[-1])
    assert hashes(pipeline, H1) == before


def test_other_granularities_and_what_came_before_are_not_touched() -> None:
    market, engine = market_of(H1), MemoryEngine()
    pipeline = loaded(market, engine)
    backfill(pipeline, GRANULARITIES["H4"], market.window)
    with engine.connect(FOREVER, "a test", write=True) as connection:
        connection.execute("UPDATE h4.atr SET atr = 1")
        connection.execute("UPDATE h1.atr SET suspect = TRUE WHERE time = ?", [market.closes[3]])
    before = hashes(pipeline, GRANULARITIES["H4"])
    rollback(pipeline, H1, market.closes[100])
    assert hashes(pipeline, GRANULARITIES["H4"]) == before
    assert "suspect is" in str(verify(pipeline, H1).difference)


# --- candles that were bad --------------------------------------------------------------------------------------------


def bad(market: Market, since: datetime) -> pd.DataFrame:
    """Give what a broker said that had it wrong for a while: other prices, and candles that never were."""
    rows = market.candles.copy()
    late = rows["time"] >= since
    rows.loc[late, ["open", "high", "low", "close"]] *= 1.01
    return rows


def really(market: Market, since: datetime) -> pd.DataFrame:
    """Give what there really was: fewer candles, none of one instrument."""
    rows = market.candles
    late = rows["time"] >= since
    nth = rows.groupby("instrument").cumcount()
    return rows[~(late & ((nth % 7 == 3) | (rows["instrument"] == "USD_JPY")))].reset_index(drop=True)


@pytest.mark.parametrize("granularity", [H1, D], ids=str)
def test_candles_are_those_that_the_source_has_now(granularity: Granularity, monkeypatch: pytest.MonkeyPatch) -> None:
    market = market_of(granularity)
    middle = market.closes[len(market.closes) // 2]
    source = FrameSource(bad(market, middle))
    pipeline = loaded(market, MemoryEngine(), source)
    true = replace(market, candles=really(market, middle))
    source.candles = true.candles
    monkeypatch.setattr(backfill_module, "CHUNK_TIMES", 50)
    now = later(pipeline, 10)
    rollback(now, granularity, middle, candles=True)
    assert true.ends_in(now) == true.expected
    assert verify(now, granularity).difference is None
    assert process(now, granularity).status == "no_new_data"


def test_an_instrument_all_of_whose_candles_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "CHUNK_CANDLES", 80)
    market = market_of(H1)
    source = FrameSource(market.candles)
    pipeline = loaded(market, MemoryEngine(), source)
    source.candles = market.candles[market.candles["instrument"] != "USD_TRY"]
    # It is known, and has none.
    other = market.candles[market.candles["instrument"] == "USD_TRY"].assign(time=BEGIN - timedelta(days=900))
    source.candles = pd.concat([source.candles, other.iloc[:1]])
    rollback(later(pipeline, 10), H1, BEGIN, candles=True)
    rest = replace(market, candles=market.candles[market.candles["instrument"] != "USD_TRY"])
    assert rest.ends_in(pipeline) == rest.expected


def test_what_the_source_does_not_know_or_nobody_watches_stays() -> None:
    market = market_of(H1)
    source = FrameSource(market.candles)
    pipeline = loaded(market, MemoryEngine(), source)
    source.candles = market.candles[market.candles["instrument"] == "EUR_USD"]
    fewer = replace(later(pipeline, 10), instruments=("EUR_USD", "USD_JPY"))
    rollback(fewer, H1, market.closes[50], candles=True)
    assert hashes(pipeline, H1) == market.expected


def test_what_was_fetched_later_by_somebody_else_stays() -> None:
    market = market_of(H1)
    source = FrameSource(market.candles)
    pipeline = loaded(market, MemoryEngine(), source)
    tomorrow = replace(pipeline, clock=lambda: market.closes[-1] + timedelta(days=1))
    backfill(tomorrow, H1, market.window)
    source.candles = really(market, market.closes[50])
    source.candles = pd.concat([source.candles, market.candles[market.candles["instrument"] == "USD_JPY"]])
    rollback(pipeline, H1, market.closes[50], candles=True)
    assert market.ends_in(pipeline) == market.expected


# --- killed -----------------------------------------------------------------------------------------------------------


def dying(pipeline: Pipeline, engine: MemoryEngine, at: int, *, before: bool) -> Pipeline:
    plan_ = CrashPlan()
    plan_.arm(at, before=before)
    return replace(pipeline, store=Store(CrashingEngine(engine, plan_)))


def test_killed_at_any_commit_the_next_pass_or_rollback_ends_it() -> None:
    market = simulated_market(H1, NAMES[:2], Window(BEGIN, BEGIN + timedelta(days=7)))
    middle = market.closes[len(market.closes) // 2]
    true = replace(market, candles=really(market, middle))
    engine, source = MemoryEngine(), FrameSource(market.candles)
    pipeline = loaded(market, engine, source)
    # Behind the removal, in the stages, behind the candles.
    for at, ended_by in ((1, process), (4, rollback), (7, process)):
        source.candles = market.candles
        backfill(later(pipeline, 30 * at + 10), H1, market.window)
        corrupt(engine, H1, middle)
        source.candles = true.candles
        assert dies(later(pipeline, 30 * at + 15), engine, middle, at)
        next_one = later(pipeline, 30 * at + 20)
        if ended_by is process:
            process(next_one, H1)
            assert pending_marks(pipeline, H1) == 0
            assert verify(pipeline, H1).difference is None
        else:
            rollback(next_one, H1, middle, candles=True)
            assert true.ends_in(pipeline) == true.expected, at


def later(pipeline: Pipeline, minutes: int) -> Pipeline:
    now = pipeline.clock() + timedelta(minutes=minutes)
    return replace(pipeline, clock=lambda: now)


def dies(pipeline: Pipeline, engine: MemoryEngine, to: datetime, at: int) -> bool:
    """Tell whether a rollback comes to the commit before which it is killed."""
    plan_ = CrashPlan()
    plan_.arm(at, before=True)
    mortal = replace(pipeline, store=Store(CrashingEngine(engine, plan_)))
    try:
        rollback(mortal, H1, to, candles=True)
    except CrashError:
        return True
    return False


# --- who was told -----------------------------------------------------------------------------------------------------


def test_nobody_is_told_twice_and_what_was_untrue_is_taken_back() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 13)]).begin()
    for n in (13, 14):
        desk.run(n)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 13, (GBP,))]
    before = desk.items()
    rollback(desk.later(minutes=5).pipeline, H1, hour(11))
    desk.run()
    assert (desk.items(), len(desk.inbox.told())) == (before, 2)
    desk.calm(GBP, 13)
    desk.omit(EUR, 14)
    rollback(desk.later(minutes=1).pipeline, H1, hour(11), candles=True)
    assert len(desk.inbox.told()) == 2, "a rollback sends nothing by itself"
    desk.run(15)
    assert desk.inbox.told()[2:] == [("correction", 13, ("-" + GBP,))]
    desk.run(16)
    assert len(desk.inbox.told()) == 3


def test_what_waits_to_be_told_is_told_once_if_it_still_holds() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 12), (CHF, 13)]).begin()
    desk.inbox.script = [away(), away()]
    desk.run(13)
    desk.run(14)
    assert desk.inbox.told() == []
    found = plan(desk.pipeline, H1, hour(11))
    assert (found.told, found.untold) == (2, 1)
    desk.calm(CHF, 13)
    rollback(desk.later(minutes=1).pipeline, H1, hour(11), candles=True)
    assert plan(desk.pipeline, H1, hour(11)).untold == 0
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR, GBP))]
