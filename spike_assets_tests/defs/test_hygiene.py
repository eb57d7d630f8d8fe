"""Retries and time limits: sources that hang, stores that stay locked, brokers that are wrong, processes that die."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs import faults, resources
from spike_assets.defs import reconcile as reconcile_module
from spike_assets.errors import SourceError, TransientError
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, records
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Store
from spike_assets_tests.defs.running import INSTRUMENTS, KEYS, QUIET, ephemeral, market, passes, run, state
from spike_assets_tests.defs.test_assets import FailingSource, failure_text
from spike_assets_tests.engines import DUCKDB, database, engine
from spike_assets_tests.postgres import postgres, server
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, make_pipeline

__all__ = ["database", "engine", "postgres", "server"]

ROOT = Path(__file__).parents[2]
LIMIT = timedelta(seconds=0.5)
JOBS = pytest.mark.parametrize("job", ["h1_pass", "h1_reconcile"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture
def shorten(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give every run half a second from now on, and what comes behind it less."""

    def set_limits() -> None:
        monkeypatch.setattr(resources, "time_limit", lambda *_: LIMIT)
        monkeypatch.setattr(reconcile_module, "time_limit", lambda *_: LIMIT)
        monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)
        monkeypatch.setattr(records, "_RECORD_FAILURE", LIMIT / 10)

    return set_limits


def pipeline_over(source: FrameSource, store: Store | str) -> Pipeline:
    """Give a pipeline that has its first partition, so that there is something to reconcile, and no candle after it."""
    settings = {"history_start": datetime.fromisoformat(KEYS[0])}
    clock = datetime.fromisoformat(KEYS[2])
    pipeline = make_pipeline(market(), store, INSTRUMENTS, **settings, clock=lambda: clock)
    with ephemeral() as instance:
        run(pipeline, KEYS[:1], instance)
    object.__setattr__(pipeline, "source", source)
    return pipeline


def launch(pipeline: Pipeline, job: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    if job == "h1_pass":
        return run(pipeline, KEYS[1:2], instance, raise_on_error=False)
    definition = build_defs(pipeline=pipeline).resolve_job_def(job)
    return definition.execute_in_process(QUIET, instance, raise_on_error=False)


def retries(result: dg.ExecuteInProcessResult) -> int:
    return len(result.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY))


class Hanging(FailingSource):
    """Answers nothing until its time is up; or gives up sooner, time and again."""

    def __init__(self, patience: timedelta | None = None) -> None:
        super().__init__()
        self.patience = patience

    def fetch(
        self,
        granularity: Granularity,  # noqa: ARG002
        windows: Mapping[str, Window],  # noqa: ARG002
        *,
        now: datetime,  # noqa: ARG002
        deadline: Deadline,
    ) -> Fetched:
        self.deadlines.append(deadline)
        gives_up = Deadline.after(self.patience) if self.patience else deadline
        while gives_up.remaining():
            deadline.check("an answer")
            time.sleep(0.005)
        deadline.check("an answer")
        raise TransientError("the broker does not answer")


@JOBS
def test_a_source_that_hangs_ends_the_run_when_its_time_is_up(
    job: str, instance: dg.DagsterInstance, shorten: Callable[[], None]
) -> None:
    source = Hanging()
    pipeline = pipeline_over(source, Store(MemoryEngine()))
    shorten()
    result = launch(pipeline, job, instance)
    assert failure_text(result) == "out of time before an answer; the next pass goes on from here"
    (deadline,) = source.deadlines
    assert deadline.remaining() == 0
    assert retries(result) == 0
    assert [each["status"] for each in passes(pipeline)] == ["success", "failed"]
    after = state(pipeline)
    assert after
    assert after.running is None


@JOBS
def test_attempts_share_the_limit_and_are_few(
    job: str, instance: dg.DagsterInstance, shorten: Callable[[], None]
) -> None:
    source = Hanging(timedelta(seconds=0.001))
    pipeline = pipeline_over(source, Store(MemoryEngine()))
    shorten()
    result = launch(pipeline, job, instance)
    assert failure_text(result) in (
        "the broker does not answer",
        "out of time before an answer; the next pass goes on from here",
    )
    assert retries(result) == len(source.deadlines) - 1 <= H1.retries
    assert len({deadline.at for deadline in source.deadlines}) == 1


@JOBS
def test_a_store_that_stays_locked_fails_with_its_holders_name(
    job: str, instance: dg.DagsterInstance, engine: str, database: str, shorten: Callable[[], None]
) -> None:
    pipeline = pipeline_over(market(), database)
    shorten()
    other = make_pipeline(market(), database, INSTRUMENTS)
    with other.changing(H1, FOREVER, "a very long backfill"):
        result = launch(pipeline, job, instance)
    said = failure_text(result)
    assert said
    assert f" is in use by a very long backfill ({'process ' * (engine == DUCKDB)}" in said
    assert str(os.getpid()) in said
    assert retries(result) <= H1.retries
    # A DuckDB file lets nobody in, not even to note that.
    statuses = [each["status"] for each in passes(pipeline)]
    assert statuses == (["success"] if engine == DUCKDB else ["success", "failed"])


@JOBS
def test_a_broker_that_is_wrong_for_good_is_asked_once(job: str, instance: dg.DagsterInstance) -> None:
    source = FailingSource(*[SourceError("the token is wrong")] * 3)
    result = launch(pipeline_over(source, Store(MemoryEngine())), job, instance)
    assert failure_text(result) == "the token is wrong"
    assert (len(source.deadlines), retries(result)) == (1, 0)
