"""Stores of a known size to measure on, filled once per run with simulated candles."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from spike_assets import market_hours
from spike_assets.granularity import H1
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store

END = datetime(2026, 6, 1, tzinfo=UTC)
"""Where the stores' history ends, and the measured passes begin."""


@dataclass(frozen=True)
class Filled:
    """A filled store, and what filling it took."""

    path: Path
    candles: int
    seconds: float
    peak_mb: float
    stage_seconds: dict[str, float]
    megabytes: float


def pipeline_on(path: Path | str) -> Pipeline:
    """Give a pipeline of the 29 instruments on a database."""
    return Pipeline(
        source=SimulatedSource(),
        store=open_store(str(path)),
        instruments=INSTRUMENTS,
        history_start=market_hours.nth_candle_before(H1, END, 2_000),
    )


def fill(path: Path, candles: int) -> Filled:
    """Backfill so many H1 candles of each instrument, in a process of its own so that its memory can be told."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.stores", str(path), str(candles)], check=True, capture_output=True, text=True
    )
    return replace(Filled(**json.loads(run.stdout)), path=path)


def _fill_here(path: Path, candles: int) -> dict[str, object]:
    start = time.perf_counter()
    result = backfill(pipeline_on(path), H1, Window(market_hours.nth_candle_before(H1, END, candles), END))
    return {
        "path": str(path),
        "candles": next(total.added for total in result.totals if total.stage == "candles"),
        "seconds": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stage_seconds": {total.stage: total.milliseconds / 1000 for total in result.totals},
        "megabytes": path.stat().st_size / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_fill_here(Path(sys.argv[1]), int(sys.argv[2]))))
