"""Definitions for a `spike up` in which a trading hour passes each minute: loaded by Dagster in `bench.ticks`.

A market is open when it is, and a tick comes once an hour. So the H1 schedule ticks each minute here, and every minute
is another hour of a week gone by, five minutes past it when the minute begins. The schedule, its daemon, the runs and
the time that all of it takes are the real ones.
"""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bench.launched import build
from spike_assets.defs import schedules
from spike_assets.granularity import GRANULARITIES, H1
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.context import utc_now
from spike_assets.settings import load_settings

PAST = timedelta(minutes=5)
"""How long after a candle's close its tick is due."""
VARIABLE = "BENCH_SHIFT"


@dataclass(frozen=True)
class Shift:
    """The minute that begins at `real` is the hour that begins at `hour`; the next one is the next."""

    real: datetime
    hour: datetime

    def __call__(self, at: datetime) -> datetime:
        """Give what time it is taken for."""
        minutes, rest = divmod(at - self.real, timedelta(minutes=1))
        return self.hour + timedelta(hours=minutes) + PAST + rest

    def back(self, shifted: datetime) -> datetime:
        """Give when it was taken for that."""
        hours, rest = divmod(shifted - PAST - self.hour, timedelta(hours=1))
        return self.real + timedelta(minutes=hours) + rest

    def __str__(self) -> str:
        return f"{self.real.isoformat()} {self.hour.isoformat()}"

    @classmethod
    def of(cls, text: str) -> "Shift":
        """Read what `str` wrote."""
        real, hour = (datetime.fromisoformat(part).astimezone(UTC) for part in text.split())
        return cls(real, hour)


def _definitions(shift: Shift) -> object:
    request = schedules.request
    schedules.request = lambda pipeline, granularity, at, under_way=(): request(
        pipeline, granularity, shift(at), under_way
    )
    pipeline = replace(Pipeline.from_settings(load_settings()), clock=lambda: shift(utc_now()))
    crons = [(granularity, granularity.crons) for granularity in GRANULARITIES.values()]
    for granularity, _ in crons:  # as the schedules read them; everybody else goes by the true ones
        object.__setattr__(granularity, "crons", ("* * * * *",) if granularity is H1 else ("0 0 29 2 *",))
    defs = build(pipeline)
    for granularity, true in crons:
        object.__setattr__(granularity, "crons", true)
    return defs


if VARIABLE in os.environ:
    defs = _definitions(Shift.of(os.environ[VARIABLE]))
