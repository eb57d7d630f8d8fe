"""The resource: one pipeline, one deadline per run, connections through the store only."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_duckdb import DuckDBResource

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs.resources import PipelineResource, max_runtime, time_limit
from spike_assets.granularity import GRANULARITIES, H1, Granularity, W
from spike_assets.market_hours import Window
from spike_assets.sources.base import Fetched
from spike_assets_tests.defs.running import KEYS, ephemeral, market, memory_pipeline, run
from spike_assets_tests.support import FrameSource


class WatchingSource(FrameSource):
    """Notes how many seconds it was given."""

    def __init__(self) -> None:
        super().__init__(market().candles)
        self.given: list[float] = []

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: object, deadline: Deadline
    ) -> Fetched:
        self.given.append(deadline.remaining())
        return super().fetch(granularity, windows, now=now, deadline=deadline)  # type: ignore[arg-type]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.mark.parametrize(("partitions", "h1", "w"), [(1, 30.0, 60.0), (2, 31.0, 61.0), (500, 280.0, 310.0)])
def test_a_range_run_may_take_longer(partitions: int, h1: float, w: float) -> None:
    assert time_limit(H1, partitions) == timedelta(seconds=h1)
    assert time_limit(W, partitions) == timedelta(seconds=w)


def test_dagsters_limit_is_ours_in_whole_seconds() -> None:
    assert [max_runtime(H1, n) for n in (1, 2, 3, 500)] == ["40", "41", "42", "290"]


def test_it_is_configured_like_a_duckdb_resource(tmp_path: Path) -> None:
    pipeline = memory_pipeline()
    resource = PipelineResource.over(pipeline)
    assert isinstance(resource, DuckDBResource)
    assert resource.database == pipeline.store.url
    assert resource.get() is pipeline
    elsewhere = PipelineResource(database=str(tmp_path / "other.duckdb"), pipeline=pipeline)
    assert elsewhere.get().store.url == str(tmp_path / "other.duckdb")
    assert elsewhere.get().source is pipeline.source


def test_it_opens_no_connection_itself() -> None:
    with (
        pytest.raises(NotImplementedError, match="open the store"),
        PipelineResource.over(memory_pipeline()).get_connection(),
    ):
        pass


def test_run_config_has_the_database_and_nothing_secret() -> None:
    definition = build_defs(pipeline=memory_pipeline()).get_repository_def().get_top_level_resources()["pipeline"]
    assert set(definition.config_schema.config_type.fields) == {"database", "connection_config"}  # type: ignore[union-attr]
    assert definition.config_schema.default_value == {"database": "memory"}


def test_a_run_has_the_granularitys_timeout(instance: dg.DagsterInstance) -> None:
    source = WatchingSource()
    result = run(memory_pipeline(source), KEYS[:1], instance)
    (given,) = source.given
    assert 20 < given <= H1.timeout.total_seconds()
    assert tag_of(instance, result) == "40"


def test_a_range_run_has_half_a_second_more_per_partition(instance: dg.DagsterInstance) -> None:
    source = WatchingSource()
    run(memory_pipeline(source), KEYS[:8], instance)
    assert H1.timeout.total_seconds() < source.given[0] <= 34


def test_the_backstop_of_a_run_that_others_launch_is_raised(instance: dg.DagsterInstance) -> None:
    source = WatchingSource()
    result = run(memory_pipeline(source), KEYS[:8], instance, tags={"dagster/max_runtime": "30"})
    assert tag_of(instance, result) == "44"


def test_no_step_outlives_the_run(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spike_assets.defs.resources.time_limit", lambda *_: timedelta(0))
    result = run(memory_pipeline(), KEYS[:1], instance, raise_on_error=False)
    (failed,) = result.get_step_failure_events()
    described = failed.step_failure_data.user_failure_data
    assert described
    assert described.description == "out of time before asking; the next pass goes on from here"


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_a_job_carries_its_granularitys_timeout(granularity: Granularity) -> None:
    job = build_defs(pipeline=memory_pipeline()).resolve_job_def(f"{granularity.schema}_pass")
    assert job.run_tags["dagster/max_runtime"] == str(int(granularity.timeout.total_seconds()) + 10)


def tag_of(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    found = instance.get_run_by_id(result.run_id)
    assert found
    return found.tags["dagster/max_runtime"]
