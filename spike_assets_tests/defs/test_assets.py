"""Assets are thin: any way of running them gives the tables of `process`, and Dagster is told what happened."""

import gc
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs import assets as assets_module
from spike_assets.defs import faults
from spike_assets.defs.assets import granularity_assets
from spike_assets.errors import SourceError, SpikeError, TransientError
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.pipeline import Pipeline, process
from spike_assets.sources.base import Fetched
from spike_assets.store.tables import TABLES
from spike_assets_tests.defs.running import (
    CLOSED,
    INSTRUMENTS,
    KEYS,
    STRETCH,
    ephemeral,
    market,
    memory_pipeline,
    metadata_of,
    passes,
    run,
    state,
)
from spike_assets_tests.support import FOREVER, FrameSource, hashes

STAGES = ("candles", "atr", "events", "features", "alerts")
SINGLES = 8
"""So many of the last partitions, over the weekend, are run one by one."""


class FailingSource(FrameSource):
    """Raises what a test lines up, then gives candles; remembers the deadlines that it was told."""

    def __init__(self, *errors: SpikeError) -> None:
        super().__init__(market().candles)
        self.errors = list(errors)
        self.deadlines: list[Deadline] = []

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        self.deadlines.append(deadline)
        if self.errors:
            raise self.errors.pop(0)
        return super().fetch(granularity, windows, now=now, deadline=deadline)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)


def by_process() -> Pipeline:
    pipeline = memory_pipeline()
    for open_ in candle_times(H1, STRETCH).to_pydatetime():
        process(pipeline, H1, now=close_of(H1, open_) + timedelta(minutes=5))
    return pipeline


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return hashes(by_process(), H1)


def test_one_range_run_is_every_hours_pass(instance: dg.DagsterInstance, expected: dict[str, str]) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS, instance)
    assert hashes(pipeline, H1) == expected


def test_partition_by_partition_is_every_hours_pass(instance: dg.DagsterInstance, expected: dict[str, str]) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS[:-SINGLES], instance)
    for key in KEYS[-SINGLES:]:
        run(pipeline, [key], instance)
    assert hashes(pipeline, H1) == expected


def test_newest_partitions_first_is_every_hours_pass(instance: dg.DagsterInstance, expected: dict[str, str]) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS[-SINGLES:], instance)
    run(pipeline, KEYS[:-SINGLES], instance)
    assert hashes(pipeline, H1) == expected


def test_rerun_changes_nothing(instance: dg.DagsterInstance, expected: dict[str, str]) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS, instance)
    done = state(pipeline)
    run(pipeline, KEYS, instance)
    run(pipeline, KEYS[5:6], instance)
    assert hashes(pipeline, H1) == expected
    assert [each["status"] for each in passes(pipeline)] == ["success", "no_new_data", "no_new_data"]
    for asset in STAGES:
        assert metadata_of(instance, f"h1/{asset}", newest=1)[KEYS[5]]["changed"].value == 0
    again = state(pipeline)
    assert done and again  # noqa: PT018
    assert (again.last_processed, again.total_events_detected) == (done.last_processed, done.total_events_detected)


def test_numbers_are_those_of_each_partition_of_a_range_run(instance: dg.DagsterInstance) -> None:
    source = market()
    frame = source.candles
    late = frame["time"] == frame["time"].unique()[7]
    source.candles = frame[~(late & (frame["instrument"] == "EUR_USD"))]
    bad = (frame["time"] == frame["time"].unique()[9]) & (frame["instrument"] == "USD_JPY")
    source.candles.loc[bad, "high"] = -1.0
    pipeline = memory_pipeline(source)
    run(pipeline, KEYS, instance)
    candles = metadata_of(instance, "h1/candles")
    assert candles.keys() == set(KEYS)
    rows = {key: numbers["rows"].value for key, numbers in candles.items()}
    assert {key for key, n in rows.items() if n == 0} == CLOSED
    assert (rows[KEYS[7]], rows[KEYS[8]], rows[KEYS[9]]) == (2, 3, 2)
    assert [numbers["quarantined"].value for numbers in candles.values()].count(1) == 1
    assert candles[KEYS[9]]["quarantined"].value == 1
    for numbers in candles.values():
        assert numbers["changed"] == numbers["rows"] == numbers["dagster/partition_row_count"]
        assert "preview" not in numbers
        assert numbers["window"].value == "2025-10-31 00:00 – 2025-11-03 04:00 UTC"
        assert isinstance(numbers["run"], dg.JsonMetadataValue)
    events = metadata_of(instance, "h1/events")
    found = state(pipeline)
    assert found
    assert sum(int(str(numbers["rows"].value)) for numbers in events.values()) == found.total_events_detected > 0


def test_a_very_long_range_run_tells_no_numbers_per_partition(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets_module, "MOST_PLOTTED", 2)
    run(memory_pipeline(), KEYS[:3], instance)
    told = metadata_of(instance, "h1/candles")
    assert told.keys() == set(KEYS[:3])
    assert all(numbers.keys() == {"window", "run", "changed_range"} for numbers in told.values())


def test_a_single_partition_shows_its_rows(instance: dg.DagsterInstance) -> None:
    pipeline = memory_pipeline()
    pipeline.source.candles = pipeline.source.candles.query("instrument != 'GBP_USD'")  # type: ignore[attr-defined]
    run(pipeline, KEYS[:1], instance)
    shown = metadata_of(instance, "h1/candles")[KEYS[0]]
    assert str(shown["preview"].value).splitlines()[:2] == [
        "| instrument | open | high | low | close | volume |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    assert str(shown["preview"].value).splitlines()[2].startswith("| EUR_USD | ")
    assert shown["unavailable"].value == "GBP_USD"
    assert (shown["rows"].value, shown["changed"].value) == (2, 2)
    assert shown["changed_range"].value == "2025-10-31 00:00 – 2025-10-31 00:00 UTC"
    assert metadata_of(instance, "h1/events")[KEYS[0]]["preview"].value == "no events at this time"


def test_missing_instruments_are_named(instance: dg.DagsterInstance) -> None:
    source = market()
    source.candles = source.candles[
        ~((source.candles["instrument"] == "USD_JPY") & (source.candles["time"] == STRETCH.start))
    ]
    run(memory_pipeline(source), KEYS[:1], instance)
    assert metadata_of(instance, "h1/candles")[KEYS[0]]["missing"].value == "USD_JPY"


@pytest.mark.parametrize(
    ("tags", "trigger"),
    [
        ({}, "ui"),
        ({"dagster/schedule_name": "h1_schedule"}, "schedule"),
        ({"dagster/backfill": "abc"}, "backfill"),
        ({"spike/trigger": "backfill"}, "backfill"),
    ],
)
def test_the_pass_is_recorded(instance: dg.DagsterInstance, tags: dict[str, str], trigger: str) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS[:1], instance, tags=tags)
    (recorded,) = passes(pipeline)
    assert (recorded["trigger"], recorded["status"]) == (trigger, "success")
    with pipeline.store.reading(FOREVER) as session:  # the dashboard links to the run
        assert session.queries.passes(H1, 1)["pass_id"].tolist() == [instance.get_runs()[0].run_id]
    assert tuple(json.loads(recorded["stages"])) == STAGES
    after = state(pipeline)
    assert after
    assert (after.last_processed, after.last_success) == (STRETCH.start + timedelta(hours=1), STRETCH.end)


def test_only_a_run_of_all_stages_moves_last_processed(instance: dg.DagsterInstance) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS[:1], instance)
    before = state(pipeline)
    run(pipeline, KEYS[1:2], instance, asset_selection=[dg.AssetKey(["h1", "features"])])
    run(pipeline, KEYS[1:2], instance, asset_selection=[dg.AssetKey(["h1", "candles"])])
    assert state(pipeline) == before
    assert len(passes(pipeline)) == 1


def test_a_transient_fault_is_tried_again_under_the_same_deadline(instance: dg.DagsterInstance) -> None:
    source = FailingSource(TransientError("the broker is away"), TransientError("the broker is away"))
    pipeline = memory_pipeline(source)
    assert run(pipeline, KEYS[:1], instance).success
    assert len(source.deadlines) == 3
    assert len({deadline.at for deadline in source.deadlines}) == 1
    assert [each["status"] for each in passes(pipeline)] == ["success"]


def test_a_transient_fault_that_stays_fails_after_the_retries(instance: dg.DagsterInstance) -> None:
    source = FailingSource(*[TransientError("the broker is away")] * 9)
    pipeline = memory_pipeline(source)
    result = run(pipeline, KEYS[:1], instance, raise_on_error=False)
    assert failure_text(result) == "the broker is away"
    assert len(source.deadlines) == 1 + H1.retries
    assert [(each["status"], each["error"]) for each in passes(pipeline)] == [("failed", "the broker is away")]
    after = state(pipeline)
    assert after
    assert (after.consecutive_failures, after.last_processed) == (1, None)


def test_a_permanent_fault_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    source = FailingSource(SourceError("no such folder: /nowhere"))
    pipeline = memory_pipeline(source)
    result = run(pipeline, KEYS[:1], instance, raise_on_error=False)
    assert failure_text(result) == "no such folder: /nowhere"
    assert len(source.deadlines) == 1
    assert [event.step_key for event in result.get_step_failure_events()] == ["h1__candles"]
    assert [each["status"] for each in passes(pipeline)] == ["failed"]


def test_nothing_is_tried_again_when_the_time_is_up(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "RETRY_SECONDS", H1.timeout.total_seconds() + 1)
    source = FailingSource(TransientError("the broker is away"))
    result = run(memory_pipeline(source), KEYS[:1], instance, raise_on_error=False)
    assert failure_text(result) == "the broker is away"
    assert len(source.deadlines) == 1


def test_a_broken_promise_stops_everything_downstream(instance: dg.DagsterInstance) -> None:
    pipeline = memory_pipeline()
    run(pipeline, KEYS[:2], instance)
    with pipeline.store.writing(Deadline.after(timedelta(seconds=9)), "a test") as session:
        session._connection.execute(
            "UPDATE h1.candles SET low = high + 1, fetched_at = TIMESTAMPTZ '2030-01-01' WHERE instrument = 'EUR_USD'"
        )
    result = run(pipeline, KEYS[:1], instance, raise_on_error=False)
    assert not result.success
    assert [event.step_key for event in result.get_step_failure_events()] == ["h1__candles"]
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "promises"]
    assert (evaluation.passed, evaluation.description) == (False, "1 × prices out of order")


def failure_text(result: dg.ExecuteInProcessResult) -> str | None:
    (failed,) = result.get_step_failure_events()
    described = failed.step_failure_data.user_failure_data
    return described.description if described else None


def test_twenty_assets_are_declared_alike() -> None:
    graph = build_defs(pipeline=memory_pipeline()).resolve_asset_graph()
    keys = {f"{g.schema}/{stage}" for g in GRANULARITIES.values() for stage in STAGES}
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == keys
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        schema, name = key.path
        assert (node.group_name, node.owners) == (schema, ["team:spike"])
        assert node.kinds == {"duckdb", "pandas"}
        assert (node.description or "").startswith(f"{schema.upper()}: ")
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        assert [parent.path[0] for parent in node.parent_keys] == [schema] * len(node.parent_keys)
        columns = node.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(TABLES[name].names)
        assert all(column.description for column in columns)


def test_upstream_is_what_a_stage_reads() -> None:
    (candles, atr, events, features, alerts) = granularity_assets(H1, STRETCH.start)
    assert not list(candles.dependency_keys)
    assert {key.path[1] for key in atr.dependency_keys} == {"candles"}
    assert {key.path[1] for key in events.dependency_keys} == {"candles", "atr"}
    assert {key.path[1] for key in features.dependency_keys} == {"candles", "events"}
    assert {key.path[1] for key in alerts.dependency_keys} == {"candles", "events", "features"}


def test_instruments_are_all_that_a_pass_asks_for(instance: dg.DagsterInstance) -> None:
    source = market()
    run(memory_pipeline(source), KEYS[:1], instance)
    assert [sorted(windows) for windows in source.asked] == [sorted(INSTRUMENTS)]


def test_the_garbage_collector_rests_while_a_stage_works() -> None:
    resting: list[bool] = []

    class Noting(FrameSource):
        def fetch(self, *args: Any, **how: Any) -> Fetched:
            resting.append(not gc.isenabled())
            return super().fetch(*args, **how)

    with ephemeral() as instance:
        run(memory_pipeline(Noting(market().candles)), KEYS[:1], instance)
    assert resting == [True]
    assert gc.isenabled()
