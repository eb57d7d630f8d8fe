"""What a channel wants: rules, tiers, instruments, granularities, and the hours in which it is left alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from spike_assets.alerts.digest import Reasons
from spike_assets.core.significance import TIERS

RULES = ("psychological_level", "volume_spike", "pattern_completion", "simultaneous", "operational")
"""What a message can be about; `operational` is the platform itself."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end` by the clocks of a place; over midnight where `end` is not after `start`.

    Where clocks are put forward over one of the two, it is the moment in which they are. Where they are put back and
    show one of the two twice, the hours begin at the first and end at the second: nobody is woken in between.
    """

    start: time
    end: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """Give when the quiet hours end that `now` lies in, UTC; None outside of them."""
        at, end = now.astimezone(UTC), None
        # Hours of nearly a day can touch the next ones where clocks are put back: then they end where those do.
        while (later := self._end(end or at)) is not None:
            end = later
        return end

    def _end(self, at: datetime) -> datetime | None:
        """Give the end of the hours that began today or yesterday, if `at` lies in them."""
        today = at.astimezone(self.zone).date()
        for day in (today - _DAY, today):
            last = day if self.start < self.end else day + _DAY
            start, end = self._moment(day, self.start, fold=0), self._moment(last, self.end, fold=1)
            if start <= at < end:
                return end
        return None

    def _moment(self, day: date, wall: time, *, fold: int) -> datetime:
        """Give when the clocks show that, UTC: the first time for fold 0, the last for 1."""
        first, second = (
            datetime.combine(day, wall, self.zone).replace(fold=nth).astimezone(UTC) for nth in (fold, 1 - fold)
        )
        before, after = min(first, second), max(first, second)
        shown = before.astimezone(self.zone).replace(tzinfo=None)
        return first if shown == datetime.combine(day, wall) else self._change(before, after)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Give the moment between the two in which the clocks were put forward, to the second."""
        old = before.astimezone(self.zone).utcoffset()
        while (apart := after - before) > timedelta(seconds=1):
            middle = before + timedelta(seconds=apart // timedelta(seconds=2))
            if middle.astimezone(self.zone).utcoffset() == old:
                before = middle
            else:
                after = middle
        return after


@dataclass(frozen=True)
class Wants:
    """What a channel wants. None stands for all."""

    rules: frozenset[str] = frozenset(RULES)
    minimum_tier: str = TIERS[0]
    instruments: frozenset[str] | None = None
    granularities: frozenset[str] | None = None
    quiet: QuietHours | None = None

    def alert(self, granularity: str, instrument: str, reasons: Reasons) -> bool:
        """Whether an instrument's alert is wanted: at least one of its reasons is.

        A round number counts from `minimum_tier` on.
        """
        if not self._granularity(granularity) or not self._instrument(instrument):
            return False
        number = reasons.psychological_level
        found = {
            "psychological_level": number is not None and TIERS.index(number.tier) >= TIERS.index(self.minimum_tier),
            "volume_spike": reasons.volume_spike is not None,
            "pattern_completion": reasons.pattern_completion is not None,
        }
        return any(there and rule in self.rules for rule, there in found.items())

    def group(self, granularity: str, members: Iterable[str]) -> bool:
        """Whether an alert about many instruments at once is wanted: at least one of them is."""
        return (
            "simultaneous" in self.rules
            and self._granularity(granularity)
            and any(self._instrument(name) for name in members)
        )

    def operational(self) -> bool:
        """Whether messages about the platform itself are wanted."""
        return "operational" in self.rules

    def _granularity(self, name: str) -> bool:
        return self.granularities is None or name in self.granularities

    def _instrument(self, name: str) -> bool:
        return self.instruments is None or name in self.instruments
