"""OANDA gives what the same candles in files give: tick by tick and by backfill, right through the clock changes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from spike_assets.defs.schedules import request
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, next_tick
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.settings import load_settings
from spike_assets.sources.files import FilesSource
from spike_assets.store.store import Store
from spike_assets_tests.engines import on_both
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Market, live, oanda_of
from spike_assets_tests.oanda_server import ACCOUNT, TOKEN, Clock, OandaServer
from spike_assets_tests.shared_data import SHARED, needs_shared
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes, make_pipeline, pending_marks, simulated

NAMES = ("EUR_USD", "CHF_JPY")
YEAR = Window(datetime(2025, 1, 5, 22, tzinfo=UTC), datetime(2026, 1, 9, 22, tzinfo=UTC))
CHANGES = {"spring": datetime(2025, 3, 9, 7, tzinfo=UTC), "autumn": datetime(2025, 11, 2, 6, tzinfo=UTC)}
BEFORE_AND_BEHIND = {H1: timedelta(hours=30), H4: timedelta(days=3), D: timedelta(days=8), W: timedelta(weeks=6)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files_in(tmp_path_factory.mktemp("candles"))


def files_in(folder: Path) -> Path:
    """Make a folder of H1 files; H4, D and W are resampled from them."""
    for name in NAMES:
        rows = simulated(H1, (name,), Window(YEAR.start - timedelta(weeks=30), YEAR.end))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("rows", rows.drop(columns="instrument").astype({"volume": "int64"}))
            connection.execute(f"COPY (FROM rows) TO '{folder / name}.parquet' (FORMAT parquet)")
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock(YEAR.end + timedelta(days=3))


@pytest.fixture
def broker(folder: Path, clock: Clock) -> Iterator[OandaServer]:
    with OandaServer(FilesSource(folder), clock, instruments=NAMES) as running:
        yield running


def from_files(folder: Path, granularity: Granularity, window: Window, *names: str) -> dict[str, str]:
    """Give what a clean backfill from files ends in."""
    files, memory = FilesSource(folder), Store(MemoryEngine())
    pipeline = make_pipeline(files, memory, names or NAMES, history_start=window.start)
    backfill(pipeline, granularity, window)
    return hashes(pipeline, granularity)


@pytest.mark.parametrize(("engine", "granularity"), on_both(*GRANULARITIES.values(), suite={H4}), ids=str)
def test_a_year_by_backfill(
    folder: Path, broker: OandaServer, tmp_path: Path, granularity: Granularity, store: Store
) -> None:
    source = oanda_of(broker.url, tmp_path)
    pipeline = make_pipeline(source, store, NAMES, history_start=YEAR.start)
    backfill(pipeline, granularity, YEAR)
    source.client.close()
    assert hashes(pipeline, granularity) == from_files(folder, granularity, YEAR)
    assert broker.most_connections_in_a_second() <= 2


def ticks(granularity: Granularity, window: Window) -> Iterator[datetime]:
    """Give every tick of a granularity's schedule."""
    at = next_tick(granularity, window.start)
    while at < window.end:
        yield at
        at = next_tick(granularity, at + timedelta(minutes=1))


def run_ticks(pipeline: Pipeline, clock: Clock, granularity: Granularity, window: Window) -> int:
    """Let every tick ask what it asks for, and run a pass where it asks for one."""
    passes = 0
    for at in ticks(granularity, window):
        clock.set(at)
        if isinstance(request(pipeline, granularity, at), dg.RunRequest):
            passes += process(pipeline, granularity, now=at, trigger="schedule").status == "success"
    return passes


def live_ends_as_files_do(
    folder: Path,
    broker: OandaServer,
    clock: Clock,
    scratch: Path,
    granularity: Granularity,
    window: Window,
    store: Store,
) -> int:
    """Let ticks run live over a window, and hold the tables against those of a backfill from files."""
    source = oanda_of(broker.url, scratch)
    pipeline = make_pipeline(source, store, NAMES, history_start=window.start)
    passes = run_ticks(pipeline, clock, granularity, window)
    source.client.close()
    assert pending_marks(pipeline, granularity) == 0
    with pipeline.store.reading(FOREVER) as session:
        first = min(session.data.oldest(granularity).values())
        last = session.data.last_time(granularity)
    assert last is not None
    stored = Window(first, last + timedelta(microseconds=1))
    assert hashes(pipeline, granularity) == from_files(folder, granularity, stored)
    # One question a tick, but for the pass after a tick that found nothing.
    assert sum("latest" in seen.path for seen in broker.requests) >= 0.8 * passes
    return passes


def a_live_year(granularity: Granularity, store: Store, scratch: Path) -> int:
    """Let every tick of a year run live; give how many passes that were."""
    folder = scratch / "candles"
    folder.mkdir()
    clock = Clock(YEAR.start)
    with OandaServer(FilesSource(files_in(folder)), clock, instruments=NAMES) as broker:
        return live_ends_as_files_do(folder, broker, clock, scratch, granularity, YEAR, store)


@pytest.mark.parametrize(
    ("engine", "granularity", "change"),
    on_both(*product(GRANULARITIES.values(), CHANGES), suite=[(H1, "spring"), (D, "autumn")]),
    ids=str,
)
def test_tick_by_tick_over_a_clock_change(
    folder: Path,
    broker: OandaServer,
    clock: Clock,
    tmp_path: Path,
    granularity: Granularity,
    change: str,
    store: Store,
) -> None:
    reach = BEFORE_AND_BEHIND[granularity]
    window = Window(CHANGES[change] - reach, CHANGES[change] + reach)
    assert live_ends_as_files_do(folder, broker, clock, tmp_path, granularity, window, store) >= 9


def test_the_settings_are_all_that_it_takes(
    folder: Path, broker: OandaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window(datetime(2025, 3, 5, tzinfo=UTC), datetime(2025, 3, 12, tzinfo=UTC))
    found = {}
    monkeypatch.chdir(tmp_path)
    for name, setting in {
        "oanda": {"OANDA_URL": broker.url, "OANDA_API_TOKEN": TOKEN, "OANDA_ACCOUNT_ID": ACCOUNT},
        "files": {"SPIKE_FILES_DIR": str(folder)},
    }.items():
        with monkeypatch.context() as patch:
            for variable, value in {"SPIKE_SOURCE": name, "SPIKE_INSTRUMENTS": ",".join(NAMES), **setting}.items():
                patch.setenv(variable, value)
            pipeline = Pipeline.from_settings(load_settings())
            backfill(pipeline, H1, window)
            found[name] = hashes(pipeline, H1)
    assert found["oanda"] == found["files"]
    assert (tmp_path / "data" / "oanda.duckdb").exists()


@needs_shared
def test_real_candles_tick_by_tick(tmp_path: Path, clock: Clock, store: Store) -> None:
    """Real gaps, holidays and stray candles, over the clock change of March 2022."""
    names, folder = ("EUR_USD", "GBP_CHF", "AUD_NZD"), SHARED / "fx_h1"
    window = Window(datetime(2022, 3, 11, 12, tzinfo=UTC), datetime(2022, 3, 14, 12, tzinfo=UTC))
    with OandaServer(FilesSource(folder), clock, instruments=names) as broker:
        source = oanda_of(broker.url, tmp_path)
        pipeline = make_pipeline(source, store, names, history_start=window.start)
        run_ticks(pipeline, clock, H1, Window(window.start + timedelta(hours=1), window.end))
        source.client.close()
    with pipeline.store.reading(FOREVER) as session:
        last = session.data.last_time(H1)
    assert last is not None
    assert hashes(pipeline, H1) == from_files(
        folder, H1, Window(window.start, last + timedelta(microseconds=1)), *names
    )


@pytest.mark.parametrize(("engine", "days"), on_both(2, 9, 32, suite={32}))
def test_after_days_of_downtime_the_next_ticks_work_off_the_gap(tmp_path: Path, days: int, store: Store) -> None:
    """Oldest first, no more than 500 candles a pass, going on where a failed attempt stopped."""
    start = datetime(2025, 6, 2, tzinfo=UTC)
    market = Market(H1, Window(start, start + timedelta(days=days)))
    with live(market, store, tmp_path) as platform:
        platform.tick(market.closes[0])
        platform.clock.set(market.window.end + AFTER_CLOSE)
        lengths = []
        behind = 1
        while behind:
            result = process(platform.pipeline, H1, now=platform.clock())
            behind = result.behind
            lengths.append(int(pd.Series(result.summaries[0].changed["time"]).nunique()))
        assert sum(lengths) == len(market.opens) - 1
        assert max(lengths) <= 500
        assert len(lengths) == -(-(len(market.opens) - 1) // 500)
        assert hashes(platform.pipeline, H1) == market.expected
