"""Platforms whose runs a real daemon launches warm: what a tick asks for is asked for, and its processes are killed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from select import poll

import dagster as dg
from dagster._core.storage.tags import BACKFILL_ID_TAG

from spike_assets.definitions import build_defs
from spike_assets.defs.resources import PipelineResource
from spike_assets.defs.schedules import range_tags
from spike_assets.granularity import H1
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline import Pipeline
from spike_assets.settings import load_settings
from spike_assets_tests import control
from spike_assets_tests.defs.launcher.launching import Code, environment, until
from spike_assets_tests.defs.launcher.storm import AT_ONCE, Moment, Storm, stormy
from spike_assets_tests.invariants.launched_defs import MODULE, hasty, runs_of
from spike_assets_tests.oanda_server import Clock

LONGEST = 0.6
"""Seconds behind the moment in which a run is seen to have begun, in which it is killed at the latest."""


def acts(chance: Random, ticks: int, **times: int) -> list[str]:
    """Give what is done to whom, one for each tick, in a drawn order."""
    found = [act for act, n in times.items() for _ in range(n)]
    found += ["nothing"] * (ticks - len(found))
    chance.shuffle(found)
    return found


def wait_for_end(pid: int, seconds: float) -> None:
    """Wait until a process has ended, or for so long."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        waiting = poll()
        waiting.register(handle)
        waiting.poll(seconds * 1000)
    finally:
        os.close(handle)


@dataclass
class Launched:
    """A daemon over a platform.

    Attributes
    ----------
    pipeline
        What its processes have, for whoever looks on; it goes by `clock`.
    """

    storm: Storm
    pipeline: Pipeline
    clock: Clock
    folder: Path
    _last: tuple[str, Mapping[str, str]] = ("", {})
    _definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        self._definitions = build_defs(pipeline=self.pipeline)

    def at(self, now: datetime, timeout: float | None = None) -> None:
        """Set everybody's clock, and how many seconds a pass may take."""
        self.clock.set(now)
        control.say(self.folder, now, timeout)

    def tick(self) -> bool:
        """Put what the schedule's tick asks for now into the daemon's queue; False where it asks for nothing."""
        repository = self._definitions.get_repository_def()
        with dg.build_schedule_context(
            self.storm.instance,
            scheduled_execution_time=self.clock(),
            repository_def=repository,
            resources={"pipeline": PipelineResource.over(self.pipeline)},
        ) as context:
            requests = repository.get_schedule_def("h1_schedule").evaluate_tick(context).run_requests or []
        for request in requests:
            partition = {"dagster/partition": request.partition_key} if request.partition_key else {}
            self.queue("h1_pass", {**request.tags, **partition})
        return bool(requests)

    def queue(self, job: str, tags: Mapping[str, str] = {}) -> str:
        """Put a run into the daemon's queue, and give its id."""
        self._last = job, tags
        return self.storm.runs.queue(job, **tags)

    def catch_up(self) -> None:
        """Tick, as the hours would, until everything is processed."""
        self.storm.settle()
        for _ in range(4):
            if not self.tick():
                return
            self.storm.settle()
        assert not self.tick(), self.failures()

    def succeeded(self, job: str, tags: Mapping[str, str] = {}) -> None:
        """Run a job, which goes well."""
        run_id = self.queue(job, tags)
        self.storm.settle()
        run = self.storm.runs.run(run_id)
        assert run.status == dg.DagsterRunStatus.SUCCESS, self.storm.runs.said(run_id)[-4000:]

    def do(self, act: str, chance: Random, moment: Moment | None = None) -> None:
        """Kill a run, the server or the daemon, or do nothing; what has ended before its moment came does not count."""

        def done() -> bool:
            if not self.storm.unfinished():
                self.queue(*self._last)
            return self.storm.did(act, chance, moment or drawn(chance))

        if act != "nothing":
            until(done, lambda: f"there was nothing to {act}; {self.failures()}")

    def started(self) -> None:
        """Wait until a run has begun, or none is to."""
        until(lambda: bool(self.storm.started()) or not self.storm.unfinished(), lambda: "no run begins")

    def make_room(self, most: int = 2 * AT_ONCE) -> None:
        """Wait until no more runs than so many have not ended."""
        until(lambda: self.storm.unfinished() <= most, self.failures)

    def figures(self) -> dict[str, int]:
        """Tell how many runs there were, how many of them failed, and what was killed."""
        runs = self.storm.instance.get_runs()
        failed = sum(run.status != dg.DagsterRunStatus.SUCCESS for run in runs)
        return {"runs": len(runs), "failed": failed, **self.storm.done}

    def failures(self) -> str:
        """Say how the runs that failed last did."""
        failed = self.storm.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=3)
        return "\n\n".join(self.storm.runs.said(run.run_id)[-2000:] for run in failed)


@contextmanager
def launched(folder: Path, variables: Mapping[str, str], clock: Clock) -> Iterator[Launched]:
    """Run a daemon over the platform that some settings ask for; the clock says what time it is."""
    control.say(folder, clock())
    variables = {**variables, **control.variables(folder)}
    with environment(folder, **variables):
        pipeline = hasty(load_settings(), folder, clock)
    with stormy(folder, Code(MODULE, runs_of(pipeline)), **variables) as storm:
        yield Launched(storm, pipeline, clock, folder)


def range_of(opened: Sequence[datetime]) -> dict[str, str]:
    """Give the tags of a run over all partitions from the first to the last, as a backfill in Dagster's UI has them."""
    keys = [partition_key(H1, time) for time in opened]
    return {**range_tags(H1, keys), BACKFILL_ID_TAG: "abcdefgh"}


def drawn(chance: Random, longest: float = LONGEST) -> Moment:
    """Draw how long behind its begin a process is killed."""
    seconds = chance.uniform(0.0, longest)
    return lambda pid: wait_for_end(pid, seconds)
