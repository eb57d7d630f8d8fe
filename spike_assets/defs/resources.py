"""The resource through which assets, checks and schedules reach the pipeline, and the time that a run may take.

What a stage does is the business of `pipeline`; how the database is opened, that of `store`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Never
from uuid import UUID

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import PrivateAttr

from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.pipeline import Pipeline, records
from spike_assets.pipeline.summary import Summary
from spike_assets.store import open_store
from spike_assets.store.ops import Running

MAX_RUNTIME_TAG = "dagster/max_runtime"
"""How many seconds Dagster's run monitoring gives a run: the backstop behind our own deadline."""

PER_PARTITION = timedelta(seconds=0.5)
"""What each partition of a range run adds to the timeout: Dagster's bookkeeping, twice over."""

SLACK = timedelta(seconds=10)
"""How much later the backstop comes than our own deadline. Its clock starts earlier, when the run is launched; and a
run that it ends is taken for one whose process died, and tried again."""


def time_limit(granularity: Granularity, partitions: int) -> timedelta:
    """Give what a run may take, all attempts together."""
    return granularity.timeout if partitions == 1 else granularity.timeout + partitions * PER_PARTITION


def max_runtime(granularity: Granularity, partitions: int) -> str:
    """Give the value of `MAX_RUNTIME_TAG` for a run."""
    return backstop(time_limit(granularity, partitions))


def backstop(limit: timedelta) -> str:
    """Give the value of `MAX_RUNTIME_TAG` for a run whose own limit is known."""
    return str(math.ceil((limit + SLACK).total_seconds()))


def _refused() -> Never:
    raise NotImplementedError("open the store: `with pipeline.get().store.reading(deadline) as session`")


class PipelineResource(DuckDBResource):
    """The pipeline of this deployment, and one deadline per run.

    `database` is configured, and shown, as in any `DuckDBResource`; connections are opened by spike's store only, under
    its lock files. One object serves a whole run: its steps share the deadline and tell one another what they did.
    """

    pipeline: dg.ResourceDependency[Pipeline]

    _began: datetime = PrivateAttr()
    _start: Deadline = PrivateAttr()
    _deadline: Deadline | None = PrivateAttr(default=None)
    _running: Running | None = PrivateAttr(default=None)
    _summaries: list[Summary] = PrivateAttr(default_factory=list)

    @classmethod
    def over(cls, pipeline: Pipeline) -> "PipelineResource":
        """Give the resource of a pipeline."""
        return cls(database=pipeline.store.url, pipeline=pipeline)

    @contextmanager
    def get_connection(self) -> Iterator[Never]:
        """Refuse: a connection that does not take the lock file would keep everybody else out, with no word why."""
        yield _refused()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Start the clock of a run."""
        self._began = self.pipeline.clock()
        self._start = Deadline.after(timedelta(0))

    def get(self) -> Pipeline:
        """Give the pipeline, on the configured database."""
        if self.database == self.pipeline.store.url:
            return self.pipeline
        return replace(self.pipeline, store=open_store(self.database))

    def running(self, trigger: str, deadline: Deadline, run_id: str) -> Running:
        """Give the run as it is remembered, by its own id, from its begin to its deadline; the same to every step."""
        if self._running is None:
            self._running = records.starting(trigger, self._began, deadline.left(), UUID(run_id))
        return self._running

    @property
    def summaries(self) -> list[Summary]:
        """What the stages did in this run so far. Each stage adds its own."""
        return self._summaries

    def deadline(self, context: dg.AssetExecutionContext, granularity: Granularity) -> Deadline:
        """Give the run's deadline: the same one to every step and every attempt.

        The run's tag for Dagster's monitoring is set to the same limit, unless whoever launched it did: a backfill
        that the UI starts knows nothing of ours.
        """
        if self._deadline is None:
            partitions = len(context.partition_keys)
            self._deadline = self.within(time_limit(granularity, partitions))
            if context.run.tags.get(MAX_RUNTIME_TAG) != max_runtime(granularity, partitions):
                context.instance.add_run_tags(
                    context.run.run_id, {MAX_RUNTIME_TAG: max_runtime(granularity, partitions)}
                )
        return self._deadline

    def rest(self, granularity: Granularity) -> Deadline:
        """Give what is left of the run's deadline, to a step without partitions."""
        return self._deadline or self.within(granularity.timeout)

    def within(self, limit: timedelta) -> Deadline:
        """Give the deadline that lies `limit` from the run's start."""
        return replace(self._start, at=self._start.at + limit.total_seconds())
