"""How long a pass may still take. It goes with every pass to its source and its store."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from spike_assets.errors import DeadlineError


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock (seconds) after which a pass has to have ended."""

    at: float
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    @classmethod
    def after(cls, limit: timedelta, monotonic: Callable[[], float] = time.monotonic) -> "Deadline":
        """Give the deadline that lies `limit` from now."""
        return cls(monotonic() + limit.total_seconds(), monotonic)

    def remaining(self) -> float:
        """Seconds left, 0 when none are."""
        return max(0.0, self.at - self.monotonic())

    def left(self) -> timedelta:
        """Give what `remaining` gives, as a timedelta."""
        return timedelta(seconds=self.remaining())

    def earlier(self, seconds: float) -> "Deadline":
        """Give the deadline that comes so much before this one."""
        return replace(self, at=self.at - seconds)

    def check(self, doing: str) -> None:
        """Raise `DeadlineError` when the time is up; `doing` says what was about to be done."""
        if self.remaining() <= 0:
            raise DeadlineError(f"out of time before {doing}; the next pass goes on from here")
