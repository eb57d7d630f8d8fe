"""Two schedulers that fire the same tick at once, in two processes: one set of rows, and both end well."""

from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, nth_candle_before
from spike_assets.pipeline import process
from spike_assets.store.ops_tables import PASSES
from spike_assets_tests.engines import on_both
from spike_assets_tests.faults.brokers import AFTER_CLOSE, FOREVER, Market, live, oanda_of
from spike_assets_tests.oanda_server import Clock
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start
from spike_assets_tests.support import hashes, make_pipeline, pending_marks, plain

END = datetime(2025, 3, 12, tzinfo=UTC)


def bare(end: Pipe, url: str, database: str, folder: Path, market: Market) -> None:
    """Run a pass per tick, each when told."""
    source = oanda_of(url, folder)
    pipeline = make_pipeline(source, database, market.instruments, history_start=market.window.start)
    end.send("ready")
    while (tick := end.recv()) is not None:
        end.send(process(pipeline, H1, now=tick, trigger="schedule").status)


def with_dagster(end: Pipe, url: str, database: str, folder: Path, market: Market) -> None:
    """Let the schedule's tick ask, and run what it asks for, each when told."""
    import warnings

    warnings.simplefilter("ignore")  # Dagster's own; what is looked at here is rows
    from dagster import DagsterInstance, RunRequest

    from spike_assets.definitions import build_defs
    from spike_assets.defs.schedules import request

    clock = Clock(END)
    pipeline = make_pipeline(
        oanda_of(url, folder), database, market.instruments, history_start=market.window.start, clock=clock
    )
    job = build_defs(pipeline=pipeline).resolve_job_def("h1_pass")
    with DagsterInstance.ephemeral() as instance:
        end.send("ready")
        while (tick := end.recv()) is not None:
            clock.set(tick)
            asked = request(pipeline, H1, tick)
            if not isinstance(asked, RunRequest):
                end.send("skipped")
                continue
            done = job.execute_in_process(partition_key=asked.partition_key, tags=asked.tags, instance=instance)
            end.send("success" if done.success else "failed")


@pytest.mark.parametrize(("engine", "scheduler", "ticks"), on_both((bare, 5), (with_dagster, 3), suite=[(bare, 5)]))
def test_the_same_tick_twice_at_once(scheduler: object, ticks: int, database: str, tmp_path: Path) -> None:
    market = Market(H1, Window(nth_candle_before(H1, END, 60), END))
    with live(market, database, tmp_path) as platform:
        platform.load(market.opens[-ticks])
        pipes = [CONTEXT.Pipe() for _ in range(2)]
        told = [start(scheduler, there, platform.server.url, database, tmp_path, market) for _, there in pipes]  # type: ignore[arg-type]
        said = [hear(here) for here, _ in pipes]
        assert said == ["ready", "ready"]
        for close in market.closes[-ticks:]:
            platform.clock.set(close + AFTER_CLOSE)
            for here, _ in pipes:
                here.send(platform.clock())
            both = sorted(str(hear(here)) for here, _ in pipes)
            assert both in (["no_new_data", "success"], ["success", "success"], ["skipped", "success"])
        for here, _ in pipes:
            here.send(None)
        assert [finished(process_) for process_ in told] == [0, 0]
        assert pending_marks(platform.pipeline, H1) == 0
        assert hashes(platform.pipeline, H1) == market.expected
        with platform.pipeline.store.reading(FOREVER) as session:
            passes = plain(session._connection.frame("SELECT * FROM ops.passes", PASSES.columns))
    live_ones = [row for row in passes if row["trigger"] != "backfill"]
    assert {row["status"] for row in live_ones} <= {"success", "no_new_data"}
    assert sum(row["candles"] for row in live_ones) == ticks * len(market.instruments)


def hear(end: Pipe) -> object:
    assert end.poll(PATIENCE), "a scheduler says nothing"
    return end.recv()
