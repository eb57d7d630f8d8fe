"""Filling partitions in this process: all of them are there behind it, once, and nothing is done twice."""

import os
from pathlib import Path

import dagster as dg
import pytest

from spike_assets.definitions import build_defs
from spike_assets.defs.materialize import QUICKLY, materialize_range
from spike_assets.errors import PermanentError, SourceError
from spike_assets.granularity import H1
from spike_assets_tests.defs.running import (
    KEYS,
    QUIET,
    ephemeral,
    memory_pipeline,
    metadata_of,
    passes,
    persistent,
    run,
)
from spike_assets_tests.defs.test_assets import FailingSource
from spike_assets_tests.support import hashes

STAGES = ("candles", "atr", "events", "features", "alerts")


def there(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey(["h1", asset]))


def test_every_partition_of_every_asset_is_there_behind_it(tmp_path: Path) -> None:
    pipeline, other = memory_pipeline(), memory_pipeline()
    defs = build_defs(pipeline=pipeline)
    with persistent(tmp_path) as instance:
        assert materialize_range(defs, H1, KEYS[0], KEYS[-1], instance) == len(KEYS)
        assert [there(instance, asset) for asset in STAGES] == [set(KEYS)] * 5
        (record,) = instance.get_run_records()
        assert record.dagster_run.job_name == "h1_pass"
        assert record.dagster_run.status == dg.DagsterRunStatus.SUCCESS
        assert sum(int(str(numbers["rows"].value)) for numbers in metadata_of(instance, "h1/atr").values()) > 0
        assert [each["trigger"] for each in passes(pipeline)] == ["backfill"]
        assert materialize_range(defs, H1, KEYS[0], KEYS[-1], instance) == 0
        assert len(instance.get_run_records()) == 1
    with ephemeral() as instance:
        run(other, KEYS, instance)
    assert hashes(pipeline, H1) == hashes(other, H1)


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    pipeline = memory_pipeline()
    defs = build_defs(pipeline=pipeline)
    with persistent(tmp_path) as instance:
        materialize_range(defs, H1, KEYS[2], KEYS[3], instance)
        # Half a partition is none.
        job = defs.resolve_job_def("h1_pass")
        job.execute_in_process(QUIET, instance, KEYS[5], asset_selection=[dg.AssetKey(["h1", "candles"])])
        assert materialize_range(defs, H1, KEYS[0], KEYS[6], instance) == 5
        ranges = {
            (run.tags["dagster/asset_partition_range_start"], run.tags["dagster/asset_partition_range_end"])
            for run in instance.get_runs()
            if "dagster/asset_partition_range_start" in run.tags
        }
    assert ranges == {(KEYS[2], KEYS[3]), (KEYS[0], KEYS[1]), (KEYS[4], KEYS[6])}


def test_a_failure_is_one_line_and_leaves_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")
    defs = build_defs(pipeline=memory_pipeline(FailingSource(SourceError("no such folder: /nowhere"))))
    with persistent(tmp_path) as instance, pytest.raises(PermanentError) as failed:
        materialize_range(defs, H1, KEYS[0], KEYS[1], instance)
    assert str(failed.value) == f"H1 {KEYS[0]} … {KEYS[1]}: no such folder: /nowhere"
    assert [os.environ.get(name) for name in QUICKLY] == [None, "7"]
