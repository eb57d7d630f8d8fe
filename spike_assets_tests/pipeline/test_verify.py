"""`verify` finds a tampered row in every table and names the first difference."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets.errors import SettingsError
from spike_assets.granularity import H4, D
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.store import Store
from spike_assets_tests.support import FOREVER, MemoryEngine, make_pipeline, tables

INSTRUMENTS = ("EUR_USD", "USD_JPY")
WINDOW = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC))


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    pipeline = make_pipeline(SimulatedSource(), tmp_path / "x.duckdb", INSTRUMENTS)
    backfill(pipeline, H4, WINDOW)
    return pipeline


def tamper(pipeline: Pipeline, sql: str) -> None:
    with DuckDBEngine(Path(pipeline.store.url)).connect(FOREVER, "a test", write=True) as connection:
        connection.execute(sql)


def test_what_is_right_is_found_right_with_its_rows_and_hashes(pipeline: Pipeline) -> None:
    steps: list[tuple[int, int]] = []
    found = verify(pipeline, H4, lambda done, of: steps.append((done, of)))
    assert found.difference is None
    assert found.rows == {name: len(rows) for name, rows in tables(pipeline, H4).items()}
    assert found.rows["events"] > 50
    assert steps == [(0, 2), (1, 2)]
    assert verify(pipeline, H4) == found


def test_hashes_depend_on_content_only(pipeline: Pipeline) -> None:
    other = make_pipeline(SimulatedSource(), Store(MemoryEngine()), INSTRUMENTS)
    middle = datetime(2025, 3, 4, 7, tzinfo=UTC)
    backfill(other, H4, Window(middle, WINDOW.end))
    backfill(other, H4, Window(WINDOW.start, middle))
    assert verify(other, H4) == verify(pipeline, H4)
    backfill(other, H4, Window(WINDOW.end, WINDOW.end + timedelta(days=30)))
    assert verify(other, H4).hashes["atr"] != verify(pipeline, H4).hashes["atr"]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE h4.atr SET atr = nextafter(atr, 9.0)", "h4.atr, {where}: atr is {stored}, recomputed it is {right}"),
        ("UPDATE h4.atr SET suspect = NOT suspect", "h4.atr, {where}: suspect is "),
        ("UPDATE h4.events SET volume = volume + 1", "h4.events, {where}: volume is "),
        ("UPDATE h4.features SET pattern = 'XX'", "h4.features, {where}: pattern is 'XX', recomputed it is '"),
        ("UPDATE h4.features SET volume_roc = NULL", "h4.features, {where}: volume_roc is "),
        (
            "UPDATE h4.alerts SET level = nextafter(level, 9.0)",
            "h4.alerts, {where}: level is {stored}, recomputed it is",
        ),
        ("UPDATE h4.alerts SET rules = 'x'", "h4.alerts, {where}: rules is 'x', recomputed it is 'volume_spike'"),
        ("UPDATE h4.alerts SET reasons = 'x'", "h4.alerts, {where}: reasons is 'x', recomputed it is '"),
        ("UPDATE h4.alerts SET members = 'EUR_USD'", "h4.alerts, {where}: members is "),
        ("DELETE FROM h4.alerts", "h4.alerts, {where}: the row is missing"),
        ("UPDATE h4.candles SET close = close * 1.01, high = high * 1.02", "h4.atr, {where}: true_range is "),
        ("DELETE FROM h4.atr", "h4.atr, {where}: the row is missing"),
        ("DELETE FROM h4.events", "h4.events, {where}: the row is missing"),
        ("DELETE FROM h4.features", "h4.features, {where}: the row is missing"),
        ("DELETE FROM h4.candles", "h4.atr has a row that nothing explains: {where}"),
    ],
)
def test_one_tampered_row_is_named(pipeline: Pipeline, sql: str, says: str) -> None:
    table = sql.replace("DELETE FROM ", "UPDATE ").split()[1].split(".")[1]
    name = table if table != "candles" else "events"
    rows = tables(pipeline, H4)[name]
    row = rows[rows["instrument"] == "USD_JPY"].iloc[20]
    tamper(pipeline, f"{sql} WHERE instrument = 'USD_JPY' AND time = '{row['time']}'")
    found = verify(pipeline, H4).difference
    assert found is not None
    where = f"USD_JPY {row['time']}"
    assert found.startswith(says.split("{stored}", maxsplit=1)[0].format(where=where)), found
    assert "\n" not in found


def test_a_row_too_many_is_named(pipeline: Pipeline) -> None:
    tamper(
        pipeline,
        "INSERT INTO h4.atr SELECT instrument, time + INTERVAL 1 HOUR, true_range, atr, suspect FROM h4.atr"
        " WHERE instrument = 'EUR_USD' ORDER BY time LIMIT 1 OFFSET 9",
    )
    found = verify(pipeline, H4).difference
    assert found is not None
    assert found.startswith("h4.atr has a row that nothing explains: EUR_USD 2025-01-0")


def test_a_group_too_many_is_named(pipeline: Pipeline) -> None:
    tamper(
        pipeline,
        "INSERT INTO h4.alerts SELECT '*', time, uuid(), NULL, closed_at, NULL, 'simultaneous', '', 'EUR_USD,USD_JPY'"
        " FROM h4.alerts WHERE instrument = 'EUR_USD' ORDER BY time LIMIT 1 OFFSET 9",
    )
    found = verify(pipeline, H4).difference
    assert found is not None
    assert found.startswith("h4.alerts has a row that nothing explains: * 2025-0")


def test_an_alert_twice_is_found(pipeline: Pipeline) -> None:
    tamper(pipeline, "INSERT INTO h4.alerts SELECT * FROM h4.alerts WHERE instrument = 'EUR_USD' ORDER BY time LIMIT 1")
    found = verify(pipeline, H4).difference
    assert found is not None
    assert found.startswith("h4.alerts repeats a key: EUR_USD 2025-0")


def test_rows_of_an_instrument_without_candles_are_found(pipeline: Pipeline) -> None:
    tamper(pipeline, "DELETE FROM h4.candles WHERE instrument = 'USD_JPY'")
    assert verify(pipeline, H4).difference == "h4.atr has rows of an instrument that has no candle"


def test_the_first_of_several_differences_is_named(pipeline: Pipeline) -> None:
    tamper(pipeline, "UPDATE h4.features SET pattern_run = pattern_run + 1 WHERE instrument = 'EUR_USD'")
    tamper(pipeline, "UPDATE h4.atr SET atr = 1 WHERE instrument = 'USD_JPY'")
    found = verify(pipeline, H4).difference
    assert found is not None
    assert found.startswith("h4.features, EUR_USD ")


def test_work_that_is_pending_is_a_difference(pipeline: Pipeline) -> None:
    tamper(
        pipeline, "INSERT INTO ops.pending VALUES ('H4', 'atr', 'EUR_USD', '2025-02-01', '2025-02-02', '2025-02-01')"
    )
    assert verify(pipeline, H4).difference == "H4: 1 ranges are still pending; `spike run H4` works them off"


def test_another_granularity_is_not_looked_at(pipeline: Pipeline) -> None:
    tamper(pipeline, "UPDATE h4.atr SET atr = 1")
    found = verify(pipeline, D)
    assert (found.difference, set(found.rows.values())) == (None, {0})


def test_a_store_of_another_meaning_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(SettingsError, match=r"ATR 14 .* ATR 7 .* set SPIKE_DATABASE to another database, or"):
        verify(replace(pipeline, atr_period=7), H4)
