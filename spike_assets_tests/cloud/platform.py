"""A platform on loopback: functions-framework as a process of its own, a broker, a database, and their one clock."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window, last_closed
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets_tests import control
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Market, oanda_of
from spike_assets_tests.oanda_server import ACCOUNT, TOKEN, Clock, OandaServer
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.support import make_pipeline

CLOCKED = Path(__file__).with_name("clocked.py")
_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    text: str

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed


@dataclass
class World:
    """What functions work with here; `environment` is what tells them."""

    server: OandaServer
    clock: Clock
    database: str
    folder: Path
    instruments: tuple[str, ...]
    history_start: datetime

    @property
    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("SPIKE_", "OANDA_", "DAGSTER_"))}
        return kept | {
            "SPIKE_SOURCE": "oanda",
            "OANDA_URL": self.server.url,
            "OANDA_API_TOKEN": TOKEN,
            "OANDA_ACCOUNT_ID": ACCOUNT,
            "SPIKE_DATABASE": self.database,
            "SPIKE_INSTRUMENTS": ",".join(self.instruments),
            "SPIKE_HISTORY_START": self.history_start.isoformat(),
            "SPIKE_WARMUP": "0",
            "TMPDIR": str(self.folder),  # where OANDA's limits are counted
            "GUNICORN_LOG_LEVEL": "info",
            "THREADS": "4",
            **control.variables(self.folder),
        }

    def at(self, now: datetime, timeout: float | None = None) -> None:
        """Set the clock of all, and how long a pass may take."""
        self.clock.set(now)
        control.say(self.folder, now, timeout)

    def pipeline(self) -> Pipeline:
        """Give a pipeline on the same broker and database, in this process."""
        source = oanda_of(self.server.url, self.folder, limited=False)
        made = make_pipeline(source, open_store(self.database), self.instruments, history_start=self.history_start)
        return replace(made, clock=self.clock)

    def load(self, market: Market, until: datetime) -> Pipeline:
        """Backfill a market's candles that have closed by then."""
        pipeline = self.pipeline()
        self.at(until + AFTER_CLOSE)
        backfill(pipeline, market.granularity, replace(market.window, end=until))
        return pipeline


@contextmanager
def world(
    folder: Path, database: str, instruments: tuple[str, ...], start: datetime, latency: timedelta = timedelta(0)
) -> Iterator[World]:
    """Give a broker of simulated candles, and an empty database."""
    clock = Clock(start)
    with OandaServer(SimulatedSource(), clock, instruments=instruments, latency=latency) as server:
        made = World(server, clock, database, folder, instruments, start)
        made.at(start)
        yield made


class Function:
    """A function that functions-framework serves."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self.output = output

    def post(self, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Post JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", "/", text, {"Content-Type": "application/json"} | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode())
        finally:
            connection.close()

    def post_event(self, granularity: Granularity, at: datetime) -> Answer:
        """Post a CloudEvent of Pub/Sub, as Eventarc does."""
        data = base64.b64encode(json.dumps({"granularity": granularity.name}).encode()).decode()
        headers = {
            "ce-id": "1",
            "ce-source": "//pubsub.googleapis.com/projects/p/topics/spike",
            "ce-specversion": "1.0",
            "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
            "ce-time": at.isoformat(),
        }
        message = {"data": data, "messageId": "1", "publishTime": at.isoformat()}
        return self.post({"message": message, "subscription": "projects/p/subscriptions/s"}, headers)

    def worker(self) -> int:
        """Give the process that calls run in: gunicorn's only worker, or the one that took its place."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return wait_for(lambda: int((children.read_text().split() or ["0"])[0]) or None)

    def lines(self) -> list[dict[str, Any]]:
        """Give what the calls have logged."""
        text = self.output.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in text if line.startswith('{"severity"')]


@contextmanager
def serving(world: World, target: str, signature: str) -> Iterator[Function]:
    """Start functions-framework over the shipped functions, as its image does; stop it behind the block."""
    output = world.folder / f"{target}.log"
    arguments = ["--source", str(CLOCKED), "--target", target, "--signature-type", signature]
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions_framework", *arguments, "--host", "127.0.0.1", "--port", "0"],
            env=world.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Function(process, _port(process, output), output)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _port(process: "subprocess.Popen[bytes]", output: Path) -> int:
    def found() -> int | None:
        assert process.poll() is None, output.read_text(encoding="utf-8")
        said = _LISTENING.search(output.read_text(encoding="utf-8"))
        return int(said[1]) if said else None

    return wait_for(found, lambda: output.read_text(encoding="utf-8"))


def wait_for(look: Callable[[], T | None], told: Callable[[], str] = lambda: "") -> T:
    """Wait until something can be seen, and give it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.02)
    raise AssertionError(f"it never came {told()}")


LOADED = {"H1": timedelta(days=3), "H4": timedelta(days=12), "D": timedelta(days=60), "W": timedelta(days=400)}
"""How much of each granularity a market has."""


def market_of(granularity: Granularity, end: datetime, instruments: tuple[str, ...]) -> Market:
    """Give a market that ends with the candle that closed last at `end`."""
    return Market(granularity, Window(end - LOADED[granularity.name], last_closed(granularity, end).end), instruments)
