"""Many runs through a real daemon, while processes of each kind are killed, runs are canceled and code changes."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import RETRY_NUMBER_TAG, WILL_RETRY_TAG

from spike_assets.cli.children import Child
from spike_assets.defs.launcher.process import Process, Worker
from spike_assets_tests.defs.launcher import cheap
from spike_assets_tests.defs.launcher.launching import (
    CHEAP,
    UNDER_WAY,
    UNFINISHED,
    Code,
    Runs,
    environment,
    prepare,
    until,
)

AT_ONCE = 4
RETRIES = 2
SECONDS = 0.2
"""What the longest run takes."""
Moment = Callable[[int], None]
"""Waits for when a process, whose number it is told, is to be killed."""
VERSION = "cheap/version"
"""The tag that says which version of the code was there when a run was asked for."""


@contextmanager
def stormy(folder: Path, code: Code = CHEAP, **variables: str) -> Iterator["Storm"]:
    """Run a daemon with the shipped settings, looked after more often, and take it down with all that it started."""
    monitoring = {
        "enabled": True,
        "start_timeout_seconds": 40,
        "cancel_timeout_seconds": 10,
        "max_runtime_seconds": 600,
        "poll_interval_seconds": 1,
    }
    prepare(folder, code, run_monitoring=monitoring)
    with environment(folder, **variables), dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
        assert instance.schedule_storage
        storm = Storm(folder, instance, code)
        storm.start()
        try:
            yield storm
        finally:
            storm.stop()


@dataclass
class Storm:
    """A daemon, the runs that were asked for, and what was done to them."""

    folder: Path
    instance: dg.DagsterInstance
    code: Code = CHEAP
    version: int = 1
    killed: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)
    servers: set[Process] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    _daemons: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs = Runs(self.folder, self.instance, self.code)

    def start(self) -> None:
        """Start a daemon."""
        arguments = ["dagster._daemon", "run", "--workspace", str(self.folder / "workspace.yaml")]
        log = self.folder / f"daemon-{len(self._daemons)}.log"
        self._daemons.append(Child("the daemon", arguments, os.environ, log))

    def stop(self) -> None:
        """Stop the daemon, and what stock Dagster leaves of those that were killed."""
        for daemon in reversed(self._daemons):
            daemon.stop()

    def rage(self, seed: int, runs: int, **times: int) -> None:
        """Ask for so many runs, and meanwhile do each thing so many times: kill, cancel, server, daemon, reload."""
        chance = random.Random(seed)
        acts = [act for act, n in times.items() for _ in range(n)]
        acts += ["nothing"] * max(0, runs - len(acts))
        chance.shuffle(acts)
        for i, act in enumerate(acts):
            if i < runs:
                tags = {cheap.SECONDS: f"{chance.uniform(0, SECONDS):.3f}", VERSION: str(self.version)}
                self.runs.queue("busy", **tags)
            self.do(act, chance)
            until(lambda: len(self._in(*UNDER_WAY, dg.DagsterRunStatus.QUEUED)) < 3 * AT_ONCE, self._log)

    def do(self, act: str, chance: random.Random, moment: Moment = lambda _: None) -> None:
        """Kill a run, cancel one, kill the server or the daemon, reload, or nothing: once there is one to do it to.

        Parameters
        ----------
        moment
            Is told the process of a run that has begun, and waits for when it is to be done.
        """
        if act != "nothing":
            until(lambda: self.did(act, chance, moment), lambda: f"there was nothing to {act}: {self._log()}")

    def did(self, act: str, chance: random.Random, moment: Moment = lambda _: None) -> bool:
        """Do it, if there is one to do it to."""
        done = self._act(act, chance, moment)
        self.done[act] += done
        return done

    def started(self) -> list[Worker]:
        """Give who works at the runs that have begun."""
        return [worker for run in self._in(dg.DagsterRunStatus.STARTED) if (worker := Worker.of(run))]

    def unfinished(self) -> int:
        """Give how many runs have not ended."""
        return len(self._in(*UNFINISHED))

    def settle(self) -> None:
        """Wait until every run has ended, and every run that was to be tried again was."""
        until(lambda: not self._in(*UNFINISHED) and not self._to_retry(), self._log)

    def _act(self, act: str, chance: random.Random, moment: Moment) -> bool:
        """Do something; False while there is nothing that it could be done to."""
        if act == "reload":
            self.version += 1
            cheap.write(self.folder, self.version)
            return True
        if act == "daemon":
            self._daemons[-1].process.kill()
            self._daemons[-1].process.wait()
            self.start()
            return True
        found = self.started()
        if not found:
            return False
        worker = chance.choice(found)
        moment(worker.process.pid)
        self.servers |= {each.server for each in found}
        if act == "server":
            return worker.server.signal(signal.SIGKILL)
        if act == "cancel":
            self.canceled.add(worker.run_id)  # it is written down, though its process may have ended by then
            return self.runs.launcher.terminate(worker.run_id)
        hit = worker.process.signal(signal.SIGKILL)
        if hit:
            self.killed.add(worker.run_id)
        return hit

    def _in(self, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(statuses=list(statuses))))

    def _to_retry(self) -> bool:
        """Whether a run has failed that Dagster will try again, and has not yet."""
        runs = self.instance.get_runs()
        parents = {run.parent_run_id for run in runs}
        return any(will_retry(run) and run.run_id not in parents for run in runs)

    def _log(self) -> str:
        return self._daemons[-1].log.read_text(encoding="utf-8")[-4000:]

    def wrong(self) -> list[str]:
        """Give what is wrong with what became of the runs."""
        noted = cheap.noted(self.folder)
        records = self.instance.get_run_records()
        parents = Counter(record.dagster_run.parent_run_id for record in records)
        found = []
        for run in [record.dagster_run for record in records]:
            what = [name for name, _, _ in noted.get(run.run_id, [])]
            right = {
                dg.DagsterRunStatus.SUCCESS: what == ["began", "ended"],
                dg.DagsterRunStatus.CANCELED: run.run_id in self.canceled and what.count("began") < 2,
                # Or the daemon was killed while it launched it.
                dg.DagsterRunStatus.FAILURE: what.count("began") < 2
                and (run.run_id in self.killed or (what == [] and self.done["daemon"] > 0)),
            }
            if not right.get(run.status, False):
                found.append(f"{run.status} though it noted {what}: {self.runs.said(run.run_id)[-2000:]}")
            versions = {version for _, _, version in noted.get(run.run_id, [])}
            if versions and min(versions) < int(run.tags[VERSION]):
                found.append(f"{run.run_id} ran version {versions}, {run.tags[VERSION]} was there")
            # Where every step has succeeded there is nothing to be tried again.
            again = run.status == dg.DagsterRunStatus.FAILURE and int(run.tags.get(RETRY_NUMBER_TAG, "0")) < RETRIES
            if parents[run.run_id] != again and "ended" not in what:
                found.append(f"{run.run_id} ended as {run.status} and was tried again {parents[run.run_id]} times")
        most = at_once(records)
        if most > AT_ONCE:
            found.append(f"{most} runs at once")
        return found

    def left(self) -> list[Process]:
        """Give what lives of the servers and runs there were."""
        workers = [worker for run in self.instance.get_runs() if (worker := Worker.of(run))]
        everybody = {worker.process for worker in workers} | {worker.server for worker in workers} | self.servers
        return [process for process in everybody if process.lives]


def will_retry(run: dg.DagsterRun) -> bool:
    """Tell whether Dagster will try a run again, or has not yet said whether it will."""
    return run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(WILL_RETRY_TAG) != "false"


def at_once(records: Sequence[dg.RunRecord]) -> int:
    """Give how many runs there were at once at most."""
    times = []
    for record in records:
        if record.start_time is not None and record.end_time is not None:
            times += [(record.start_time, 1), (record.end_time, -1)]
    most = now = 0
    for _, step in sorted(times):
        now += step
        most = max(most, now)
    return most
