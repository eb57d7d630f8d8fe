"""What every pass works with: a source, a store, and the settings that give the numbers their meaning."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from spike_assets.alerts.claim import About
from spike_assets.alerts.config import open_channels
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.sender import Sender
from spike_assets.core import FORMULA_VERSION
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError, StoreLockedError
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.settings import Settings
from spike_assets.sources import open_source
from spike_assets.sources.base import CandleSource
from spike_assets.store import open_store
from spike_assets.store.ops import MEANING, Provenance
from spike_assets.store.store import Session, Store


def utc_now() -> datetime:
    """Give the time of day. The only clock; everything else is handed one."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Watch:
    """A time of day that goes on from when a pass started, whatever becomes of the machine's clock meanwhile."""

    started: datetime
    _since: float = field(default_factory=time.monotonic, init=False, repr=False)

    def now(self) -> datetime:
        """Give the time of day, UTC."""
        return self.started + timedelta(milliseconds=self.milliseconds())

    def at(self, monotonic: float) -> datetime:
        """Give the time of day of a moment on the monotonic clock, UTC."""
        return self.started + timedelta(seconds=monotonic - self._since)

    def milliseconds(self) -> float:
        """Give how long it has been."""
        return (time.monotonic() - self._since) * 1000


@dataclass(frozen=True)
class Pipeline:
    """A source, a store, and what is to be done between them.

    Attributes
    ----------
    instruments
        Which instruments are watched.
    history_start
        Where partitions, and backfills that name no start, begin.
    atr_period
        Wilder's period, in candles.
    warmup
        How many candles before its first window an instrument without any is given.
    simultaneous_share
        Of the instruments that have a candle: so many with an event make a group.
    policy
        How alerts are handed on; without any channels unless given.
    clock
        Gives the time of day, UTC.
    """

    source: CandleSource
    store: Store
    instruments: tuple[str, ...]
    history_start: datetime
    atr_period: int = 14
    warmup: int = 500
    simultaneous_share: float = 0.5
    policy: Policy = field(default_factory=Policy)
    clock: Callable[[], datetime] = field(default=utc_now, repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Pipeline":
        """Give the pipeline that the settings ask for."""
        return cls(
            source=open_source(settings),
            store=open_store(settings.database_url),
            instruments=settings.instruments,
            history_start=settings.history_start,
            atr_period=settings.atr_period,
            warmup=settings.warmup,
            simultaneous_share=settings.simultaneous_share,
            policy=Policy(
                channels=open_channels(settings),
                max_age=settings.alert_max_age,
                dead_after=settings.alert_dead_after,
                public_url=settings.public_url,
            ),
        )

    @property
    def provenance(self) -> Provenance:
        """What this pipeline's numbers mean."""
        return Provenance(
            self.source.name, self.source.price, self.atr_period, FORMULA_VERSION, self.simultaneous_share
        )

    @property
    def sender(self) -> Sender:
        """What sends the messages that are due."""
        return Sender(self.store, self.policy, About(self.source.name, self.policy.public_url), self.clock)

    @contextmanager
    def changing(self, granularity: Granularity, deadline: Deadline, purpose: str) -> Iterator[Session]:
        """Open the store to change one granularity, alone; refused where its numbers mean something else."""
        with (
            self.store.changing(granularity, deadline, purpose),
            self.store.writing(deadline, purpose) as session,
        ):
            self.require_provenance(session)
            yield session

    def require_provenance(self, session: Session) -> None:
        """Raise `SettingsError` where the store's numbers mean something else; an empty one takes our meaning.

        Until the session ends nobody makes them mean anything else.
        """
        ours = session.ops.provenance() == self.provenance
        others = session.keep(MEANING, shared=ours)
        if ours and not others:
            return
        if session.ops.provenance() == self.provenance:  # once more: somebody else may have been first
            return
        refused = self.refused(session)
        if refused:
            raise SettingsError(refused)
        if ours:
            raise StoreLockedError(f"{self.store.url} was given another meaning this moment; try again")
        session.ops.write_provenance(self.provenance)

    def refused(self, session: Session) -> str | None:
        """Say why this pipeline may not work on the store; None when it may, or the store has no candles."""
        stored = session.ops.provenance()
        if stored in (None, self.provenance) or _is_empty(session):
            return None
        return refusal(self.store.url, stored, self.provenance)


def refusal(url: str, stored: Provenance, wanted: Provenance) -> str:
    """Say why a pass is refused, and the ways out."""
    if (stored.source, stored.price) != (wanted.source, wanted.price):
        rebuild = "`spike rebuild --discard-candles` empties it for the new source"
    else:
        rebuild = "`spike rebuild` recomputes it"
    return (
        f"{url} holds {_meaning(stored)}, the settings say {_meaning(wanted)};"
        f" set SPIKE_DATABASE to another database, or {rebuild}"
    )


def _is_empty(session: Session) -> bool:
    return all(session.data.last_time(granularity) is None for granularity in GRANULARITIES.values())


def _meaning(provenance: Provenance) -> str:
    share = provenance.simultaneous_share
    return (
        f"{provenance.source} candles ({provenance.price}) with ATR {provenance.atr_period}"
        f" and formulas of version {provenance.formula_version}{'' if share == 0.5 else f', groups from {share:.0%}'}"
    )


@contextmanager
def timed(milliseconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block took."""
    start = time.perf_counter()
    yield
    milliseconds[name] = round((time.perf_counter() - start) * 1000, 3)
