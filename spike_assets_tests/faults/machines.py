"""Two machines on one Postgres: what each is to spike and to Dagster, and what all has to end in.

A machine is a working directory with its own files, a home for Dagster, and an environment.
"""

import base64
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import yaml
from sqlalchemy.engine import make_url

from spike_assets.alerts.policy import Policy
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.instruments import GRIDS
from spike_assets.market_hours import Window, last_closed, nth_candle_before
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.settings import load_settings
from spike_assets.store.outbox import Delivery
from spike_assets.store.store import Store
from spike_assets.store.tables import ALERTS
from spike_assets.store.whole import PLACES
from spike_assets_tests.faults.senders import Account
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.receiver import Receiver
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + base64.b64encode(b"f" * 32).decode()
CHANNEL = "desk"
NAMES = tuple(GRIDS)[:16]
HISTORY = 600
"""Candles before the first tick."""
OLDER = 300
"""Candles before these, which a backfill brings meanwhile."""
AFTER_CLOSE = timedelta(minutes=5)

ALERTS_FILE = "alerts.yaml"
_ALERTS = {"kind": "webhook", "secret": SECRET, "allow_private": True}


@dataclass(frozen=True)
class Machine:
    """A machine: where it works, and what its environment says."""

    folder: Path
    environment: dict[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Be on this machine inside the block."""
        before, where = dict(os.environ), Path.cwd()
        try:
            self._enter()
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            os.chdir(where)

    def _enter(self) -> None:
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)

    def become(self, program: str) -> None:
        """Make this process one of the machine's programs."""
        self._enter()
        log = os.open(f"{program}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log, stream.fileno())


def _machine(folder: Path, database: str, dagster: str | None, webhook: str, start: datetime) -> Machine:
    """Set a machine up."""
    folder.mkdir(parents=True)
    channels = {"channels": {CHANNEL: _ALERTS | {"url": webhook}}}
    (folder / ALERTS_FILE).write_text(yaml.safe_dump(channels), encoding="utf-8")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SPIKE_", "OANDA_", "DAGSTER_"))}
    return Machine(
        folder,
        kept
        | (_home(folder / "home", dagster) if dagster else {})
        | {
            "PYTHONPATH": str(ROOT),
            "SPIKE_SOURCE": "simulated",
            "SPIKE_DATABASE": database,
            "SPIKE_INSTRUMENTS": ",".join(NAMES),
            "SPIKE_HISTORY_START": start.isoformat(),
            "SPIKE_WARMUP": "0",
            "SPIKE_SIMULTANEOUS_SHARE": "0.1",
            "SPIKE_ALERT_MAX_AGE": "2d",
        },
    )


def _home(home: Path, dagster: str) -> dict[str, str]:
    """Make a home for Dagster on a Postgres; give what tells of it."""
    home.mkdir()
    at = make_url(dagster)
    config = yaml.safe_load((ROOT / "deploy" / "dagster-postgres.yaml").read_text(encoding="utf-8"))
    config["storage"]["custom"]["config"]["postgres_db"]["port"] = at.port
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    postgres = {"HOST": at.host, "USERNAME": at.username, "PASSWORD": at.password, "DB": at.database}
    return {"DAGSTER_HOME": str(home)} | {f"DAGSTER_PG_{name}": str(value) for name, value in postgres.items()}


@dataclass
class Site:
    """Both machines, over a store that has some history and has just come alive.

    Attributes
    ----------
    first
        The close of the candle with which it came alive.
    receiver
        Where both send their alerts to.
    """

    machines: tuple[Machine, Machine]
    first: datetime
    receiver: Receiver

    @cached_property
    def account(self) -> Account:
        return Account(CHANNEL, self.receiver)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline that every program has, for whoever looks on."""
        with self.machines[0].visited():
            return Pipeline.from_settings(load_settings())

    @property
    def older(self) -> Window:
        """What lies before the history."""
        return Window(nth_candle_before(H1, self.pipeline.history_start, OLDER), self.pipeline.history_start)

    @property
    def told_from(self) -> datetime:
        """The candle with which it came alive."""
        return last_closed(H1, self.first).start

    def at(self, now: datetime) -> Pipeline:
        """Give the pipeline at some time of day."""
        return replace(self.pipeline, clock=lambda: now)

    def begin(self) -> None:
        """Load the history, and run the first live pass: from its candle on somebody is there to be told."""
        backfill(self.at(self.first), H1, Window(self.pipeline.history_start, self.told_from))
        process(self.at(self.first + AFTER_CLOSE), H1, trigger="schedule")

    def look(self) -> None:
        """See that nothing comes again that was acknowledged; whoever sends may be at it."""
        self.account.look(self._marked())

    def check(self, now: datetime) -> None:
        """Hold what was received since the last look against what is marked as sent, while nobody sends."""
        self.account.check(self._marked(), now, None)

    def _marked(self) -> list[Delivery]:
        with self.pipeline.store.reading(FOREVER) as session:
            return session.outbox.newest(10_000, channel=CHANNEL)

    def close(self, last: datetime, kills: int, start: datetime | None = None) -> None:
        """Hold everything against a clean run up to the last close; so many programs were killed.

        Parameters
        ----------
        start
            Where the candles begin: those that a backfill brought meanwhile, unless given.
        """
        now = self._delivered(last + 3 * AFTER_CLOSE)
        pipeline = self.at(now)
        alone = replace(pipeline, store=Store(MemoryEngine()), policy=Policy())
        backfill(alone, H1, Window(start or self.older.start, last))
        assert hashes(pipeline, H1) == hashes(alone, H1)
        assert verify(pipeline, H1).difference is None
        self.check(now)
        with pipeline.store.reading(FOREVER) as session:
            state = session.ops.state(H1)
            assert state is not None
            assert (state.last_processed, state.running, state.consecutive_failures) == (last, None, 0)
            assert session.pending.count(H1) == 0
            assert session.ops.unfinished(H1) == []
            assert [session.whole.count(place) for place in PLACES if place.name == "ops.backfills"] == [0]
            told = session.data.read(H1, ALERTS, Window(self.told_from, now), ["alert_id"])
        self.account.close(self._marked(), set(told["alert_id"]), kills)

    def _delivered(self, now: datetime) -> datetime:
        """Let time pass until nothing waits; give the time of day."""
        while True:
            sender = self.at(now).sender
            sender.deliver(Deadline.after(timedelta(seconds=PATIENCE)))
            with self.pipeline.store.reading(FOREVER) as session:
                due = [time for _, time in sender.when(session, now)]
            if not due:
                return now
            now = max(now + timedelta(seconds=1), min(due))


@contextmanager
def site(root: Path, database: str, dagster: str | None, first: datetime) -> Iterator[Site]:
    """Give two machines, on an empty store and an empty database for Dagster, if they have one."""
    start = nth_candle_before(H1, first, HISTORY)
    with Receiver(SECRET) as receiver:
        one, two = (_machine(root / name, database, dagster, receiver.url, start) for name in ("one", "two"))
        yield Site((one, two), first, receiver)
