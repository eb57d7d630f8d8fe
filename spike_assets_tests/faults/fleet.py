"""Two machines on one Postgres, each with a folder, a home for Dagster, functions and runs of Dagster; all are killed.

What is a machine here is what it is to spike and to Dagster: a working directory with its own files, a home, and an
environment. The programs of a machine import what they need once. Each call is worked in a process forked from there,
so that a kill costs no more than what it kills.
"""

import base64
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

import yaml
from sqlalchemy.engine import make_url

from spike_assets.alerts.policy import Policy
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.instruments import GRIDS
from spike_assets.market_hours import Window, candle_times, close_of, nth_candle_before
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline import backfill as backfills
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.settings import Settings, load_settings
from spike_assets.store.store import Store
from spike_assets.store.tables import ALERTS
from spike_assets.store.whole import PLACES
from spike_assets_tests.faults.senders import Account
from spike_assets_tests.processes import CONTEXT, PATIENCE, finished, start
from spike_assets_tests.receiver import Receiver
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + base64.b64encode(b"f" * 32).decode()
CHANNEL = "desk"
NAMES = tuple(GRIDS)[:16]
HISTORY = 600
"""Candles before the first tick: whatever is loaded behind them changes no alert that anybody hears of."""
OLDER = 300
"""Candles before these, which a backfill brings meanwhile."""
AFTER_CLOSE = timedelta(minutes=5)

_ALERTS = {"kind": "webhook", "secret": SECRET, "allow_private": True}
_from_settings = Pipeline.from_settings


@dataclass(frozen=True)
class Machine:
    """A machine: where it works, and what its environment says."""

    folder: Path
    environment: dict[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    def enter(self, program: str) -> None:
        """Make this process one of the machine's programs."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        log = os.open(f"{program}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log, stream.fileno())


def machine(folder: Path, database: str, dagster: str, webhook: str, start_: datetime) -> Machine:
    """Set a machine up."""
    home = folder / "home"
    home.mkdir(parents=True)
    at = make_url(dagster)
    config = yaml.safe_load((ROOT / "deploy" / "dagster-postgres.yaml").read_text(encoding="utf-8"))
    config["storage"]["postgres"]["postgres_db"]["port"] = at.port
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    channels = {"channels": {CHANNEL: _ALERTS | {"url": webhook}}}
    (folder / "alerts.yaml").write_text(yaml.safe_dump(channels), encoding="utf-8")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SPIKE_", "OANDA_", "DAGSTER_"))}
    postgres = {"HOST": at.host, "USERNAME": at.username, "PASSWORD": at.password, "DB": at.database}
    return Machine(
        folder,
        kept
        | {f"DAGSTER_PG_{name}": str(value) for name, value in postgres.items()}
        | {
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "SPIKE_SOURCE": "simulated",
            "SPIKE_DATABASE": database,
            "SPIKE_INSTRUMENTS": ",".join(NAMES),
            "SPIKE_HISTORY_START": start_.isoformat(),
            "SPIKE_WARMUP": "0",
            "SPIKE_SIMULTANEOUS_SHARE": "0.1",
            "SPIKE_ALERT_MAX_AGE": "2d",
        },
    )


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
        backfill(pipeline, H1, window)
        return True

    return call


def serve(end: Pipe, program: Callable[[], Call], machine_: Machine) -> None:
    """Be a program: work each call in a process of its own, tell its number and then how it ended."""
    machine_.enter(program.__name__)
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


# --- rounds -----------------------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Programs of two machines, told of the same ticks at once."""

    programs: list[Program]
    receiver: Receiver
    account: Account
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def tick(self, now: datetime, *, kills: Sequence[int] = (1, 2, 2, 3, 5)) -> None:
        """Tell all of a tick, kill some of them at random moments, and wait for the others."""
        for program in self.programs:
            program.end.send(now)
        at_work = {program: program.number() for program in self.programs}
        victims = self.chance.sample(self.programs, self.chance.choice(kills))
        moments = sorted((self.chance.uniform(0.0, each.longest), i, each) for i, each in enumerate(victims))
        count, passed = len(self.receiver.received), 0.0
        for seconds, _, victim in moments:
            if self.chance.random() < 0.3:  # about when a message has been read
                self.receiver.wait_for(count + 1, seconds - passed)
            else:
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
def fleet(root: Path, database: str, dagster_: str, first: datetime, seed: int) -> Iterator[tuple[Fleet, Pipeline]]:
    """Give two machines on a store with some history, alive since the first close; and a pipeline of the same."""
    start_ = nth_candle_before(H1, first, HISTORY)
    with Receiver(SECRET) as receiver, ExitStack() as stack:
        machines = [machine(root / name, database, dagster_, receiver.url, start_) for name in ("one", "two")]
        programs = [Program(program, machines[i], longest) for program, i, longest in PROGRAMS]
        for each in programs:
            assert each.hear() == "ready", each.last_words()
            stack.callback(each.stop)
        pipeline = pipeline_of(machines[0])
        backfill(replace(pipeline, clock=lambda: first), H1, Window(start_, first))
        yield Fleet(programs, receiver, Account(CHANNEL, receiver), random.Random(seed)), pipeline


def pipeline_of(one: Machine) -> Pipeline:
    """Give the pipeline that the programs of a machine have."""
    before, where = dict(os.environ), Path.cwd()
    try:
        os.environ.clear()
        os.environ.update(one.environment)
        os.chdir(one.folder)
        return Pipeline.from_settings(load_settings())
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(where)


def deliver_all(pipeline: Pipeline, now: datetime) -> datetime:
    """Let time pass until nothing waits; give the time of day."""
    while True:
        at = now
        sender = replace(pipeline, clock=lambda at=at: at).sender  # type: ignore[misc]
        sender.deliver(Deadline.after(timedelta(seconds=PATIENCE)))
        with pipeline.store.reading(FOREVER) as session:
            due = [time for _, time in sender.when(session, now)]
        if not due:
            return now
        now = max(now + timedelta(seconds=1), min(due))


def storm(root: Path, database: str, dagster_: str, first: datetime, *, ticks: int, seed: int) -> Fleet:
    """Tick after tick, all of them at once, some killed; hold what is there in the end against a clean run."""
    times = candle_times(H1, Window(first, first + timedelta(hours=2 * ticks + 72))).to_pydatetime()[:ticks]
    closes = [close_of(H1, time.astimezone(UTC)) for time in times]
    with fleet(root, database, dagster_, first, seed) as (running, pipeline):
        running.tick(first + AFTER_CLOSE, kills=(0,))  # the first live pass: from here on somebody is there to be told
        for close in closes:
            running.tick(close + AFTER_CLOSE)
            with pipeline.store.reading(FOREVER) as session:
                marked = session.outbox.newest(10_000, channel=CHANNEL)
            running.account.check(marked, close, None)
        running.tick(closes[-1] + 2 * AFTER_CLOSE, kills=(0,))
        now = deliver_all(pipeline, closes[-1] + 3 * AFTER_CLOSE)
        _nothing_is_lost(replace(pipeline, clock=lambda: now), first, closes[-1])
        with pipeline.store.reading(FOREVER) as session:
            told = session.data.read(H1, ALERTS, Window(first, now), ["alert_id"])
            marked = session.outbox.newest(10_000, channel=CHANNEL)
        running.account.check(marked, now, None)
        running.account.close(marked, set(told["alert_id"]), running.killed.total())
        assert running.killed.total()
        assert len({each.name for each in running.programs} & running.ended.keys()) == len(running.programs)
    return running


def _nothing_is_lost(pipeline: Pipeline, first: datetime, last: datetime) -> None:
    """Hold the tables against those of a clean backfill, and see that nothing is left over."""
    window = Window(nth_candle_before(H1, pipeline.history_start, OLDER), last)
    alone = replace(pipeline, store=Store(MemoryEngine()), policy=Policy())
    backfill(alone, H1, window)
    assert hashes(pipeline, H1) == hashes(alone, H1)
    assert verify(pipeline, H1).difference is None
    with pipeline.store.reading(FOREVER) as session:
        state = session.ops.state(H1)
        assert state is not None
        assert (state.last_processed, state.running, state.live_since) == (last, None, first + AFTER_CLOSE)
        assert session.pending.count(H1) == 0
        assert session.ops.unfinished(H1) == []
        assert [session.whole.count(place) for place in PLACES if place.name == "ops.backfills"] == [0]
