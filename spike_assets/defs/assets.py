"""The assets `h1/candles` … `w/alerts`: each a thin call of its stage, over the window of the run's partitions.

What is fetched and computed is the business of `pipeline`; what is shown of it, of `metadata`. Nothing is handed from
asset to asset through Dagster: the store is where a stage finds what is pending for it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dagster as dg

from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.queue import Occasion
from spike_assets.alerts.sender import IN_A_PASS
from spike_assets.core import FORMULA_VERSION
from spike_assets.core.alerts import GROUP
from spike_assets.deadline import Deadline
from spike_assets.defs import metadata
from spike_assets.defs.checks import PARENTS, promises, promises_spec
from spike_assets.defs.faults import told_to_dagster
from spike_assets.defs.metadata import Stored
from spike_assets.defs.partitions import partitions
from spike_assets.defs.resources import PipelineResource
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, candles, collector, records
from spike_assets.pipeline.context import Watch
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.settle import Stage
from spike_assets.pipeline.stages import STAGES
from spike_assets.pipeline.summary import Summary, status_of
from spike_assets.store.data import Span
from spike_assets.store.ops import Running
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES, QUARANTINE, TABLES, Table

OWNERS = ("team:spike",)
TRIGGER_TAG = "spike/trigger"
"""Says what a run was launched by, where Dagster's own tags do not."""
MOST_PLOTTED = 2_000
"""Longer range runs tell no numbers per partition: Dagster goes through all partitions for each of them."""

_DEPS: dict[str, tuple[str, ...]] = {
    "candles": (),
    "atr": ("candles",),
    "events": ("candles", "atr"),
    "features": ("candles", "events"),
    "alerts": ("candles", "events", "features"),
}


@dataclass(frozen=True)
class Run:
    """One asset's part of a run."""

    context: dg.AssetExecutionContext
    resource: PipelineResource
    granularity: Granularity
    table: Table
    due: list[Channel] = field(default_factory=list)
    """Channels that the stage has left something to send for."""

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self.resource.get()

    @cached_property
    def deadline(self) -> Deadline:
        """When the run has to have ended."""
        return self.resource.deadline(self.context, self.granularity)

    @cached_property
    def window(self) -> Window:
        """From the open of the first partition to the close of the last; over a weekend, closed hours lie between."""
        window = self.context.partition_time_window
        return Window(window.start.astimezone(UTC), window.end.astimezone(UTC))

    @cached_property
    def opens(self) -> dict[datetime, str]:
        """The partition keys, by the open of their candle."""
        return {datetime.fromisoformat(key).astimezone(UTC): key for key in self.context.partition_keys}

    @property
    def purpose(self) -> str:
        """What the store's lock file says of the holder."""
        return f"Dagster run {self.context.run.run_id[:8]} at {self.granularity.schema}/{self.table.name}"

    @property
    def is_pass(self) -> bool:
        """Whether every stage of the granularity is part of the run."""
        stages = {dg.AssetKey([self.granularity.schema, name]) for name in _DEPS}
        return stages <= self.context.job_def.asset_layer.selected_asset_keys

    @cached_property
    def running(self) -> Running:
        """The run, as it is remembered; each of its steps gives the same."""
        return self.resource.running(self.trigger, self.deadline, self.context.run.run_id)

    @property
    def trigger(self) -> str:
        """What launched the run."""
        tags = self.context.run.tags
        if "dagster/schedule_name" in tags:
            return "schedule"
        return "backfill" if "dagster/backfill" in tags else tags.get(TRIGGER_TAG, "ui")

    def seconds_left(self) -> float:
        """Give what is left of the run's time."""
        return self.deadline.remaining()

    def failed(self, error: BaseException) -> None:
        """Remember that the run failed."""
        records.failure(self.pipeline, self.granularity, self.running, error)


def granularity_assets(granularity: Granularity, start: datetime) -> list[dg.AssetsDefinition]:
    """Give the five assets of a granularity; their partitions begin at `start`."""
    definition = partitions(granularity, start)
    works = {CANDLES: _candles} | {stage.table: _derived(stage) for stage in STAGES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy`: nothing else makes one run of a range
        return [_asset(granularity, table, definition, work) for table, work in works.items()]


Work = Callable[[Run], tuple[Summary, Stored]]


def _asset(
    granularity: Granularity, table: Table, definition: dg.PartitionsDefinition[str], work: Work
) -> dg.AssetsDefinition:
    @dg.asset(
        name=table.name,
        key_prefix=granularity.schema,
        group_name=granularity.schema,
        deps=[[granularity.schema, name] for name in _DEPS[table.name]],
        partitions_def=definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[promises_spec(granularity, table)],
        code_version=str(FORMULA_VERSION),
        description=f"{granularity}: {table.meaning[0].lower()}{table.meaning[1:]}",
        kinds={"duckdb", "pandas"},
        owners=list(OWNERS),
        metadata={
            "dagster/column_schema": metadata.column_schema(table),
            "dagster/table_name": f"{granularity.schema}.{table.name}",
        },
    )
    def stage(context: dg.AssetExecutionContext, pipeline: PipelineResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows the bare class only
        run = Run(context, pipeline, granularity, table)
        with told_to_dagster(context, granularity, run.seconds_left, run.failed), collector.at_rest():
            summary, stored = work(run)
        if run.due:
            _send(run)
        if table is STAGES[-1].table:
            run.pipeline.store.tidy_soon()
        return _result(run, summary, stored)

    return stage


def _candles(run: Run) -> tuple[Summary, Stored]:
    """Say that a pass has begun; fetch, holding nothing; store what came."""
    pipeline, granularity, watch = run.pipeline, run.granularity, Watch(run.pipeline.clock())
    with pipeline.store.writing(run.deadline, run.purpose) as session:
        with session.transaction():
            pipeline.require_provenance(session)
            if run.is_pass:
                records.begin(session, granularity, run.running)
        asked = candles.windows(pipeline, session, granularity, run.window, watch.started)
    received = candles.fetch(pipeline, granularity, asked, watch, run.deadline)
    run.deadline.check("storing what came")
    with pipeline.changing(granularity, run.deadline, run.purpose) as session:
        summary = candles.store(session, granularity, received)
        run.resource.summaries.append(summary)
        return summary, _stored(run, session)


def _derived(stage: Stage) -> Work:
    """Give the work of a derived stage; the last one also records the pass."""

    def work(run: Run) -> tuple[Summary, Stored]:
        with run.pipeline.changing(run.granularity, run.deadline, run.purpose) as session:
            occasion = Occasion(run.pipeline.clock(), records.is_live(run.running))
            summary = run_stage(run.pipeline, session, run.granularity, stage, run.deadline, occasion)
            run.resource.summaries.append(summary)
            if stage is STAGES[-1]:
                _record(run, session)
                run.due.extend(run.pipeline.sender.due(session))
            return summary, _stored(run, session)

    return work


def _send(run: Run) -> None:
    """Send what is due at once, within the run's time: a sensor and a launch would cost seconds."""
    for outcome in run.pipeline.sender.deliver(run.deadline, run.due, within=IN_A_PASS):
        run.context.log.info(str(outcome))


def _record(run: Run, session: Session) -> None:
    """Record the pass, if this run is one: only a run of all stages has processed its window."""
    if not run.is_pass:
        run.context.log.info("not all stages were part of this run: no pass is recorded, the next tick does them all")
        return
    done = run.resource.summaries
    with session.transaction():
        records.success(session, run.pipeline, run.granularity, run.running, run.window, status_of(done), done)


def _stored(run: Run, session: Session) -> Stored:
    """Read what the store has in the run's window: the asset's rows, and the keys that they are held against."""
    spans = [Span(name, run.window.start, run.window.end) for name in (GROUP, *run.pipeline.instruments)]
    prices = ["open", "high", "low", "close", "volume", "atr"]
    columns = None if len(run.opens) == 1 else ["instrument", "time", *prices]
    keys = ["instrument", "time"]
    parent = PARENTS.get(run.table.name)
    return Stored(
        rows=session.data.read(run.granularity, run.table, spans, columns),
        parent=session.data.read(run.granularity, parent, spans, keys) if parent else None,
        quarantined=session.data.read(run.granularity, QUARANTINE, spans if run.table is CANDLES else [], keys),
    )


def _result(run: Run, summary: Summary, stored: Stored) -> dg.MaterializeResult[Any]:
    numbers = metadata.of_partitions(run.granularity, list(run.opens), summary, stored)
    whole = metadata.of_run(run.table, run.window, len(run.opens), summary, stored)
    if len(run.opens) == 1:
        whole |= next(iter(numbers.values()))
    elif len(run.opens) <= MOST_PLOTTED:
        for open_, key in run.opens.items():
            run.context.add_asset_metadata(numbers[open_], partition_key=key)
    return dg.MaterializeResult(
        metadata=whole, check_results=[promises(TABLES[run.table.name], stored.rows, stored.parent)]
    )
