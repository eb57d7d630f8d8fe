"""A week of H1 at high speed, with a restart every day: memory stays flat, connections and files are not piled up."""

import gc
import os
import resource
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, nth_candle_before
from spike_assets.pipeline import process
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Live, Market, live, oanda_of
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import hashes, make_pipeline

pytestmark = pytest.mark.soak

SUNDAY = datetime(2025, 3, 9, 21, tzinfo=UTC)
FRIDAY = datetime(2025, 3, 14, 21, tzinfo=UTC)
WARM = 8
"""Passes after which everything is imported, opened and cached that ever will be."""


class Usage(NamedTuple):
    """What a process holds."""

    megabytes: float
    files: int


def usage() -> Usage:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Usage(pages * resource.getpagesize() / 1e6, len(os.listdir("/proc/self/fd")))  # noqa: PTH208


def a_day(end: Pipe, url: str, database: str, folder: Path, market: Market, closes: list[datetime]) -> None:
    """Run a day's passes in this process, as fast as they go."""
    pipeline = make_pipeline(oanda_of(url, folder), database, market.instruments, history_start=market.window.start)
    for n, close in enumerate(closes):
        end.send(close)
        assert end.recv() == "go"
        process(pipeline, H1, now=close + AFTER_CLOSE)
        if n == WARM:
            end.send(usage())
    end.send(usage())


def run_day(platform: Live, database: str, folder: Path, market: Market, closes: list[datetime]) -> list[Usage]:
    """Run a day in a process of its own, and set the broker's clock for it; give what it held, warm and at its end."""
    here, there = CONTEXT.Pipe()
    process_ = start(a_day, there, platform.server.url, database, folder, market, closes)
    there.close()
    usages: list[Usage] = []
    while here.poll(PATIENCE):
        try:
            heard = here.recv()
        except EOFError:
            break
        if isinstance(heard, datetime):
            platform.clock.set(heard + AFTER_CLOSE)
            here.send("go")
        else:
            usages.append(heard)
    assert finished(process_) == 0
    return usages


def test_a_week_with_daily_restarts(database: str, tmp_path: Path, record_property: Tell) -> None:
    market = Market(H1, Window(nth_candle_before(H1, SUNDAY, 30), FRIDAY), ("EUR_USD",))
    closes = [close for close in market.closes if close > SUNDAY]
    days = [closes[i : i + 24] for i in range(0, len(closes), 24)]
    most = 0.0
    with live(market, database, tmp_path) as platform:
        platform.load(SUNDAY)
        for day in days:
            before = len(platform.server.connections)
            warm, last = run_day(platform, database, tmp_path, market, day)
            assert last.files <= warm.files
            grown = last.megabytes - warm.megabytes
            assert grown < 12
            most = max(most, grown)
            assert len(platform.server.connections) - before == 1
        platform.clock.set(FRIDAY + timedelta(minutes=6))
        assert len(days) == 5
        assert hashes(platform.pipeline, H1) == market.expected
        latest = [seen for seen in platform.server.requests if "latest" in seen.path]
        assert len(latest) == len(closes)
    record_property("passes", len(closes))
    record_property("most memory grown in a day, MB", round(most, 1))
