"""A disk that fills up in the middle of a pass: one clear line, nothing half done, and the next pass goes on."""

import pickle
import resource
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from spike_assets.errors import SpikeError, StoreUnavailableError
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import process
from spike_assets_tests.invariants.runs import AFTER_CLOSE, LATER, Market, simulated_market
from spike_assets_tests.processes import told
from spike_assets_tests.support import run_window

END = datetime(2025, 3, 14, 21, tzinfo=UTC)


def small_disk(tell: Pipe, database: Path, file: Path, limit: int) -> None:
    """Fetch sixty days where no file can be written beyond a limit."""
    market: Market = pickle.loads(file.read_bytes())  # noqa: S301 - written by the test
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run_window(market.pipeline(database), H1, market.window, LATER)
    except SpikeError as error:
        tell.send((type(error).__name__, str(error)))
    else:
        tell.send(("done", ""))


@pytest.mark.parametrize("limit", [100, 50_000, 300_000, 400_000, 700_000])
def test_a_full_disk(limit: int, tmp_path: Path) -> None:
    market = simulated_market(H1, ("EUR_USD", "USD_JPY", "USD_TRY"), Window(END - timedelta(days=60), END))
    database, file = tmp_path / "spike.duckdb", tmp_path / "market"
    file.write_bytes(pickle.dumps(market))
    pipeline = market.pipeline(database)
    process(pipeline, H1, now=END + AFTER_CLOSE)
    ((name, text),) = told(small_disk, database, file, limit)
    assert "\n" not in text
    assert name in {StoreUnavailableError.__name__, "done"}
    assert name != "done" or limit > 300_000
    assert "no space left" in text or name == "done"
    run_window(pipeline, H1, market.window, LATER + timedelta(hours=1))
    assert market.ends_in(pipeline) == market.expected
