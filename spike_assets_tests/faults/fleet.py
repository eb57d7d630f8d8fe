"""Functions, runs of Dagster and backfills on two machines, told of the same ticks at once, and killed at random.

A program imports what it needs once. Each call of it is worked in a process forked from there, so that a kill costs no
more than what it kills.
"""

import fcntl
import os
import random
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from pathlib import Path

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, candle_times, close_of, nth_candle_before
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline import backfill as backfills
from spike_assets.settings import Settings, load_settings
from spike_assets_tests.faults.machines import AFTER_CLOSE, OLDER, Machine, Site, site
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start

_from_settings = Pipeline.from_settings

# --- programs of a machine --------------------------------------------------------------------------------------------

Call = Callable[[datetime], bool]
"""Works at some time of day; false when what it did failed."""


def function() -> Call:
    """Be the cloud function, cold at each call."""
    from spike_assets.cloud.function import spike_process
    from spike_assets.store import postgres_engine  # noqa: F401 - imported before it is forked

    return lambda _: spike_process({"granularity": "H1"})["status"] in {"success", "no_new_data"}


def dagster() -> Call:
    """Be a schedule's tick and the run that it asks for, on the home of this machine."""
    warnings.simplefilter("ignore")  # Dagster's own; what is looked at here is rows
    import dagster as dg

    from spike_assets.definitions import build_defs
    from spike_assets.defs.schedules import request

    pipeline = Pipeline.from_settings(load_settings())
    job = build_defs(pipeline=pipeline).resolve_job_def("h1_pass")
    with Path("../dagster.lock").open("w") as lock:  # two that make Dagster's tables at once: one of them fails
        fcntl.flock(lock, fcntl.LOCK_EX)
        with dg.DagsterInstance.get() as instance:
            instance.get_runs_count()

    def call(now: datetime) -> bool:
        with dg.DagsterInstance.get() as here:
            asked = request(pipeline, H1, now)
            if not isinstance(asked, dg.RunRequest):
                return True
            tags = {**asked.tags, "machine": Path.cwd().name}
            return job.execute_in_process(
                instance=here, partition_key=asked.partition_key, tags=tags, raise_on_error=False
            ).success

    return call


def older() -> Call:
    """Be a backfill of what lies before all else, begun again until it has ended."""
    backfills.CHUNK_TIMES = OLDER // 5
    pipeline = Pipeline.from_settings(load_settings())
    end = pipeline.history_start
    window = Window(nth_candle_before(H1, end, OLDER), end)

    def call(_: datetime) -> bool:
        backfills.backfill(pipeline, H1, window)
        return True

    return call


def serve(end: Pipe, program: Callable[[], Call], machine_: Machine) -> None:
    """Be a program: work each call in a process of its own, tell its number and then how it ended."""
    machine_.become(program.__name__)
    now = [datetime.max.replace(tzinfo=UTC)]

    def clocked(settings: Settings) -> Pipeline:
        return replace(_from_settings(settings), clock=lambda: now[0])

    Pipeline.from_settings = staticmethod(clocked)  # type: ignore[method-assign]
    call = program()
    end.send("ready")
    while (told := end.recv()) is not None:
        now[0] = told
        child = os.fork()
        if not child:
            os._exit(_worked(call, told))
        end.send(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        end.send("ended")
        end.recv()  # until then its number is nobody else's
        end.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _worked(call: Call, now: datetime) -> int:
    try:
        return 0 if call(now) else 1
    except BaseException:  # noqa: BLE001 - told in the program's log
        traceback.print_exc()
        return 2
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class Program:
    """A program that runs on a machine."""

    def __init__(self, program: Callable[[], Call], on: Machine, longest: float) -> None:
        self.name = f"{program.__name__} on {on.name}"
        self.longest = longest
        self.end, there = CONTEXT.Pipe()
        self._process = start(serve, there, program, on)
        there.close()
        self._log = on.folder / f"{program.__name__}.log"

    def hear(self) -> object:
        """Give what it tells next."""
        assert self.end.poll(PATIENCE), f"{self.name} says nothing: {self.last_words()}"
        return self.end.recv()

    def number(self) -> int:
        """Give the process that works the call."""
        told = self.hear()
        assert isinstance(told, int), told
        return told

    def last_words(self) -> str:
        """Give the end of its log."""
        return self._log.read_text(encoding="utf-8")[-4000:] if self._log.exists() else ""

    def stop(self) -> None:
        """End it."""
        self.end.send(None)
        assert finished(self._process) == 0, self.last_words()


PROGRAMS: tuple[tuple[Callable[[], Call], int, float], ...] = (
    (function, 0, 0.5),
    (function, 1, 0.5),
    (dagster, 0, 2.0),
    (dagster, 1, 2.0),
    (older, 1, 1.5),
)
"""What runs, on which machine, and how many seconds after a call the latest kill of it comes."""


# --- ticks ------------------------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Programs that are told of the same ticks at once."""

    site: Site
    programs: list[Program]
    chance: random.Random = field(default_factory=random.Random)
    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def tick(self, now: datetime, *, kills: Sequence[int] = (0,), meanwhile: Callable[[], None] | None = None) -> None:
        """Tell all of a tick, kill some of them at random moments, and wait for the others.

        Parameters
        ----------
        meanwhile
            Is done once all are at work, before any of them is killed.
        """
        for program in self.programs:
            program.end.send(now)
        at_work = {program: program.number() for program in self.programs}
        if meanwhile:
            meanwhile()
        victims = self.chance.sample(self.programs, self.chance.choice(kills))
        victims.sort(key=lambda each: each.longest)
        together = bool(victims) and self.chance.random() < 0.4
        if together:  # when a message has been read, and perhaps not yet marked
            receiver = self.site.receiver
            receiver.wait_for(len(receiver.received) + 1, 2 * victims[-1].longest)
        passed = 0.0
        for victim in victims:
            seconds = passed if together else self.chance.uniform(passed, victim.longest)
            wait([victim.end], seconds - passed)
            passed = seconds
            os.kill(at_work[victim], signal.SIGKILL)
        for program in self.programs:
            assert program.hear() == "ended"
            program.end.send("go on")
            code = program.hear()
            assert code in {0, -9}, f"{program.name}: {code}: {program.last_words()}"
            (self.killed if code else self.ended)[program.name] += 1


@contextmanager
def fleet(at: Site, *programs: tuple[Callable[[], Call], int, float], seed: int = 0) -> Iterator[Fleet]:
    """Give programs that run, over a site that has begun."""
    with ExitStack() as stack:
        running = [Program(program, at.machines[i], longest) for program, i, longest in programs]
        at.begin()  # while they import what they need
        for each in running:
            assert each.hear() == "ready", each.last_words()
            stack.callback(each.stop)
        yield Fleet(at, running, random.Random(seed))


def storm(root: Path, database: str, dagster_: str, first: datetime, *, ticks: int, seed: int) -> Fleet:
    """Tick after tick, all of them at once, some killed; hold what is there in the end against a clean run."""
    times = candle_times(H1, Window(first, first + timedelta(hours=2 * ticks + 72))).to_pydatetime()[:ticks]
    closes = [close_of(H1, time.astimezone(UTC)) for time in times]
    with site(root, database, dagster_, first) as here, fleet(here, *PROGRAMS, seed=seed) as running:
        for close in closes:
            running.tick(close + AFTER_CLOSE, kills=(1, 2, 2, 3, 5))
            here.check(close)
        running.tick(closes[-1] + 2 * AFTER_CLOSE)
        here.close(closes[-1], running.killed.total())
        assert running.killed.total()
        assert len(running.ended) == len(running.programs)
    return running
