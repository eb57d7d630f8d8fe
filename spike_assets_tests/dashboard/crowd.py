"""A crowd of pages before one dashboard, while passes run: what each hears, and what that costs."""

import asyncio
import json
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import connect

from spike_assets import market_hours
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.cli.running import PATIENCE
from spike_assets_tests.dashboard.listeners import listeners
from spike_assets_tests.dashboard.served import Served
from spike_assets_tests.support import make_pipeline, plain, tables

NAMES = ("AUD_USD", "EUR_USD", "GBP_USD", "USD_CAD", "USD_CHF", "USD_JPY")
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
HISTORY = 60
"""Candles that are there before."""


@dataclass
class Heard:
    """What one page heard."""

    seqs: list[int] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Kinds of frames that are neither delta nor heartbeat."""
    candles: list[tuple[str, str]] = field(default_factory=list)
    events: dict[str, list[str]] = field(default_factory=dict)
    """Every word that came of each event."""
    at: dict[str, float] = field(default_factory=dict)
    """When a candle time was heard of first, by this process's clock."""

    def take(self, frame: dict[str, Any], now: float) -> None:
        if frame["type"] == "delta":
            self.seqs.append(frame["seq"])
            for change in frame["changes"]:
                self._change(change, now)
        elif frame["type"] != "heartbeat":
            self.others.append(frame["type"])

    def _change(self, change: dict[str, Any], now: float) -> None:
        if change["kind"] == "candles":
            for name, candles in change["instruments"].items():
                self.candles += [(name, candle["time"]) for candle in candles]
                for candle in candles:
                    self.at.setdefault(candle["time"], now)
        elif change["kind"] == "events":
            assert not change["removed"]
            for event in change["events"]:
                self.events.setdefault(event["event_id"], []).append(json.dumps(event, sort_keys=True))


@dataclass
class Ran:
    """What came of it.

    Attributes
    ----------
    passes
        Seconds of each pass.
    late
        Seconds from the end of each pass to when the slowest page had heard of it; negative where before.
    memory
        Megabytes of the dashboard's process, after each pass.
    """

    heard: list[Heard]
    passes: list[float]
    late: list[float]
    memory: list[float]


def crowd(folder: Path, pages: int, passes: int, every: float, others: int = 0) -> Ran:
    """Open so many pages, run so many passes, one every so many seconds, and hold what each page must have heard.

    `others` listen in a process of their own, so that they cost the passes nothing but what the dashboard costs.
    """
    pipeline = make_pipeline(
        SimulatedSource(), folder / "spike.duckdb", NAMES, history_start=BEGIN, clock=lambda: datetime.now(UTC)
    )
    closes = _closes(HISTORY + passes)
    backfill(pipeline, H1, Window(BEGIN, closes[HISTORY - 1]))
    process(pipeline, H1, now=closes[HISTORY - 1] + timedelta(minutes=5))
    known = _known(pipeline)
    with Served(pipeline.store.url, NAMES, folder / "server.log") as server:
        with _Pages(server, pages) as listening, listeners(listening.url, others) if others else nullcontext():
            took, ended, memory = [], {}, []
            for close in closes[HISTORY:]:
                start = time.monotonic()
                process(pipeline, H1, now=close + timedelta(minutes=5))
                ended[_iso(close - timedelta(hours=1))] = time.monotonic()
                took.append(ended[_iso(close - timedelta(hours=1))] - start)
                memory.append(server.memory())
                listening.pause(max(0.0, start + every - time.monotonic()))
            listening.wait_for(_iso(closes[-1] - timedelta(hours=1)))
        assert "Traceback" not in server.log.read_text(encoding="utf-8")
    for one in listening.heard:
        _hold(one, pipeline, known, sorted(ended))
    late = [max(one.at[candle] for one in listening.heard) - end for candle, end in ended.items()]
    return Ran(listening.heard, took, late, memory)


def _closes(n: int) -> list[datetime]:
    times = market_hours.candle_times(H1, Window(BEGIN, BEGIN + timedelta(days=40)))
    return [time.to_pydatetime() + timedelta(hours=1) for time in times[:n]]


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _known(pipeline: Pipeline) -> set[str]:
    return {row["event_id"] for row in plain(tables(pipeline, H1)["events"])}


def _hold(one: Heard, pipeline: Pipeline, before: set[str], times: list[str]) -> None:
    """Every delta in order, every candle once, every event, and no word twice."""
    assert one.others == ["snapshot"]
    assert one.seqs == list(range(one.seqs[0], one.seqs[0] + len(one.seqs)))
    assert sorted(one.candles) == sorted((name, time_) for name in NAMES for time_ in times)
    assert set(one.events) == _known(pipeline) - before
    assert all(len(set(words)) == len(words) for words in one.events.values())


class _Pages:
    """Pages in a thread of their own, which only listen."""

    def __init__(self, server: Served, n: int) -> None:
        self.heard = [Heard() for _ in range(n)]
        self.url = f"ws://127.0.0.1:{server.port}/api/live"
        self._news = threading.Condition()
        self._open = threading.Barrier(2, timeout=PATIENCE)
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._listen(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._open.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        feeds = [await connect(self.url, compression=None, max_size=None) for _ in self.heard]
        tasks = [asyncio.create_task(self._hear(*one)) for one in zip(feeds, self.heard, strict=True)]
        while not all(one.others for one in self.heard):
            await asyncio.sleep(0)
        self._open.wait()
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for feed in feeds:
            await feed.close()

    async def _hear(self, feed: Any, one: Heard) -> None:
        async for text in feed:
            one.take(json.loads(text), time.monotonic())
            with self._news:
                self._news.notify_all()

    def pause(self, seconds: float) -> None:
        """Let the next pass come when its time has."""
        threading.Event().wait(seconds)

    def wait_for(self, candle: str) -> None:
        """Wait until every page has heard of a candle of every instrument, and of all that the pass found."""
        with self._news:
            done = self._news.wait_for(lambda: all(self._has(one, candle) for one in self.heard), PATIENCE)
        assert done, "not every page has heard of the last pass"

    def _has(self, one: Heard, candle: str) -> bool:
        return {name for name, time_ in one.candles if time_ == candle} == set(NAMES)
