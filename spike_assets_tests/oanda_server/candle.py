"""One candle as the broker holds it, prices already text."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Give a time as microseconds since 1970."""
    return (time - EPOCH) // MICROSECOND


@dataclass(frozen=True, slots=True)
class Candle:
    """A candle with everything that an answer says of it; times are microseconds since 1970.

    Attributes
    ----------
    time
        Its open.
    opened
        Its first tick, as far as the market's hours tell: a week opens on Friday and ticks from Sunday on.
    closes
        Its end.
    completes
        When `complete` turns true, unless a fault delays it.
    prices
        Open, high, low and close of the mid price, as text.
    """

    time: int
    opened: int
    closes: int
    completes: int
    volume: int
    prices: tuple[str, str, str, str]
    complete: bool = True

    def at(self, now: int) -> Self:
        """Give the candle as it stands before it is complete: flat at its open until it has closed."""
        if self.closes <= now:
            return replace(self, complete=False)
        part = self.volume * (now - self.opened) // (self.closes - self.opened)
        opening = self.prices[0]
        return replace(self, complete=False, volume=max(1, part), prices=(opening,) * 4)
