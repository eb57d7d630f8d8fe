"""Four granularities and a backfill, each in its own process, at once on one database: nothing is lost."""

import dataclasses
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe

import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window, candle_times, close_of, nth_candle_before
from spike_assets.pipeline import Pipeline, backfill, process
from spike_assets.pipeline.verify import verify
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.engines import DUCKDB, POSTGRES
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start
from spike_assets_tests.support import computed_hashes, hashes, make_pipeline, pending_marks, simulated

NAMES = ("EUR_USD", "USD_JPY")
BEGIN = datetime(2025, 3, 5, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
WARMUP = 80
OLDER = Window(datetime(2025, 1, 14, tzinfo=UTC), datetime(2025, 2, 20, tzinfo=UTC))


def pipeline_on(database: str) -> Pipeline:
    pipeline = make_pipeline(SimulatedSource(), database, NAMES, warmup=WARMUP)
    return dataclasses.replace(pipeline, clock=lambda: NOW)


def ticks(granularity: Granularity, n: int) -> list[datetime]:
    """Give the closes of the first n candles from the beginning on."""
    times = candle_times(granularity, Window(BEGIN, BEGIN + granularity.step * (n * 2 + 5)))[:n]
    return [close_of(granularity, time) for time in times.to_pydatetime()]


def run_ticks(end: Pipe, database: str, name: str, n: int) -> None:
    granularity = GRANULARITIES[name]
    pipeline = pipeline_on(database)
    _in_step(end, lambda: _ticks(pipeline, granularity, n))


def _ticks(pipeline: Pipeline, granularity: Granularity, n: int) -> None:
    for close in ticks(granularity, n):
        deadline = Deadline.after(timedelta(seconds=PATIENCE))
        result = process(pipeline, granularity, now=close + timedelta(minutes=5), deadline=deadline)
        assert result.status == "success"


def run_backfill(end: Pipe, database: str, chunk: int) -> None:
    backfill.CHUNK_TIMES = chunk
    pipeline = pipeline_on(database)
    _in_step(end, lambda: backfill.backfill(pipeline, H1, OLDER))


def _in_step(end: Pipe, work: Callable[[], object]) -> None:
    """Say that all is ready, begin when told, and tell what went wrong."""
    end.send("ready")
    end.recv()
    try:
        work()
    except BaseException:
        end.send(traceback.format_exc())
        raise
    end.send("done")


def everybody_at_once(database: str, counts: dict[str, int], chunk: int) -> list[str]:
    """Run a process per granularity and one more that backfills; give what each had to say."""
    pipes = [CONTEXT.Pipe() for _ in range(len(counts) + 1)]
    processes = [
        start(run_ticks, there, database, name, n) for (_, there), (name, n) in zip(pipes, counts.items(), strict=False)
    ]
    processes.append(start(run_backfill, pipes[-1][1], database, chunk))
    for here, _ in pipes:
        assert here.poll(PATIENCE)
        here.recv()
    for here, _ in pipes:
        here.send("go")
    said = [here.recv() if here.poll(PATIENCE * 10) else "silence" for here, _ in pipes]
    for process_ in processes:
        finished(process_)
    return said


def expected_of(granularity: Granularity, n: int) -> dict[str, str]:
    """Give what one clean run would end in."""
    closes = ticks(granularity, n)
    first = candle_times(granularity, Window(BEGIN, closes[-1]))[0].to_pydatetime()
    candles = simulated(granularity, NAMES, Window(nth_candle_before(granularity, first, WARMUP), closes[-1]))
    if granularity is H1:
        candles = pd.concat([simulated(granularity, NAMES, OLDER), candles], ignore_index=True)
    return computed_hashes(candles, granularity, NOW + timedelta(days=4000))


@pytest.mark.parametrize(("engine", "counts"), [(DUCKDB, (8, 6, 5, 4)), (POSTGRES, (5, 4, 3, 2))])
def test_everybody_at_once(database: str, counts: tuple[int, ...]) -> None:
    everybody_ends_well(database, dict(zip(GRANULARITIES, counts, strict=True)), 160)


def everybody_ends_well(database: str, counts: dict[str, int], chunk: int) -> None:
    """Run everybody at once; nothing may be lost, left over or wrong."""
    assert everybody_at_once(database, counts, chunk) == ["done"] * 5
    pipeline = pipeline_on(database)
    for name, n in counts.items():
        granularity = GRANULARITIES[name]
        assert pending_marks(pipeline, granularity) == 0
        assert hashes(pipeline, granularity) == expected_of(granularity, n), name
        assert verify(pipeline, granularity).difference is None
