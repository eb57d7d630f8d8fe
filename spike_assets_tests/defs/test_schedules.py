"""What each tick asks for, in both seasons, over weekends and after gaps; late ticks and runs under way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs import schedules
from spike_assets.defs.jobs import pass_name
from spike_assets.defs.partitions import partition_times
from spike_assets.defs.resources import PipelineResource
from spike_assets.defs.schedules import request, run_window
from spike_assets.errors import StoreLockedError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.passes import MOST_CANDLES
from spike_assets_tests.defs.running import keys_of, market, memory_pipeline, persistent, run, set_processed
from spike_assets_tests.support import make_pipeline

START = datetime(2024, 6, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def pipeline_done(granularity: Granularity, until: str | None, start: datetime = START) -> Pipeline:
    pipeline = memory_pipeline(history_start=start)
    if until:
        set_processed(pipeline, granularity, utc(until))
    return pipeline


def asked(pipeline: Pipeline, granularity: Granularity, at: str, *under_way: Window) -> tuple[str, ...]:
    """Give the one key, both ends of a range, or the reason to skip."""
    answer = request(pipeline, granularity, utc(at), under_way)
    if isinstance(answer, dg.SkipReason):
        return (str(answer.skip_message),)
    if answer.partition_key:
        return (answer.partition_key,)
    return answer.tags["dagster/asset_partition_range_start"], answer.tags["dagster/asset_partition_range_end"]


@pytest.mark.parametrize(
    ("granularity", "done", "tick", "expected"),
    [
        # A weekend in winter: Friday closes at 22:00, Sunday opens at 22:00; Sunday's 21:00 is a closed partition.
        (H1, "2025-01-17 19:00", "2025-01-17 20:05", ["2025-01-17T19:00+0000"]),
        (H1, "2025-01-17 20:00", "2025-01-17 21:05", ["2025-01-17T20:00+0000"]),
        (H1, "2025-01-17 21:00", "2025-01-17 22:05", ["2025-01-17T21:00+0000"]),
        (H1, "2025-01-17 22:00", "2025-01-17 23:05", ["no new candle: H1 next closes 2025-01-19 23:00 UTC"]),
        (H1, "2025-01-17 22:00", "2025-01-18 05:05", ["no new candle: H1 next closes 2025-01-19 23:00 UTC"]),
        (H1, "2025-01-17 22:00", "2025-01-19 22:05", ["no new candle: H1 next closes 2025-01-19 23:00 UTC"]),
        (H1, "2025-01-17 22:00", "2025-01-19 23:05", ["2025-01-19T21:00+0000", "2025-01-19T22:00+0000"]),
        (H1, "2025-01-19 23:00", "2025-01-20 00:05", ["2025-01-19T23:00+0000"]),
        # In summer: Friday closes at 21:00, its 21:00 is a closed partition; Sunday opens at 21:00.
        (H1, "2025-07-18 19:00", "2025-07-18 20:05", ["2025-07-18T19:00+0000"]),
        (H1, "2025-07-18 20:00", "2025-07-18 21:05", ["2025-07-18T20:00+0000"]),
        (H1, "2025-07-18 21:00", "2025-07-18 22:05", ["no new candle: H1 next closes 2025-07-20 22:00 UTC"]),
        (H1, "2025-07-18 21:00", "2025-07-19 05:05", ["no new candle: H1 next closes 2025-07-20 22:00 UTC"]),
        (H1, "2025-07-18 21:00", "2025-07-20 21:05", ["no new candle: H1 next closes 2025-07-20 22:00 UTC"]),
        (H1, "2025-07-18 21:00", "2025-07-20 22:05", ["2025-07-18T21:00+0000", "2025-07-20T21:00+0000"]),
        # Over both changes of clocks.
        (H1, "2025-03-07 22:00", "2025-03-09 22:05", ["2025-03-09T21:00+0000"]),
        (H1, "2025-10-31 21:00", "2025-11-02 23:05", ["2025-10-31T21:00+0000", "2025-11-02T22:00+0000"]),
        # H4: the first cron is on time in summer, the second in winter; the other one of each pair costs nothing.
        (H4, "2025-07-16 13:00", "2025-07-16 17:05", ["2025-07-16T09:00-0400"]),
        (H4, "2025-07-16 17:00", "2025-07-16 18:05", ["no new candle: H4 next closes 2025-07-16 21:00 UTC"]),
        (H4, "2025-01-15 14:00", "2025-01-15 17:05", ["no new candle: H4 next closes 2025-01-15 18:00 UTC"]),
        (H4, "2025-01-15 14:00", "2025-01-15 18:05", ["2025-01-15T09:00-0500"]),
        (H4, "2025-01-17 22:00", "2025-01-19 22:05", ["no new candle: H4 next closes 2025-01-20 02:00 UTC"]),
        (H4, "2025-03-07 22:00", "2025-03-10 01:05", ["2025-03-09T17:00-0400"]),
        (H4, "2025-10-31 21:00", "2025-11-03 02:05", ["2025-11-02T17:00-0500"]),
        # D, the same.
        (D, "2025-07-15 21:00", "2025-07-16 21:05", ["2025-07-15T17:00-0400"]),
        (D, "2025-07-16 21:00", "2025-07-16 22:05", ["no new candle: D next closes 2025-07-17 21:00 UTC"]),
        (D, "2026-01-14 22:00", "2026-01-15 21:05", ["no new candle: D next closes 2026-01-15 22:00 UTC"]),
        (D, "2026-01-14 22:00", "2026-01-15 22:05", ["2026-01-14T17:00-0500"]),
        (D, "2025-07-18 21:00", "2025-07-19 21:05", ["no new candle: D next closes 2025-07-21 21:00 UTC"]),
        (D, "2025-07-18 21:00", "2025-07-20 22:05", ["no new candle: D next closes 2025-07-21 21:00 UTC"]),
        # W: closed since Friday.
        (W, "2025-07-11 21:00", "2025-07-20 21:05", ["2025-07-11T17:00-0400"]),
        (W, "2025-01-10 22:00", "2025-01-19 21:05", ["2025-01-10T17:00-0500"]),
        (W, "2025-01-17 22:00", "2025-01-19 21:05", ["no new candle: W next closes 2025-01-24 22:00 UTC"]),
        # Gaps.
        (H1, "2025-07-15 10:00", "2025-07-15 13:05", ["2025-07-15T10:00+0000", "2025-07-15T12:00+0000"]),
        (H1, "2025-07-17 10:00", "2025-07-21 03:05", ["2025-07-17T10:00+0000", "2025-07-21T02:00+0000"]),
        (D, "2025-07-10 21:00", "2025-07-16 21:05", ["2025-07-10T17:00-0400", "2025-07-15T17:00-0400"]),
        # Nothing was ever processed: the newest candle only.
        (H1, None, "2025-07-16 10:05", ["2025-07-16T09:00+0000"]),
        (H1, None, "2025-07-19 05:05", ["2025-07-18T20:00+0000"]),
        (W, None, "2025-07-20 21:05", ["2025-07-11T17:00-0400"]),
    ],
    ids=str,
)
def test_a_tick(granularity: Granularity, done: str | None, tick: str, expected: list[str]) -> None:
    assert list(asked(pipeline_done(granularity, done), granularity, tick)) == expected


def test_a_long_gap_is_worked_off_oldest_first() -> None:
    done, at = utc("2025-01-06 00:00"), utc("2025-03-06 10:05")
    pipeline = pipeline_done(H1, "2025-01-06 00:00")
    answer = request(pipeline, H1, at)
    assert isinstance(answer, dg.RunRequest)
    window = run_window(H1, answer.tags)
    assert window
    assert len(partition_times(H1, window)) == MOST_CANDLES
    assert window.start == done
    assert answer.tags["dagster/max_runtime"] == "290"
    set_processed(pipeline, H1, window.end)
    behind = request(pipeline, H1, at)
    assert isinstance(behind, dg.RunRequest)
    following = run_window(H1, behind.tags)
    assert following
    assert following.start == window.end


def test_limits_go_with_the_request() -> None:
    one = request(pipeline_done(H1, "2025-07-15 12:00"), H1, utc("2025-07-15 13:05"))
    three = request(pipeline_done(H1, "2025-07-15 10:00"), H1, utc("2025-07-15 13:05"))
    assert isinstance(one, dg.RunRequest)
    assert isinstance(three, dg.RunRequest)
    assert (one.tags["dagster/max_runtime"], three.tags["dagster/max_runtime"]) == ("40", "42")


def test_partitions_begin_at_the_history_start() -> None:
    pipeline = pipeline_done(H1, "2025-07-15 10:00", start=utc("2025-07-15 12:00"))
    assert asked(pipeline, H1, "2025-07-15 14:05") == ("2025-07-15T12:00+0000", "2025-07-15T13:00+0000")
    assert asked(pipeline, H1, "2025-07-15 11:05") == ("no new candle: H1 next closes 2025-07-15 12:00 UTC",)


def test_a_candle_that_began_before_the_history_start_has_no_partition() -> None:
    pipeline = pipeline_done(D, "2025-07-14 21:00", start=utc("2025-07-15 12:00"))
    assert asked(pipeline, D, "2025-07-15 21:05") == ("no partition yet: they begin at 2025-07-15 12:00 UTC",)
    assert asked(pipeline, D, "2025-07-16 21:05") == ("2025-07-15T17:00-0400",)


@pytest.mark.parametrize(
    ("under_way", "expected"),
    [
        ([("10:00", "11:00")], ("2025-07-15T11:00+0000", "2025-07-15T12:00+0000")),
        ([("11:00", "12:00"), ("10:00", "11:00")], ("2025-07-15T12:00+0000",)),
        ([("08:00", "13:00")], ("a run that has not ended is at it: H1 next closes 2025-07-15 14:00 UTC",)),
        # What lies behind a hole is asked for again: a run's failure must not leave one.
        ([("11:00", "13:00")], ("2025-07-15T10:00+0000", "2025-07-15T12:00+0000")),
        ([("08:00", "09:00")], ("2025-07-15T10:00+0000", "2025-07-15T12:00+0000")),
    ],
)
def test_what_an_unfinished_run_is_at_is_not_asked_for_again(
    under_way: list[tuple[str, str]], expected: tuple[str, ...]
) -> None:
    pipeline = pipeline_done(H1, "2025-07-15 10:00")
    windows = [Window(utc(f"2025-07-15 {a}"), utc(f"2025-07-15 {b}")) for a, b in under_way]
    assert asked(pipeline, H1, "2025-07-15 13:05", *windows) == expected


def evaluated(
    pipeline: Pipeline, granularity: Granularity, at: str, instance: dg.DagsterInstance
) -> dg.RunRequest | str:
    """Give what the schedule itself answers Dagster."""
    repository = build_defs(pipeline=pipeline).get_repository_def()
    schedule = repository.get_schedule_def(f"{granularity.schema}_schedule")
    with dg.build_schedule_context(
        instance,
        scheduled_execution_time=utc(at),
        repository_def=repository,
        resources={"pipeline": PipelineResource.over(pipeline)},
    ) as context:
        answer = schedule.evaluate_tick(context)
    if answer.skip_message:
        return answer.skip_message
    (requested,) = answer.run_requests or []
    return requested


def test_a_late_tick_is_about_when_it_was_due(tmp_path: Path) -> None:
    # The test runs years behind 2025: were the time of day asked, it would want the range up to today.
    with persistent(tmp_path) as instance:
        answer = evaluated(pipeline_done(H1, "2025-07-15 10:00"), H1, "2025-07-15 11:05", instance)
    assert isinstance(answer, dg.RunRequest)
    assert answer.partition_key == "2025-07-15T10:00+0000"
    assert answer.tags["dagster/max_runtime"] == "40"


def test_unfinished_runs_are_found_by_their_job(tmp_path: Path) -> None:
    pipeline = pipeline_done(H1, "2025-07-15 10:00")
    job = build_defs(pipeline=pipeline).resolve_job_def(pass_name(H1))
    key = {"dagster/partition": "2025-07-15T10:00+0000"}
    with persistent(tmp_path) as instance:
        for status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
            instance.create_run_for_job(job, tags=key, status=status)
        answer = evaluated(pipeline, H1, "2025-07-15 11:05", instance)
        assert isinstance(answer, dg.RunRequest)
        instance.create_run_for_job(job, tags=key, status=dg.DagsterRunStatus.STARTED)
        answer = evaluated(pipeline, H1, "2025-07-15 11:05", instance)
        assert answer == "a run that has not ended is at it: H1 next closes 2025-07-15 12:00 UTC"
        answer = evaluated(pipeline, H1, "2025-07-15 12:05", instance)
        assert isinstance(answer, dg.RunRequest)
        assert answer.partition_key == "2025-07-15T11:00+0000"


def test_a_tick_processes_exactly_the_newest_partition_once(tmp_path: Path) -> None:
    window = Window(utc("2025-07-15 00:00"), utc("2025-07-16 00:00"))
    pipeline = memory_pipeline(market(window=window), history_start=window.start, clock=lambda: utc("2025-07-15 09:05"))
    with persistent(tmp_path) as instance:
        run(pipeline, keys_of(H1, Window(window.start, utc("2025-07-15 08:00"))), instance)
        answer = evaluated(pipeline, H1, "2025-07-15 09:05", instance)
        assert isinstance(answer, dg.RunRequest)
        assert answer.partition_key == "2025-07-15T08:00+0000"
        run(pipeline, [answer.partition_key], instance, tags=dict(answer.tags))
        assert evaluated(pipeline, H1, "2025-07-15 09:05", instance) == (
            "no new candle: H1 next closes 2025-07-15 10:00 UTC"
        )


def test_a_tick_that_cannot_have_the_store_fails_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "STORE_PATIENCE", timedelta(seconds=0.05))
    pipeline = make_pipeline(market(), tmp_path / "spike.duckdb", ("EUR_USD",))
    other = make_pipeline(market(), tmp_path / "spike.duckdb", ("EUR_USD",))
    set_processed(pipeline, H1, START)
    with (
        other.store.writing(Deadline.after(timedelta(seconds=5)), "a long backfill"),
        pytest.raises(StoreLockedError, match="in use by a long backfill"),
    ):
        request(pipeline, H1, utc("2025-07-15 13:05"))


def test_schedules_are_declared_as_the_design_says() -> None:
    repository = build_defs(pipeline=memory_pipeline()).get_repository_def()
    for granularity in GRANULARITIES.values():
        schedule = repository.get_schedule_def(f"{granularity.schema}_schedule")
        crons = schedule.cron_schedule
        assert ((crons,) if isinstance(crons, str) else tuple(crons)) == granularity.crons
        assert schedule.execution_timezone == "UTC"
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert schedule.job_name == pass_name(granularity)
