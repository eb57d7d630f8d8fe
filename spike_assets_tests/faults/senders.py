"""Passes and senders in processes of their own, killed at random moments, and receivers that fail at random.

Of two channels one is well and one is ill. After each run what was received is held against what is marked as sent.
"""

import base64
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerProcess

from pydantic import SecretStr

from spike_assets.alerts import render
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.channels.webhook import WebhookChannel
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.sender import Outcome
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.instruments import GRIDS
from spike_assets.market_hours import Window, candle_times, close_of, nth_candle_before
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.outbox import Delivery
from spike_assets.store.tables import ALERTS
from spike_assets_tests.processes import CONTEXT, PATIENCE, die, finished, start
from spike_assets_tests.receiver import OK, Fault, Hang, Received, Receiver, Reset, Status
from spike_assets_tests.support import FOREVER, make_pipeline

WELL, ILL = "well", "ill"
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
NAMES = tuple(GRIDS)[:20]
HISTORY = 200
"""Candles before the first tick."""

AFTER_CLOSE = timedelta(minutes=5)
LIMIT = timedelta(seconds=60)
SILENCE = timedelta(seconds=2)
"""How long the ill channel waits for an answer."""

ASKED_FOR = timedelta(minutes=10)
"""What a 429 asks for."""

OUTAGE, PERIOD = 6, 8
"""So many hours of so many nobody can be reached over the ill channel."""

LONGEST = 0.2
"""Seconds after which the latest kill comes: a few messages take about that."""

STEPS = [timedelta(seconds=6), timedelta(seconds=40), timedelta(minutes=4)]
FAULTS: list[Fault] = [
    Status(429, {"Retry-After": str(int(ASKED_FOR.total_seconds()))}),
    Status(500),
    Status(503),
    Reset(),
    Reset(after_reading=True),
    Hang(),
]
OUTAGES: list[Status | Reset] = [Status(503), Reset(), Reset(after_reading=True)]


@dataclass(frozen=True)
class Impatient:
    """A channel that does not wait for an answer for long."""

    inner: Channel

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def wants(self) -> Wants:
        return self.inner.wants

    def send(self, digest: Digest, deadline: Deadline) -> None:
        self.inner.send(digest, Deadline.after(min(SILENCE, deadline.left())))


@dataclass(frozen=True)
class Dying(Impatient):
    """A webhook whose process dies when a message has been taken, and before anybody hears of it."""

    def send(self, digest: Digest, deadline: Deadline) -> None:
        super().send(digest, deadline)
        die()


@dataclass(frozen=True)
class Stillborn(Impatient):
    """A webhook whose process dies when it is to send its first message."""

    def send(self, digest: Digest, deadline: Deadline) -> None:  # noqa: ARG002
        die()


@dataclass(frozen=True)
class Place:
    """Where a platform is: all that a process has to know to work on it."""

    database: str
    well: str
    ill: str
    start: datetime

    def pipeline(self, now: datetime, kind: type[Impatient] = Impatient) -> Pipeline:
        """Give the pipeline of a process that believes it to be `now`."""
        well, ill = (
            WebhookChannel(name, url, SecretStr(SECRET), Wants(), allow_private=True)
            for name, url in ((WELL, self.well), (ILL, self.ill))
        )
        return make_pipeline(
            SimulatedSource(),
            self.database,
            NAMES,
            history_start=self.start,
            clock=lambda: now,
            simultaneous_share=0.1,
            policy=Policy((well, kind(ill))),
        )


def work(what: str, pipeline: Pipeline) -> list[Outcome]:
    """Run a pass, or send what is due, as Dagster's job does."""
    if what == "pass":
        return list(process(pipeline, H1, trigger="schedule").sent)
    return pipeline.sender.deliver(Deadline.after(LIMIT))


def work_when_told(end: Pipe, what: str, place: Place, now: datetime, kind: type[Impatient]) -> None:
    """Work in this process, and tell how it went."""
    pipeline = place.pipeline(now, kind)
    end.send("ready")
    end.recv()
    end.send(work(what, pipeline))


class Worker:
    """A process that is about to work, or at it."""

    def __init__(self, what: str, place: Place, now: datetime, kind: type[Impatient]) -> None:
        self._here, there = CONTEXT.Pipe()
        self.process: ForkServerProcess = start(work_when_told, there, what, place, now, kind)
        there.close()
        assert self._hear() == "ready"

    def go(self) -> None:
        """Let it begin."""
        self._here.send("go")

    def ended(self) -> list[Outcome] | None:
        """Wait for its end, and give what it told; None when it was killed before it could."""
        told = self._hear()
        code = finished(self.process)
        self._here.close()
        assert code in ({-9} if told is None else {0, -9}), code
        return told if isinstance(told, list) else None

    def _hear(self) -> object:
        assert self._here.poll(PATIENCE), "a process says nothing"
        try:
            return self._here.recv()
        except (EOFError, ConnectionResetError):
            return None


Moment = Callable[[Worker], None]


@dataclass
class Account:
    """What one channel's receiver got, held against what is marked as sent."""

    channel: str
    receiver: Receiver
    acknowledged: set[str] = field(default_factory=set)
    unmarked: set[str] = field(default_factory=set)
    excused: int = 0
    left_alone_until: datetime | None = None
    _seen: int = 0

    def look(self, deliveries: Sequence[Delivery]) -> list[Received]:
        """Hold what came since the last look against what was marked as sent by then; senders may be at it.

        Parameters
        ----------
        deliveries
            As they were read before this was called.
        """
        came = self.receiver.received[self._seen :]
        self._seen += len(came)
        again = self.acknowledged & {id_of(one) for one in came}
        assert not again, f"sent again over {self.channel} once acknowledged: {again}"
        sent = {delivery.delivery_id for delivery in deliveries if delivery.status == "sent"}
        taken = {id_of(one) for one in self.receiver.accepted}
        assert sent <= taken, f"marked as sent over {self.channel}, and never taken: {sent - taken}"
        assert self.acknowledged <= sent
        self.acknowledged = sent
        return came

    def check(self, deliveries: Sequence[Delivery], now: datetime, outcomes: Sequence[Outcome] | None) -> None:
        """Look while nobody sends; the outcomes are None when the sender was killed."""
        came = self.look(deliveries)
        unmarked = {id_of(one) for one in self.receiver.accepted} - self.acknowledged
        if self.left_alone_until is not None and came:
            assert now >= self.left_alone_until, f"{self.channel} asked to be left alone"
        assert len(unmarked) <= 1, f"more than one message of {self.channel} was not marked"
        if outcomes is not None:
            failed = {one.delivery_id for one in outcomes if one.channel == self.channel and one.status != "sent"}
            self.excused += len(failed & unmarked - self.unmarked)  # the answer came, and came too late
            if failed and came and came[-1].status == 429:
                self.left_alone_until = now + ASKED_FOR
        self.unmarked = unmarked

    @property
    def repeated(self) -> int:
        """How many requests were taken that had been taken before: what a kill may cost."""
        return sum(n - 1 for n in Counter(id_of(one) for one in self.receiver.accepted).values())

    @property
    def failed(self) -> int:
        """How many requests the receiver read and did not take; the sender has to repeat these."""
        return len(self.receiver.received) - len(self.receiver.accepted)

    def close(self, deliveries: Sequence[Delivery], alerts: set[str], kills: int) -> None:
        """Hold all that came against all that there was to be told, when everything should have arrived."""
        in_order = sorted(deliveries, key=lambda delivery: delivery.number)
        assert {delivery.status for delivery in in_order} == {"sent"}
        received = self.receiver.received
        first = list(dict.fromkeys(id_of(one) for one in received))
        assert first == [delivery.delivery_id for delivery in in_order], f"{self.channel} is out of order"
        digests = [Digest.model_validate_json(delivery.body) for delivery in in_order]
        times = [digest.time for digest in digests]
        assert times == sorted(set(times), key=str), f"{self.channel} is not in the order of candles"
        bodies = {digest.digest_id: render.as_json(digest) for digest in digests}
        assert all(one.body == bodies[id_of(one)] for one in received), "a repetition has another body"
        assert all(one.verified for one in received)
        arrivals = Counter(id_of(one) for one in received)
        assert all(arrivals[delivery.delivery_id] <= delivery.attempts for delivery in in_order)
        told = [entry.alert_id for digest in digests for entry in digest.entries]
        told += [digest.group.alert_id for digest in digests if digest.group]
        assert len(told) == len(set(told))
        assert set(told) == alerts, f"{self.channel} was not told of {alerts - set(told)}"
        assert self.repeated <= kills + self.excused, f"{self.repeated} repetitions over {self.channel}, {kills} kills"


def id_of(one: Received) -> str:
    return one.headers["webhook-id"]


@dataclass
class Platform:
    """A platform whose passes and senders are run one after the other, at whatever time it is said to be.

    Attributes
    ----------
    killed
        How many passes, and how many senders, were killed while they were at it.
    apart
        How often all had arrived over the channel that is well while the other one had still to wait.
    waiting
        From when on something is due next; None when nothing waits.
    """

    place: Place
    well: Receiver
    ill: Receiver
    now: datetime
    first: datetime
    killed: Counter[str] = field(default_factory=Counter)
    apart: int = 0
    waiting: datetime | None = None

    @cached_property
    def accounts(self) -> tuple[Account, Account]:
        return Account(WELL, self.well), Account(ILL, self.ill)

    @cached_property
    def pipeline(self) -> Pipeline:
        return replace(self.place.pipeline(self.now), clock=lambda: self.now)

    def work(self, what: str) -> list[Outcome]:
        """Work in this process."""
        return work(what, self.pipeline)

    def run(self, what: str, moment: Moment | None = None, kind: type[Impatient] = Impatient) -> bool:
        """Work here, or in a process that is killed at a moment; look at it, and tell whether it came to its end."""
        outcomes: list[Outcome] | None
        if moment is None:
            outcomes = self.work(what)
        else:
            worker = Worker(what, self.place, self.now, kind)
            worker.go()
            moment(worker)
            worker.process.kill()
            outcomes = worker.ended()
            self.killed[what] += outcomes is None
        self.check(outcomes)
        return outcomes is not None

    def check(self, outcomes: Sequence[Outcome] | None) -> None:
        """Hold what was received against what is marked."""
        with self.pipeline.store.reading(FOREVER) as session:
            when = {channel.name: at for channel, at in self.pipeline.sender.when(session, self.now)}
            marked = [session.outbox.newest(10_000, channel=account.channel) for account in self.accounts]
        for account, deliveries in zip(self.accounts, marked, strict=True):
            account.check(deliveries, self.now, outcomes)
        self.waiting = min(when.values(), default=None)
        if outcomes is not None:
            assert WELL not in when, "one channel held the other one up"
            self.apart += ILL in when

    def settle(self) -> None:
        """End every fault, let time pass until nothing waits, and draw up the accounts."""
        self.ill.outage, self.ill.faults = None, []
        while self.waiting is not None:
            self.now = max(self.now, self.waiting)
            assert self.run("send")
            assert self.waiting is None or self.accounts[1].excused, "a message was refused by a receiver that is well"
        with self.pipeline.store.reading(FOREVER) as session:
            alerts = session.data.read(H1, ALERTS, Window(self.first, self.now), ["alert_id"])
            marked = [session.outbox.newest(10_000, channel=account.channel) for account in self.accounts]
        assert len(alerts)
        for account, deliveries in zip(self.accounts, marked, strict=True):
            account.close(deliveries, set(alerts["alert_id"]), self.killed.total())


@contextmanager
def platform(database: str, end: datetime, ticks: int) -> Iterator[tuple[Platform, list[datetime]]]:
    """Give a platform with some history, and the closes of the candles that come next."""
    begin, first = (nth_candle_before(H1, end, n) for n in (HISTORY + ticks, ticks))
    closes = [close_of(H1, time.astimezone(UTC)) for time in candle_times(H1, Window(first, end)).to_pydatetime()]
    with Receiver(SECRET) as well, Receiver(SECRET) as ill:
        running = Platform(Place(database, well.url, ill.url, begin), well, ill, first, first)
        backfill(running.pipeline, H1, Window(begin, first))
        running.now = first  # its candle closed, and the first live pass has nothing to tell of
        process(running.pipeline, H1)
        yield running, closes


def kill_again_and_again(seed: int, database: str, end: datetime, kills: int) -> Platform:
    """Kill so many senders, and some passes, tick after tick, while the ill channel's receiver fails at random.

    A process that had ended before its kill came does not count.
    """
    chance = random.Random(seed)
    with platform(database, end, 8 * kills) as (running, closes):
        for n, close in enumerate(closes):
            if running.killed["send"] == kills:
                break
            if n % PERIOD == 0:
                running.ill.faults = []
                running.ill.outage = chance.choice(OUTAGES)
            running.now = close + AFTER_CLOSE
            if not running.run("pass", drawn(chance, running) if chance.random() < 0.2 else None):
                running.now += timedelta(minutes=1)
                running.run("pass")
            if n % PERIOD == OUTAGE:
                running.ill.outage = None
            away = running.ill.outage is not None
            while running.waiting is not None:
                running.now = max(running.now + chance.choice(STEPS), running.waiting)
                if running.now > close + timedelta(minutes=55):
                    break
                if away:
                    running.run("send")
                    break
                if chance.random() < 0.3:
                    running.ill.faults = [OK] * chance.randint(0, 3) + [chance.choice(FAULTS)]
                running.run("send", drawn(chance, running) if running.killed["send"] < kills else None)
        assert running.killed["send"] == kills, f"only {running.killed} were killed"
        running.settle()
    return running


def drawn(chance: random.Random, running: Platform) -> Moment:
    """Draw when a process is killed: after some time, or about when the ill channel's receiver has read a message."""
    if chance.random() < 0.5:
        seconds = chance.uniform(0.0, LONGEST)
        return lambda worker: worker.process.join(seconds)
    count, behind = len(running.ill.received) + chance.randint(1, 2), chance.uniform(0.0, 0.02)

    def at_arrival(worker: Worker) -> None:
        while worker.process.is_alive() and not running.ill.wait_for(count, 0.01):
            pass
        worker.process.join(behind)

    return at_arrival
