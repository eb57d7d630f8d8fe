"""The demo's replay: what closed last, passed through live, an hour a second; and who is told of its alerts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.alerts import render
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.cli.dagster_home import Pause
from spike_assets.deadline import Deadline
from spike_assets.errors import TransientError
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.pipeline import PassResult, Pipeline, process
from spike_assets.reporting import Reporter

TRIGGER = "replay"

Tick = tuple[datetime, Granularity]

_REPORT = timedelta(seconds=5)


@dataclass(frozen=True)
class Terminal:
    """The channel of a replay: a line for each digest. Whatever else is configured, nobody's phone rings for it."""

    say: Callable[[str], None]
    name: str = "log"
    wants: Wants = field(default_factory=Wants)

    def send(self, digest: Digest, deadline: Deadline) -> None:  # noqa: ARG002 - a terminal does not keep us waiting
        """Say the digest's title."""
        self.say(render.title(digest))


def begins(now: datetime, hours: int) -> datetime:
    """Give where a replay of so many hours, in which the market was open, begins to end now."""
    return market_hours.nth_candle_before(H1, market_hours.last_closed(H1, now).end, hours)


def replay(
    pipeline: Pipeline,
    ticks: Sequence[Tick],
    reporter: Reporter,
    say: Callable[[str], None],
    pause: Pause,
    seconds: float = 1.0,
) -> None:
    """Run a pass for every tick, each at its own time of day.

    Parameters
    ----------
    ticks
        Those that are `due`.
    reporter
        Tells Dagster of the partitions that a pass filled.
    pause
        Waits from one to the next; what is left when it says to stop is a later replay's business.
    seconds
        How long an hour takes at least.
    """
    # Its clock goes on as it does: that a pass has ended just now is how others see that somebody is catching up.
    live = replace(pipeline, policy=replace(pipeline.policy, channels=(Terminal(say),)))
    for at, granularity in ticks:
        began = time.monotonic()
        try:
            result = process(live, granularity, now=at, trigger=TRIGGER)
        except TransientError as error:  # the next pass of the granularity goes on from there
            say(f"{granularity}: {error}")
        else:
            _tell(reporter, granularity, result, say)
        if pause(max(0.0, began + seconds - time.monotonic()) if granularity is H1 else 0.0):
            return


def due(pipeline: Pipeline) -> list[Tick]:
    """Give the ticks since the newest passes of a loaded store that have something to do, oldest first."""
    now = pipeline.clock()
    with pipeline.store.reading(Deadline.after(_REPORT), "the replay") as session:
        states = {granularity: session.ops.state(granularity) for granularity in GRANULARITIES.values()}
    done = {
        granularity: state.last_processed for granularity, state in states.items() if state and state.last_processed
    }
    at, ticks = min(done.values()), list[Tick]()
    while (at := min(market_hours.next_tick(granularity, at) for granularity in done)) <= now:
        for granularity, processed in done.items():
            closed = market_hours.last_closed(granularity, at).end
            if processed < closed and market_hours.next_tick(granularity, at) == at:
                done[granularity] = closed
                ticks.append((at, granularity))
        at += timedelta(minutes=1)
    return ticks


def _tell(reporter: Reporter, granularity: Granularity, result: PassResult, say: Callable[[str], None]) -> None:
    told = reporter.report(granularity, result.window, TRIGGER, Deadline.after(_REPORT))
    if told and told.why:
        say(f"{granularity}: {told}")
