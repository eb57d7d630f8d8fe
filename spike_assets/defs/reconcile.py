"""The jobs `h1_reconcile` … `w_reconcile` and when they run.

What is fetched once more and what follows from it is the business of `pipeline.reconcile`. Here Dagster is told: every
partition with rows that changed is materialised once more, so that the UI shows when, and how much.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from spike_assets.defs.faults import told_to_dagster
from spike_assets.defs.partitions import partition_key, partition_times
from spike_assets.defs.resources import MAX_RUNTIME_TAG, PipelineResource, backstop
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window, close_of
from spike_assets.pipeline.reconcile import DAYS, Reconciled, reconcile, time_limit
from spike_assets.pipeline.summary import Summary

_FIRST_MINUTE, _MINUTES_APART = 35, 5
"""Behind 3:00 UTC, when H4 and D are idle in both seasons; away from the ticks at :05 and from one another."""


def reconcile_name(granularity: Granularity) -> str:
    """Give the name of a granularity's job."""
    return f"{granularity.schema}_reconcile"


def reconcile_job(granularity: Granularity) -> dg.JobDefinition:
    """Give the job that reconciles a granularity, in one process like a pass."""
    limit = time_limit(granularity)

    @dg.op(
        name=f"{granularity.schema}_refetch",
        out=dg.Out(dg.Nothing),
        description=f"Fetches the last {DAYS} days of {granularity} once more and lets what changed propagate.",
    )
    def refetch(context: dg.OpExecutionContext, pipeline: PipelineResource) -> Iterator[Any]:
        deadline = pipeline.within(limit)
        start = pipeline.get().history_start
        stages: list[Summary] = []
        try:
            with told_to_dagster(context, granularity, deadline.remaining):
                done = reconcile(pipeline.get(), granularity, deadline=deadline, after_stage=stages.append)
        except (dg.RetryRequested, dg.Failure):
            yield from materializations(granularity, start, stages)  # another attempt finds these as they should be
            raise
        yield from materializations(granularity, start, stages, done.first_processed)
        yield dg.Output(None, metadata=told(done))

    @dg.job(
        name=reconcile_name(granularity),
        description=f"Looks for corrections and late candles of {granularity} in the last {DAYS} days.",
        tags={MAX_RUNTIME_TAG: backstop(limit)},
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        refetch()

    return job


def reconcile_schedule(granularity: Granularity, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Give the schedule of a granularity's job: daily, and running unless somebody stops it in the UI."""
    minute = _FIRST_MINUTE + _MINUTES_APART * list(GRANULARITIES.values()).index(granularity)
    return dg.ScheduleDefinition(
        name=f"{reconcile_name(granularity)}_schedule",
        job=job,
        cron_schedule=f"{minute} 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Once a day, looks for corrections and late candles of {granularity} in the last {DAYS} days.",
    )


def materializations(
    granularity: Granularity, start: datetime, stages: Sequence[Summary], new: Window | None = None
) -> Iterator[dg.AssetMaterialization]:
    """Give one materialization per touched partition of each asset.

    Parameters
    ----------
    start
        Where partitions begin, UTC.
    stages
        What each stage did.
    new
        What no pass had processed before. No other run shows it, so all its partitions are told of.
    """
    for summary in stages:
        changed = Counter(time.to_pydatetime() for time in summary.changed["time"])
        for open_ in _opens(granularity, start, summary, new):
            if open_ in changed or (new and new.start <= open_ < new.end):
                yield dg.AssetMaterialization(
                    asset_key=[granularity.schema, summary.stage],
                    partition=partition_key(granularity, open_),
                    metadata={"changed": changed[open_], "reconciled": True},
                )


def _opens(granularity: Granularity, start: datetime, summary: Summary, new: Window | None) -> Sequence[datetime]:
    """Give the opens of all partitions from the first to the last that there may be something to tell of."""
    spans = [new] if new else []
    if summary.changed_range:
        first, last = summary.changed_range
        spans.append(Window(first, close_of(granularity, last)))
    if not spans:
        return []
    whole = Window(max(start, min(span.start for span in spans)), max(span.end for span in spans))
    return list(partition_times(granularity, whole).to_pydatetime()) if whole else []


def told(done: Reconciled) -> dict[str, dg.MetadataValue[Any]]:
    """Give what is shown of a run: its window, how it went, and a table of what changed."""
    window = f"{done.window.start:%Y-%m-%d %H:%M} – {done.window.end:%Y-%m-%d %H:%M} UTC"
    return {
        "window": dg.MetadataValue.text(window),
        "status": dg.MetadataValue.text(done.status),
        "changed": dg.MetadataValue.md(_table(done.summaries)),
        "quarantined": dg.MetadataValue.int(sum(summary.quarantined for summary in done.summaries)),
    }


def _table(summaries: Sequence[Summary]) -> str:
    """Give what changed as a Markdown table."""
    lines = []
    for summary in summaries:
        if span := summary.changed_range:
            counts = f"{summary.added:,} | {summary.updated:,} | {summary.removed:,}"
            lines.append(f"| {summary.stage} | {counts} | {span[0]:%Y-%m-%d %H:%M} | {span[1]:%Y-%m-%d %H:%M} |")
    header = ["| table | added | updated | removed | first (UTC) | last (UTC) |", "| --- " * 6 + "|"]
    return "\n".join(header + lines) if lines else "nothing changed"
