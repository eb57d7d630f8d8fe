"""Passes that a real daemon launches warm tell everything once, whoever is killed; a backfill among them tells nothing.

Of two channels one is well, and one fails at random. What was received is held against what is marked as sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from random import Random

import pytest
import yaml

from spike_assets.granularity import H1
from spike_assets.market_hours import Window, candle_times, close_of, nth_candle_before
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.store.outbox import Delivery
from spike_assets.store.tables import ALERTS
from spike_assets_tests.defs.launcher.storm import Moment
from spike_assets_tests.engines import DUCKDB, POSTGRES
from spike_assets_tests.faults.senders import (
    AFTER_CLOSE,
    HISTORY,
    ILL,
    NAMES,
    OUTAGES,
    SECRET,
    WELL,
    Account,
)
from spike_assets_tests.invariants.launched import LONGEST, Launched, acts, drawn, launched, range_of, wait_for_end
from spike_assets_tests.oanda_server import Clock
from spike_assets_tests.receiver import OK, Fault, Hang, Receiver, Reset, Status
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import FOREVER

END = datetime(2025, 3, 14, 12, tzinfo=UTC)
BACKFILLED = 24
"""So many candles before the first tick are brought by a range run."""
PERIOD, AWAY = 8, 4
"""So many of so many hours the ill channel's receiver cannot be reached at all."""
FAULTS: list[Fault] = [Status(503), Reset(), Reset(after_reading=True), Hang()]


@dataclass
class Desk:
    """A platform with two channels, and what they are told."""

    running: Launched
    well: Receiver
    ill: Receiver
    opens: list[datetime]
    """The candles that come tick by tick."""

    @cached_property
    def accounts(self) -> tuple[Account, Account]:
        return Account(WELL, self.well), Account(ILL, self.ill)

    @property
    def received(self) -> int:
        """How many requests came."""
        return len(self.well.received) + len(self.ill.received)

    def look(self) -> None:
        """See that nothing comes again that was acknowledged; whoever sends may be at it."""
        for account, marked in zip(self.accounts, self._marked(), strict=True):
            account.look(marked)

    def moment(self, chance: Random) -> Moment:
        """Draw when a process is killed: after some time, or about when a receiver has read a message."""
        if chance.random() < 0.4:
            return drawn(chance)
        receiver, behind = chance.choice([self.well, self.ill]), chance.uniform(0.0, 0.02)
        count = len(receiver.received) + 1

        def at_arrival(pid: int) -> None:
            receiver.wait_for(count, LONGEST)
            wait_for_end(pid, behind)

        return at_arrival

    def deliver(self) -> None:
        """Run what the sensor starts, at the time at which something is due, until nothing waits."""
        running = self.running
        running.storm.settle()
        while (due := self._due()) is not None:
            running.at(max(running.clock(), due))
            running.succeeded("deliver_alerts")
            self.look()

    def close(self) -> None:
        """Hold all that came against all that there was to be told."""
        pipeline, kills = self.running.pipeline, self.running.storm.done["kill"]
        with pipeline.store.reading(FOREVER) as session:
            rows = session.data.read(H1, ALERTS, Window(self.opens[0], self.running.clock()), ["alert_id"])
        assert len(rows) > len(self.opens)
        for account, marked in zip(self.accounts, self._marked(), strict=True):
            account.close(marked, set(rows["alert_id"]), kills)

    def _due(self) -> datetime | None:
        pipeline = self.running.pipeline
        with pipeline.store.reading(FOREVER) as session:
            return min((at for _, at in pipeline.sender.when(session, self.running.clock())), default=None)

    def _marked(self) -> list[list[Delivery]]:
        with self.running.pipeline.store.reading(FOREVER) as session:
            return [session.outbox.newest(10_000, channel=account.channel) for account in self.accounts]


@contextmanager
def desk(folder: Path, database: str, ticks: int) -> Iterator[Desk]:
    """Give a platform with some history, of which nobody was told."""
    begin, first = (nth_candle_before(H1, END, n) for n in (HISTORY + ticks, ticks))
    opens = [time.astimezone(UTC) for time in candle_times(H1, Window(begin, END)).to_pydatetime()]
    with Receiver(SECRET) as well, Receiver(SECRET) as ill:
        channels = {
            name: {"kind": "webhook", "url": receiver.url, "secret": SECRET, "allow_private": True}
            for name, receiver in ((WELL, well), (ILL, ill))
        }
        (folder / "alerts.yaml").write_text(yaml.safe_dump({"channels": channels}), encoding="utf-8")
        variables = {
            "SPIKE_DATABASE": database,
            "SPIKE_INSTRUMENTS": ",".join(NAMES),
            "SPIKE_HISTORY_START": begin.isoformat(),
            "SPIKE_WARMUP": "0",
            "SPIKE_SIMULTANEOUS_SHARE": "0.1",
            "SPIKE_ALERTS_FILE": str(folder / "alerts.yaml"),
            "SPIKE_ALERT_MAX_AGE": "2d",
        }
        with launched(folder, variables, Clock(first)) as running:
            backfill(running.pipeline, H1, Window(begin, opens[-ticks - BACKFILLED]))
            running.succeeded("h1_pass", range_of(opens[-ticks - BACKFILLED : -ticks]))
            made = Desk(running, well, ill, opens[-ticks:])
            assert made.received == 0
            yield made


def fall_ill(ill: Receiver, chance: Random, nth: int) -> None:
    """Let one of the next requests fail, or all of them for some hours of each period."""
    if nth % PERIOD == PERIOD - AWAY:
        ill.faults, ill.outage = [], chance.choice(OUTAGES)
    elif nth % PERIOD == 0:
        ill.outage = None
    elif ill.outage is None:
        ill.faults = [OK] * chance.randint(0, 1) + [chance.choice(FAULTS)]


@pytest.mark.parametrize(
    ("engine", "ticks", "times"),
    [
        (DUCKDB, 5, {"kill": 3}),
        pytest.param(DUCKDB, 80, {"kill": 40, "server": 6, "daemon": 2}, marks=pytest.mark.soak),
        pytest.param(POSTGRES, 40, {"kill": 20, "server": 3, "daemon": 1}, marks=pytest.mark.soak),
    ],
    ids=["a few", "days", "days on Postgres"],
)
def test_everything_is_told_once(
    database: str, ticks: int, times: dict[str, int], tmp_path: Path, record_property: Tell
) -> None:
    chance = Random(ticks)
    with desk(tmp_path, database, ticks + 1) as here:
        running = here.running
        for nth, (open_, act) in enumerate(zip(here.opens, ["nothing", *acts(chance, ticks, **times)], strict=True)):
            running.at(close_of(H1, open_) + AFTER_CLOSE)
            assert running.tick()
            if nth == 0:
                running.storm.settle()  # from this candle on somebody is there to be told
            fall_ill(here.ill, chance, nth)
            running.do(act, chance, here.moment(chance))
            if chance.random() < 0.5:
                running.at(running.clock() + timedelta(minutes=20))
                running.queue("deliver_alerts")
            here.look()
            running.make_room()
        here.ill.outage, here.ill.faults = None, []
        running.catch_up()
        here.deliver()
        here.close()
        received = here.received
        # Whatever is asked for once more tells nothing more, and neither does a backfill.
        for open_ in here.opens[-2:]:
            running.queue("h1_pass", {"dagster/partition": partition_key(H1, open_)})
        running.succeeded("h1_pass", range_of(here.opens))
        running.succeeded("deliver_alerts")
        assert here.received == received
        told = running.figures()
        assert verify(running.pipeline, H1).difference is None
    told["messages"] = sum(len(account.receiver.accepted) - account.repeated for account in here.accounts)
    told["requests not taken"] = sum(account.failed for account in here.accounts)
    told["repeated by kills"] = sum(account.repeated for account in here.accounts)
    for name, figure in told.items():
        record_property(name, figure)
