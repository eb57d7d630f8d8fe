"""How alerts are handed on: over which channels, how fresh they have to be, how long they are tried."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.alerts.channels.base import Channel
from spike_assets.granularity import Granularity

LONGEST = timedelta(hours=24)
"""An alert is no news after that, unless SPIKE_ALERT_MAX_AGE says more."""


@dataclass(frozen=True)
class Policy:
    """How alerts are handed on.

    Attributes
    ----------
    channels
        Who is told. Without any, nothing is queued.
    max_age
        How long after it could first have been noticed an alert is still queued; None for two candles of its
        granularity, at most 24 hours.
    dead_after
        How long a message is tried before it is a dead letter.
    public_url
        Where people reach the dashboard; None when messages have no links.
    """

    channels: tuple[Channel, ...] = ()
    max_age: timedelta | None = None
    dead_after: timedelta = timedelta(hours=24)
    public_url: str | None = None

    def age_limit(self, granularity: Granularity) -> timedelta:
        """Give how old an alert may be when it is queued."""
        return min(2 * granularity.step, LONGEST) if self.max_age is None else self.max_age

    def is_fresh(self, granularity: Granularity, closed_at: datetime, now: datetime) -> bool:
        """Tell whether a candle's alerts are news: its age counts from the first tick that was due behind its close."""
        return now - market_hours.next_tick(granularity, closed_at) <= self.age_limit(granularity)
