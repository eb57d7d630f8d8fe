"""The H1 pass over more instruments than 29: how its time and memory grow, on each engine."""

import itertools
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from string import ascii_uppercase

from bench.passes import hours
from bench.stores import END, pipeline_on
from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets_tests.postgres import Server, running
from spike_assets_tests.support import tidied

COUNTS = (29, 290, 2_900)
HISTORY = 1_000
"""Candles per instrument that are stored before."""


@dataclass(frozen=True)
class Grown:
    """What passes over so many instruments took, on one engine.

    Attributes
    ----------
    load_seconds
        Backfilling the history.
    p50, longest
        Milliseconds of a pass with one new candle per instrument.
    peak_mb
        Memory of the process that ran them, and nothing else.
    """

    engine: str
    instruments: int
    load_seconds: float
    p50: float
    longest: float
    peak_mb: float


def measure(folder: Path, passes: int) -> list[Grown]:
    """Run so many passes for each number of instruments, on DuckDB and on a Postgres of our own."""
    server = postgres_of_its_own(folder)
    found = []
    for count in COUNTS:
        found.append(_measured("DuckDB", str(folder / f"{count}.duckdb"), count, passes))
        with server.database(empty=True) as url:
            found.append(_measured("Postgres", url, count, passes))
    return found


def postgres_of_its_own(folder: Path) -> Server:
    """Start a Postgres that keeps what it was told, as one in use does; the tests' own need not."""
    server = running(folder)
    for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
        server.command(f"ALTER SYSTEM SET {name} = 'on'")
    server.command("SELECT pg_reload_conf()")
    return server


def names(count: int) -> tuple[str, ...]:
    """Give so many symbols: the 29, and made-up ones."""
    made_up = ("".join(letters) for letters in itertools.product(ascii_uppercase, repeat=3))
    pairs = (f"{name}_USD" for name in made_up if name != "USD")
    others = (pair for pair in pairs if pair not in INSTRUMENTS)
    return tuple(sorted([*INSTRUMENTS, *itertools.islice(others, count - len(INSTRUMENTS))]))


def _measured(engine: str, url: str, count: int, passes: int) -> Grown:
    """Measure in processes of their own, so that their memory can be told."""
    loaded, ran = (_say(what, url, count, passes) for what in ("load", "run"))
    return Grown(engine, count, loaded["seconds"], ran["p50"], ran["longest"], ran["peak_mb"])


def _say(what: str, url: str, count: int, passes: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.instruments", what, url, str(count), str(passes)]
    said: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said


def _pipeline(url: str, count: int) -> Pipeline:
    return replace(pipeline_on(url), instruments=names(count))


def _load(url: str, count: int) -> dict[str, float]:
    start = time.perf_counter()
    backfill(_pipeline(url, count), H1, Window(market_hours.nth_candle_before(H1, END, HISTORY), END))
    return {"seconds": time.perf_counter() - start}


def _run(url: str, count: int, passes: int) -> dict[str, float]:
    took = []
    pipeline = _pipeline(url, count)
    for i, opened in enumerate(hours(0, passes + 1)):
        now = opened + timedelta(hours=1, minutes=5)
        start = time.perf_counter()
        process(pipeline, H1, now=now, deadline=Deadline.after(timedelta(minutes=5)))
        if i:  # the first one warms up
            took.append((time.perf_counter() - start) * 1000)
        tidied()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"p50": median(took), "longest": max(took), "peak_mb": peak}


if __name__ == "__main__":
    asked, url, count, passes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    print(json.dumps(_load(url, count) if asked == "load" else _run(url, count, passes)))
