"""Checks: what breaks a promise, and when an operator is warned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs.checks import PARENTS, evaluate, promises, promises_spec
from spike_assets.defs.resources import PipelineResource
from spike_assets.errors import StoreLockedError
from spike_assets.granularity import GRANULARITIES, H1, D, Granularity, W
from spike_assets.market_hours import Window, close_of, last_closed
from spike_assets.pipeline import Pipeline, candles, process
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Session, Store
from spike_assets.store.tables import ALERTS, ATR, CANDLES, EVENTS, FEATURES, Table
from spike_assets_tests.defs.running import INSTRUMENTS, KEYS, STRETCH, ephemeral, market, memory_pipeline, run
from spike_assets_tests.support import FOREVER, tables

MONTHS = Window(datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 7, 18, 21, tzinfo=UTC))
NOW = datetime(2025, 7, 18, 21, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored() -> dict[str, pd.DataFrame]:
    """Rows of all tables, of which no promise is broken."""
    pipeline = filled(market().candles, STRETCH.end)
    process(pipeline, H1, now=STRETCH.end)
    with pipeline.store.reading(FOREVER) as session:
        rows = session.data.read(H1, CANDLES)
    return {"candles": rows} | tables(pipeline, H1)


def filled(frame: pd.DataFrame, fetched_at: datetime, granularity: Granularity = H1, **settings: Any) -> Pipeline:
    """Give a pipeline in whose store these candles lie."""
    pipeline = memory_pipeline(**settings)
    received = candles.Received({}, Fetched(frame), fetched_at, fetched_at)
    with pipeline.store.writing(FOREVER, "a test") as session:
        candles.store(session, granularity, received)
    return pipeline


def held(table: Table, rows: pd.DataFrame, stored: dict[str, pd.DataFrame]) -> dg.AssetCheckResult:
    parent = PARENTS.get(table.name)
    return promises(table, rows, stored[parent.name] if parent else None)


@pytest.mark.parametrize("table", [CANDLES, ATR, EVENTS, FEATURES, ALERTS], ids=lambda table: table.name)
def test_what_a_pass_stored_keeps_every_promise(table: Table, stored: dict[str, pd.DataFrame]) -> None:
    result = held(table, stored[table.name], stored)
    assert len(stored[table.name])
    assert (result.passed, result.description) == (True, None)
    assert held(table, stored[table.name].iloc[:0], {name: rows.iloc[:0] for name, rows in stored.items()}).passed


@pytest.mark.parametrize(
    ("table", "column", "value", "says"),
    [
        (CANDLES, "low", 1e9, "1 × prices out of order"),
        (CANDLES, "high", 0.0001, "1 × prices out of order"),
        (CANDLES, "open", 0.0001, "1 × prices out of order"),
        (CANDLES, "close", 1e9, "1 × prices out of order"),
        (CANDLES, "high", float("inf"), "1 × prices out of order"),
        (CANDLES, "low", 0.0, "1 × prices out of order"),
        (CANDLES, "close", float("nan"), "1 × prices out of order"),
        (CANDLES, "volume", -1, "1 × negative volume"),
        (ATR, "atr", -0.1, "1 × negative ATR"),
    ],
)
def test_a_broken_value_is_found(
    table: Table, column: str, value: float, says: str, stored: dict[str, pd.DataFrame]
) -> None:
    rows = stored[table.name].copy()
    rows.loc[20, column] = value
    result = held(table, rows, stored)
    assert (result.passed, result.description) == (False, says)
    at = rows.iloc[20]
    assert result.metadata[f"{says[4:]}: first"].value == f"{at['instrument']} {at['time']}"
    assert result.severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize(
    ("table", "missing", "orphan"),
    [
        (ATR, "1 × missing for candles", "1 × not in candles"),
        (EVENTS, None, "1 × not in candles"),
        (FEATURES, "1 × missing for events", "1 × not in events"),
        (ALERTS, None, "1 × not in events"),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "",
)
def test_rows_are_held_against_their_parents(
    table: Table, missing: str | None, orphan: str, stored: dict[str, pd.DataFrame]
) -> None:
    rows = stored[table.name]
    rows = rows[rows["instrument"] != "*"].reset_index(drop=True)  # a group is of no event
    assert held(table, rows.drop(index=0), stored).description == missing
    moved = rows.copy()
    moved.loc[len(rows)] = moved.loc[0]
    moved.loc[len(rows), "time"] = datetime(2040, 1, 1, tzinfo=UTC)
    assert held(table, moved, stored).description == orphan


def test_a_key_twice_is_found(stored: dict[str, pd.DataFrame]) -> None:
    rows = stored["atr"]
    assert held(ATR, pd.concat([rows, rows.iloc[[3]]]), stored).description == "1 × key twice"


def test_promises_block_and_warnings_do_not() -> None:
    graph = build_defs(pipeline=memory_pipeline()).resolve_asset_graph()
    for granularity in GRANULARITIES.values():
        names = {key.name for key in graph.asset_check_keys if key.asset_key.path[0] == granularity.schema}
        assert names == {"promises", "quarantine", "coverage", "freshness"}
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        assert spec.blocking == (key.name == "promises")
        assert spec.partitions_def is None
        assert spec.description
    assert promises_spec(W, FEATURES).asset_key == dg.AssetKey(["w", "features"])


def looked(pipeline: Pipeline, name: str, granularity: Granularity = H1, *, now: datetime = NOW) -> dg.AssetCheckResult:
    resource = PipelineResource.over(replace(pipeline, clock=lambda: now))
    resource.setup_for_execution(dg.build_init_resource_context())
    (result,) = evaluate(resource, granularity, {name})
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert result.check_name == name
    return result


def test_new_quarantine_warns_for_a_day() -> None:
    frame = market(window=Window(NOW - timedelta(hours=9), NOW)).candles
    frame.loc[2, "high"] = -1.0
    frame.loc[3, "low"] = float("nan")
    pipeline = filled(frame, NOW)
    result = looked(pipeline, "quarantine")
    assert not result.passed
    assert result.metadata["new"].value == 2
    assert (result.description or "").startswith("new since 2025-07-17 21:05 UTC: 1 × ")
    assert looked(pipeline, "quarantine", now=NOW + timedelta(hours=23)).passed is False
    assert looked(pipeline, "quarantine", now=NOW + timedelta(hours=25)).passed
    assert looked(pipeline, "quarantine", W).passed


@pytest.fixture(scope="module")
def months() -> pd.DataFrame:
    return market(window=MONTHS).candles


def without(frame: pd.DataFrame, instrument: str, first: datetime, last: datetime) -> pd.DataFrame:
    return frame[~((frame["instrument"] == instrument) & (frame["time"] >= first) & (frame["time"] < last))]


@pytest.mark.parametrize(
    ("hole", "lowest", "says"),
    [
        (timedelta(0), 1.0, None),
        (timedelta(days=2), 0.9216, None),
        (timedelta(days=4), 0.8431, "below 90%: USD_JPY 84%"),
        (timedelta(days=365), 0.0, "below 90%: USD_JPY 0%"),
    ],
    ids=str,
)
def test_coverage_finds_holes(months: pd.DataFrame, hole: timedelta, lowest: float, says: str | None) -> None:
    # From Tuesday backwards, so that a hole of days holds no weekend.
    end = datetime(2025, 7, 12, tzinfo=UTC)
    frame = without(months, "USD_JPY", end - hole, end) if hole.days < 300 else months.query("instrument != 'USD_JPY'")
    result = looked(filled(frame, NOW), "coverage")
    assert result.metadata["lowest"].value == pytest.approx(lowest, abs=0.03)
    assert (result.passed, says is None) == (says is None, result.description is None)
    if says:
        assert (result.description or "").startswith(says[:19])


def test_coverage_asks_nothing_from_before_an_instrument_began(months: pd.DataFrame) -> None:
    frame = without(months, "USD_JPY", MONTHS.start, NOW - timedelta(days=3))
    assert looked(filled(frame, NOW), "coverage").metadata["lowest"].value == 1.0


def test_coverage_leaves_out_what_the_source_does_not_know(months: pd.DataFrame) -> None:
    pipeline = filled(months.query("instrument != 'USD_JPY'"), NOW)
    with pipeline.store.writing(FOREVER, "a test") as session:
        session.ops.write_unavailable(H1, "USD_JPY", "unknown", NOW)
    assert looked(pipeline, "coverage").passed


def test_coverage_of_nothing_is_nothing_to_warn_of() -> None:
    result = looked(memory_pipeline(), "coverage")
    assert (result.passed, result.description) == (True, "no candles yet")


@pytest.mark.parametrize(
    ("granularity", "newest", "now", "passed"),
    [
        (H1, "2025-07-16 08:00", "2025-07-16 09:05", True),
        (H1, "2025-07-16 08:00", "2025-07-16 10:05", True),  # its tick is at it
        (H1, "2025-07-16 08:00", "2025-07-16 10:15", False),
        (H1, "2025-07-18 20:00", "2025-07-19 12:00", True),  # the market is closed
        (H1, "2025-07-18 20:00", "2025-07-20 22:05", True),
        (H1, "2025-07-18 20:00", "2025-07-20 22:15", False),
        (H1, "2025-07-18 19:00", "2025-07-19 12:00", False),
        (D, "2025-07-16 21:00", "2025-07-17 23:00", True),
        (D, "2025-07-15 21:00", "2025-07-17 23:00", False),
        (W, "2025-07-04 21:00", "2025-07-20 21:06", True),  # its tick comes on Sunday
        (W, "2025-07-04 21:00", "2025-07-20 23:00", False),
        (W, "2025-07-11 21:00", "2025-07-20 23:00", True),
    ],
    ids=str,
)
def test_freshness_knows_the_markets_hours(granularity: Granularity, newest: str, now: str, *, passed: bool) -> None:
    open_ = datetime.fromisoformat(newest).replace(tzinfo=UTC)
    closed = close_of(granularity, open_)
    pipeline = filled(market(granularity, Window(open_, closed)).candles, closed, granularity)
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    result = looked(pipeline, "freshness", granularity, now=at)
    assert result.passed is passed
    assert last_closed(granularity, at).start >= open_
    assert result.metadata["newest"].value == f"{newest} UTC"


def test_nothing_is_never_fresh() -> None:
    result = looked(memory_pipeline(), "freshness")
    assert result.description == "newest candle none, expected 2025-07-18 19:00 UTC; a holiday looks the same"


def test_a_run_evaluates_all_of_them() -> None:
    with ephemeral() as instance:
        result = run(memory_pipeline(), KEYS[:1], instance)
    found = {(e.asset_key.to_user_string(), e.check_name): e for e in result.get_asset_check_evaluations()}
    promised = {(f"h1/{name}", "promises") for name in ("candles", "atr", "events", "features", "alerts")}
    assert found.keys() == promised | {("h1/candles", name) for name in ("quarantine", "coverage", "freshness")}
    assert not found["h1/candles", "freshness"].passed  # one old candle
    assert found["h1/candles", "promises"].metadata["rows"].value == len(INSTRUMENTS)


def test_warnings_never_fail_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Store.reading

    @contextmanager
    def locked(store: Store, deadline: Deadline, purpose: str = "a reader") -> Iterator[Session]:
        if purpose.startswith("checks"):
            raise StoreLockedError("spike.duckdb is in use")
        with reading(store, deadline, purpose) as session:
            yield session

    monkeypatch.setattr(Store, "reading", locked)
    with ephemeral() as instance:
        result = run(memory_pipeline(), KEYS[:1], instance)
    assert result.success
    says = {e.description for e in result.get_asset_check_evaluations() if not e.passed}
    assert says == {"could not look: spike.duckdb is in use"}
