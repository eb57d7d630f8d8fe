"""A small market, a clock and channels that only listen: what tests of queueing, claiming and sending are driven by.

H1 candles of March 2025. They rise and make no event, but where a test puts a peak. ATR has a period of two, so that
the history is short.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from spike_assets.alerts.channels.base import DeliveryError
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.sender import Outcome
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import PassResult, Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import reconcile
from spike_assets.store.outbox import Delivery, Item
from spike_assets.store.store import Store
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import SOON, hour
from spike_assets_tests.support import (
    FOREVER,
    FrameSource,
    MemoryEngine,
    candle_frame,
    make_pipeline,
    plain,
    tables,
    tidied,
)

NAMES = ("EUR_CHF", "EUR_GBP", "EUR_USD", "GBP_USD")
HOURS = 90
"""The market is open all the while: Monday to Thursday."""
ROUND, ELSEWHERE = 1.1, 1.0995
"""A level at a number that is round for all of them, and one at none."""


def calm(n: int) -> Candle:
    """Give a candle that rises."""
    return Candle(hour(n), 1.0990, 1.0992, 1.0988, 1.0991, 100)


def peak(n: int, level: float = ROUND) -> Candle:
    """Give a candle that falls back from a level: behind a calm one it is an event."""
    open_, low, close = (round(level - below, 5) for below in (0.0008, 0.0015, 0.0013))
    return Candle(hour(n), open_, level, low, close, 100)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a message; it may have arrived all the same."""

    error: BaseException
    arrived: bool = False


@dataclass
class Inbox:
    """A channel that listens. Its script says what goes wrong with the next messages, one by one."""

    name: str = "desk"
    wants: Wants = field(default_factory=Wants)
    received: list[Digest] = field(default_factory=list)
    script: list[Fault | None] = field(default_factory=list)
    meanwhile: Callable[[Digest], None] = lambda _: None

    def send(self, digest: Digest, deadline: Deadline) -> None:  # noqa: ARG002
        self.meanwhile(digest)
        fault = self.script.pop(0) if self.script else None
        if fault is None or fault.arrived:
            self.received.append(digest)
        if fault is not None:
            raise fault.error

    def told(self) -> list[tuple[str, int | None, tuple[str, ...]]]:
        """Give kind, hour and instruments of what came, a group as `*`, what was taken back with a minus."""
        return [(digest.kind, _hour(digest.time), _names(digest)) for digest in self.received]


def _hour(time: datetime | None) -> int | None:
    return None if time is None else int((time - hour(0)) / timedelta(hours=1))


def _names(digest: Digest) -> tuple[str, ...]:
    group = [("*", digest.group.status)] if digest.group else []
    signs = {"new": "", "updated": "~", "withdrawn": "-"}
    return tuple(signs[status] + name for name, status in [*group, *((e.instrument, e.status) for e in digest.entries)])


class Desk:
    """A platform that watches the market: what happens, happens when the test says so."""

    def __init__(
        self,
        *channels: Inbox,
        peaks: Iterable[tuple[str, int]] = (),
        names: tuple[str, ...] = NAMES,
        hours: int = HOURS,
        store: object | None = None,
        **policy: Any,
    ) -> None:
        self.channels = channels or (Inbox(),)
        self.now = hour(0)
        self.world = {(name, n): calm(n) for name in names for n in range(hours)}
        self.source = FrameSource(pd.DataFrame())
        for name, n in peaks:
            self.world[name, n] = peak(n)
        self._show()
        self.pipeline: Pipeline = replace(
            make_pipeline(
                self.source,
                store or Store(MemoryEngine()),  # type: ignore[arg-type]
                names,
                history_start=hour(0),
                atr_period=2,
            ),
            policy=Policy(channels=self.channels, **policy),
            clock=lambda: self.now,
        )

    @property
    def inbox(self) -> Inbox:
        return self.channels[0]

    def _show(self) -> None:
        said: dict[str, list[Candle]] = {}
        for (name, _), candle in sorted(self.world.items()):
            said.setdefault(name, []).append(candle)
        self.source.candles = pd.concat([candle_frame(name, each) for name, each in said.items()], ignore_index=True)

    # --- what the broker says -----------------------------------------------------------------------------------------

    def peak(self, name: str, n: int, level: float = ROUND, **changes: float) -> None:
        """Let there be an event."""
        self.world[name, n] = peak(n, level)._replace(**changes)  # type: ignore[arg-type]
        self._show()

    def calm(self, name: str, n: int) -> None:
        """Let there be none."""
        self.world[name, n] = calm(n)
        self._show()

    def omit(self, name: str, n: int) -> None:
        """Let there be no candle."""
        self.world.pop((name, n), None)
        self._show()

    # --- what the platform does ---------------------------------------------------------------------------------------

    def at(self, n: float) -> "Desk":
        """Set the clock, to five minutes after an hour."""
        self.now = hour(n) + SOON
        return self

    def later(self, **by: float) -> "Desk":
        """Let the clock go on."""
        self.now += timedelta(**by)
        return self

    def load(self, n: int = 10) -> "Desk":
        """Load the first hours, as a first backfill does; nobody has been told of anything yet."""
        self.at(n)
        self.backfill(n)
        return self

    def begin(self, n: int = 10) -> "Desk":
        """Load the first hours, and run the first live pass: from here on the platform watches."""
        self.load(n).run()
        return self

    def run(self, n: float | None = None, granularity: Granularity = H1, **how: Any) -> PassResult:
        """Run a pass, five minutes after an hour or now."""
        if n is not None:
            self.at(n)
        try:
            return process(self.pipeline, granularity, now=self.now, **how)
        finally:
            tidied()  # what happens, happens when the test says so

    def backfill(self, n: int) -> None:
        """Fetch all hours up to one, as somebody does by hand."""
        backfill(self.pipeline, H1, Window(hour(0), hour(n)))

    def reconcile(self) -> None:
        """Fetch the last days once more, a minute later."""
        self.later(minutes=1)
        reconcile(self.pipeline, H1, now=self.now)

    def deliver(self, deadline: Deadline = FOREVER) -> list[Outcome]:
        """Send what is due."""
        return self.pipeline.sender.deliver(deadline)

    def silence(self, instrument: str, hours: float) -> None:
        with self.pipeline.store.writing(FOREVER, "a test") as session:
            session.outbox.silence(instrument, self.now, self.now + timedelta(hours=hours))

    # --- what is stored -----------------------------------------------------------------------------------------------

    def items(self) -> list[Item]:
        with self.pipeline.store.reading(FOREVER) as session:
            return session.outbox.items(H1, Window(hour(0), hour(24 * 366)))

    def deliveries(self) -> list[Delivery]:
        """Give all messages, oldest first."""
        with self.pipeline.store.reading(FOREVER) as session:
            return session.outbox.newest(1000)[::-1]

    def alerts(self) -> list[dict[str, Any]]:
        return plain(tables(self.pipeline, H1)["alerts"])


def away(retry_after: float = 0.0) -> Fault:
    """Give what happens when a channel cannot be reached."""
    return Fault(DeliveryError("nobody answers", retry_after=retry_after))
