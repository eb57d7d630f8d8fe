"""One job per granularity: all its assets, its partitions, in one process, without Dagster's own retries."""

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.defs.partitions import partitions
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets_tests.defs.running import STRETCH, memory_pipeline

EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def job_of(granularity: Granularity) -> dg.JobDefinition:
    return build_defs(pipeline=memory_pipeline()).resolve_job_def(f"{granularity.schema}_pass")


@EVERY
def test_a_pass_is_all_assets_of_a_granularity(granularity: Granularity) -> None:
    job = job_of(granularity)
    keys = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert keys == {f"{granularity.schema}/{name}" for name in ("candles", "atr", "events", "features", "alerts")}
    assert job.partitions_def == partitions(granularity, STRETCH.start)


@EVERY
def test_a_pass_runs_in_one_process(granularity: Granularity) -> None:
    job = job_of(granularity)
    assert job.executor_def is dg.in_process_executor
    assert job.run_tags["dagster/max_runtime"] == str(int(granularity.timeout.total_seconds()) + 10)


@EVERY
def test_nothing_has_a_retry_policy(granularity: Granularity) -> None:
    # In-process it swallows the interrupt of a timeout, and retries what can never work.
    assert [node.retry_policy for node in job_of(granularity).nodes] == [None] * 6


@EVERY
def test_warnings_come_last(granularity: Granularity) -> None:
    job = job_of(granularity)
    priorities = {node.name: int(node.definition.tags.get("dagster/priority", "0")) for node in job.nodes}
    assert min(priorities, key=lambda name: priorities[name]) == f"{granularity.schema}_warnings"
    assert sorted(priorities.values()) == [-1, 0, 0, 0, 0, 0]
