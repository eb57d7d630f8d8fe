"""One schedule per granularity. A tick asks the store what was processed, and requests what has closed since.

Nothing is processed here, and no Dagster event is asked what was: `last_processed` in the store says it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.defs.partitions import partition_key, partition_times
from spike_assets.defs.resources import MAX_RUNTIME_TAG, PipelineResource, max_runtime
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.passes import MOST_CANDLES
from spike_assets.pipeline.records import last_processed

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

STORE_PATIENCE = timedelta(seconds=10)
"""How long a tick waits for the store. Then it fails, is seen as failed, and the daemon tries it again in a minute
(`max_tick_retries` in dagster.yaml): skipping would hide it and cost a candle length, guessing would run Friday's
candle again all weekend."""

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def pass_schedule(granularity: Granularity, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Give the schedule of a granularity: running, unless somebody stops it in the UI."""

    @dg.schedule(
        name=f"{granularity.schema}_schedule",
        job=job,
        cron_schedule=granularity.crons[0] if len(granularity.crons) == 1 else granularity.crons,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Five minutes after a {granularity} candle has closed, processes all that has closed since.",
    )
    def tick(context: dg.ScheduleEvaluationContext, pipeline: PipelineResource) -> dg.RunRequest | dg.SkipReason:
        # Not the time of day: a late tick is about what had closed when it was due.
        at = context.scheduled_execution_time.astimezone(UTC)
        runs = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=list(UNFINISHED)))
        under_way = [window for run in runs if (window := run_window(granularity, run.tags))]
        return request(pipeline.get(), granularity, at, under_way)

    return tick


def request(
    pipeline: Pipeline, granularity: Granularity, at: datetime, under_way: Iterable[Window] = ()
) -> dg.RunRequest | dg.SkipReason:
    """Give what a tick that was due `at` asks for: the newest partition, the gap up to it, or nothing, and why.

    Parameters
    ----------
    under_way
        The windows of unfinished runs. What they hold right behind `last_processed` is not asked for again. (A
        schedule's run key would not do: Dagster compares it within one tick only.)

    Raises
    ------
    StoreLockedError
        The store could not be had.
    """
    newest = market_hours.last_closed(granularity, at)
    with pipeline.store.reading(Deadline.after(STORE_PATIENCE), f"a tick of {granularity}") as session:
        done = last_processed(session, granularity) or newest.start
    start = max(done, pipeline.history_start)
    if start >= newest.end:
        return dg.SkipReason(f"no new candle: {_next(granularity, at)}")
    behind = _behind(start, under_way)
    if behind >= newest.end:
        return dg.SkipReason(f"a run that has not ended is at it: {_next(granularity, at)}")
    opens = partition_times(granularity, Window(behind, newest.end))
    keys = [partition_key(granularity, open_) for open_ in opens[:MOST_CANDLES].to_pydatetime()]
    if not keys:
        return dg.SkipReason(f"no partition yet: they begin at {pipeline.history_start:%Y-%m-%d %H:%M} UTC")
    if len(keys) == 1:
        return dg.RunRequest(partition_key=keys[0], tags={MAX_RUNTIME_TAG: max_runtime(granularity, 1)})
    return dg.RunRequest(tags=range_tags(granularity, keys))


def range_tags(granularity: Granularity, keys: list[str]) -> dict[str, str]:
    """Give the tags that make a run one range run over `keys`."""
    return {
        RANGE_START_TAG: keys[0],
        RANGE_END_TAG: keys[-1],
        MAX_RUNTIME_TAG: max_runtime(granularity, len(keys)),
    }


def run_window(granularity: Granularity, tags: Mapping[str, str]) -> Window | None:
    """Give the window that a run is about, by its tags."""
    first = tags.get(RANGE_START_TAG) or tags.get(PARTITION_TAG)
    last = tags.get(RANGE_END_TAG) or first
    if first is None or last is None:
        return None
    opens = [datetime.fromisoformat(key).astimezone(UTC) for key in (first, last)]
    return Window(opens[0], market_hours.close_of(granularity, opens[1]))


def _behind(start: datetime, under_way: Iterable[Window]) -> datetime:
    """Give the end of the unbroken chain of windows from `start` on."""
    for window in sorted(under_way, key=lambda window: window.start):
        if window.start <= start:
            start = max(start, window.end)
    return start


def _next(granularity: Granularity, at: datetime) -> str:
    return f"{granularity} next closes {market_hours.next_close(granularity, at):%Y-%m-%d %H:%M} UTC"
