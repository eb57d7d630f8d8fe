"""The H1 pass over 29 instruments: bare, stage by stage, and as a Dagster run in a warm process."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

from bench.stores import END, pipeline_on
from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1, Granularity
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window
from spike_assets.pipeline import process
from spike_assets.sources.base import CandleSource, Fetched
from spike_assets.sources.oanda import OandaSource
from spike_assets.sources.oanda.client import Client
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.support import tidied


@dataclass
class Timings:
    """Milliseconds of each part, over many passes."""

    parts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, part: str, milliseconds: float) -> None:
        self.parts.setdefault(part, []).append(milliseconds)

    def p50(self, part: str) -> float:
        return median(self.parts[part])

    def p95(self, part: str) -> float:
        return quantiles(self.parts[part], n=20, method="inclusive")[-1]


class TimedSource:
    """A source that notes how long it took to answer, and when it had."""

    def __init__(self, source: CandleSource) -> None:
        self.source = source
        self.name, self.price = source.name, source.price
        self.milliseconds = 0.0
        self.answered = 0.0

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        start = time.perf_counter()
        answer = self.source.fetch(granularity, windows, now=now, deadline=deadline)
        self.answered = time.perf_counter()
        self.milliseconds = (self.answered - start) * 1000
        return answer


def hours(skip: int, n: int) -> list[datetime]:
    """Give the opens of `n` H1 candles behind the stores' history, `skip` of them left out."""
    times = market_hours.candle_times(H1, Window(END, END + timedelta(days=60)))
    return [time.to_pydatetime() for time in times[skip : skip + n]]


def bare(path: Path, skip: int, n: int) -> Timings:
    """Measure `process()`; `received → stored` is what comes behind asking for candles."""
    timings = Timings()
    source = TimedSource(pipeline_on(path).source)
    pipeline = replace(pipeline_on(path), source=source)
    process(pipeline, H1, now=hours(skip, 1)[0] + timedelta(hours=1, minutes=5))
    for time_ in hours(skip + 1, n):
        start = time.perf_counter()
        result = process(pipeline, H1, now=time_ + timedelta(hours=1, minutes=5))
        ended = time.perf_counter()
        total = (ended - start) * 1000
        timings.add("pass", total)
        timings.add("received → stored", (ended - source.answered) * 1000)
        start = time.perf_counter()
        tidied()
        timings.add("tidying up behind it", (time.perf_counter() - start) * 1000)
        timings.add("fetch", source.milliseconds)
        for summary in result.summaries:
            timings.add(summary.stage, summary.milliseconds)
        timings.add(
            "open, plan, record, close", total - source.milliseconds - sum(s.milliseconds for s in result.summaries)
        )
    return timings


def on_oanda(path: Path, skip: int, n: int, latency: timedelta) -> tuple[Timings, float]:
    """Measure passes that ask a loopback OANDA; give also how many requests each took."""
    from spike_assets_tests.oanda_server import ACCOUNT, TOKEN, Clock, OandaServer  # noqa: PLC0415

    times = hours(skip, n + 1)
    clock = Clock(times[0])
    timings = Timings()
    with OandaServer(SimulatedSource(), clock, instruments=INSTRUMENTS, latency=latency) as server:
        source = OandaSource(Client(server.url, TOKEN), ACCOUNT)
        source.name = "simulated"  # the store holds such candles already, and these are the same
        pipeline = replace(pipeline_on(path), source=source)
        for i, time_ in enumerate(times):
            clock.set(time_ + timedelta(hours=1, minutes=5))
            start = time.perf_counter()
            process(pipeline, H1, now=clock(), deadline=Deadline.after(timedelta(minutes=5)))
            if i:  # the first one fills the gap since the last measurement
                timings.add("pass", (time.perf_counter() - start) * 1000)
            else:
                before = len(server.requests)
            tidied()
        source.client.close()
        return timings, (len(server.requests) - before) / n


@contextmanager
def dagster_home(folder: Path) -> Iterator[Path]:
    """Give a Dagster home with the shipped dagster.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).parents[1] / "dagster.yaml", folder)
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def as_dagster_run(path: Path, home: Path, skip: int, n: int) -> Timings:
    """Measure the same pass as a Dagster run of five assets in this, warm, process."""
    from dagster import DagsterInstance  # noqa: PLC0415 - the rest of bench runs without Dagster

    from spike_assets.definitions import build_defs  # noqa: PLC0415
    from spike_assets.defs.partitions import partition_key  # noqa: PLC0415

    timings = Timings()
    job = build_defs(pipeline=pipeline_on(path)).resolve_job_def("h1_pass")
    with dagster_home(home), DagsterInstance.get() as instance:
        for i, time_ in enumerate(hours(skip, n + 1)):
            start = time.perf_counter()
            done = job.execute_in_process(partition_key=partition_key(H1, time_), instance=instance)
            if not done.success:
                raise RuntimeError("a measured run failed")
            if i:  # the first one warms up
                timings.add("Dagster run", (time.perf_counter() - start) * 1000)
            tidied()
    return timings
