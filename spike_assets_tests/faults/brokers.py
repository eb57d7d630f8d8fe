"""A live platform on a loopback OANDA: its market, its clock, its ticks, and the tables that it has to end in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window, candle_times, close_of, last_closed
from spike_assets.pipeline import PassResult, Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.reconcile import DAYS, reconcile
from spike_assets.sources.oanda import OandaSource
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.store import Store
from spike_assets_tests.oanda_server import Clock, OandaServer
from spike_assets_tests.sources.oanda.asking import HASTE, client_of
from spike_assets_tests.support import computed_hashes, hashes, make_pipeline, pending_marks, simulated

NAMES = ("CHF_JPY", "EUR_USD", "USD_THB")
AFTER_CLOSE = timedelta(minutes=5)
FOREVER = Deadline.after(timedelta(days=1))


@dataclass(frozen=True)
class Market:
    """The candles of some hours, as they finally are: simulated, so that every machine has them."""

    granularity: Granularity
    window: Window
    instruments: tuple[str, ...] = NAMES

    @cached_property
    def candles(self) -> pd.DataFrame:
        return simulated(self.granularity, self.instruments, self.window)

    def until(self, now: datetime) -> "Market":
        """Give this market up to the last candle that has closed at a later time."""
        return replace(self, window=Window(self.window.start, last_closed(self.granularity, now).end))

    @cached_property
    def expected(self) -> dict[str, str]:
        """What every way has to end in."""
        return computed_hashes(self.candles, self.granularity, datetime(2040, 1, 1, tzinfo=UTC))

    @cached_property
    def opens(self) -> list[datetime]:
        times = candle_times(self.granularity, self.window).to_pydatetime()
        return [time.astimezone(UTC) for time in times]

    @cached_property
    def closes(self) -> list[datetime]:
        return [close_of(self.granularity, time) for time in self.opens]


@dataclass
class Live:
    """A pipeline on a running server, and a clock that both go by."""

    market: Market
    server: OandaServer
    clock: Clock
    pipeline: Pipeline
    folder: Path

    def tick(self, close: datetime, after: timedelta = AFTER_CLOSE, deadline: Deadline | None = None) -> PassResult:
        """Run the pass of the tick behind a close."""
        self.clock.set(close + after)
        return process(self.pipeline, self.market.granularity, now=self.clock(), trigger="schedule", deadline=deadline)

    def load(self, until: datetime) -> None:
        """Backfill the market's candles that have closed by then."""
        self.clock.set(until + AFTER_CLOSE)
        backfill(self.pipeline, self.market.granularity, Window(self.market.window.start, until))

    def heal(self, days: int = DAYS) -> dict[str, str]:
        """End every fault, run one more tick and a reconcile; give what the tables are then."""
        self.server.faults.clear()
        self.server.forget()
        self._restart()  # a client that was asked to wait for a minute does, and no clock of ours makes it shorter
        self.clock.set(self.market.window.end + timedelta(minutes=30))
        process(self.pipeline, self.market.granularity, now=self.clock())
        self.clock.advance(timedelta(minutes=1))
        reconcile(self.pipeline, self.market.granularity, now=self.clock(), deadline=FOREVER, days=days)
        with self.pipeline.store.reading(FOREVER) as session:
            unknown = session.ops.unavailable(self.market.granularity)
        if len(unknown):
            self._heal_unknown(days)
        assert pending_marks(self.pipeline, self.market.granularity) == 0
        return hashes(self.pipeline, self.market.granularity)

    def _heal_unknown(self, days: int) -> None:
        """Wait for a day: whoever the broker did not know is asked for again, and so is the account's list."""
        self.market = self.market.until(self.clock() + timedelta(hours=25))
        self.clock.advance(timedelta(hours=25))
        self._restart()
        process(self.pipeline, self.market.granularity, now=self.clock())
        reconcile(self.pipeline, self.market.granularity, now=self.clock(), deadline=FOREVER, days=days + 1)

    def _restart(self) -> None:
        """Go on with a new source, as a new process does."""
        self.pipeline.source.client.close()  # type: ignore[attr-defined]
        self.pipeline = replace(self.pipeline, source=oanda_of(self.server.url, self.folder))


def oanda_of(server_url: str, folder: Path, *, limited: bool = True) -> OandaSource:
    """Give a source with OANDA's own limits, that waits for milliseconds where it would wait for seconds."""
    return OandaSource(
        client_of(server_url, folder, limited=limited, silence=0.3), "101-001-1234567-001", first_wait=HASTE
    )


@contextmanager
def live(market: Market, store: str | Store, folder: Path, *, limited: bool = True) -> Iterator[Live]:
    """Give a platform whose partitions begin with the market's window; nothing has run yet."""
    clock = Clock(market.window.start)
    with OandaServer(SimulatedSource(), clock, instruments=market.instruments) as server:
        source = oanda_of(server.url, folder, limited=limited)
        pipeline = make_pipeline(source, store, market.instruments, history_start=market.window.start)
        running = Live(market, server, clock, replace(pipeline, clock=clock), folder)
        yield running
        running.pipeline.source.client.close()  # type: ignore[attr-defined]
