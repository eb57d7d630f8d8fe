"""Sending what is due: claim, send, mark, and again, until nothing is left or the time is up.

One sender per channel at a time, held by a lock that a dying process releases: messages keep their order, and a killed
sender costs at most one repetition, with the same id. The store is not held while sending.
"""

import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from spike_assets.alerts.channels.base import Channel, DeliveryError, UndeliverableError
from spike_assets.alerts.claim import About, caught_up, claim
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.policy import Policy
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreLockedError
from spike_assets.granularity import GRANULARITIES
from spike_assets.store.outbox import Delivery
from spike_assets.store.store import Session, Store

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=15)
_PATIENCE = timedelta(seconds=2)
"""How long a sender waits for the one before it: what that leaves behind, the next one sends."""

_MARKING = timedelta(seconds=8)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one try."""

    channel: str
    delivery_id: str
    kind: str
    status: Literal["sent", "failed", "dead"]
    error: str | None = None

    def __str__(self) -> str:
        said = f"{self.channel}: {self.kind} {self.delivery_id[:8]} {self.status}"
        return f"{said}, {self.error}" if self.error else said


@dataclass(frozen=True)
class Sender:
    """Sends what is due.

    Attributes
    ----------
    clock
        Gives the time of day, UTC.
    """

    store: Store
    policy: Policy
    about: About
    clock: Callable[[], datetime] = field(repr=False)

    def due(self, session: Session) -> list[Channel]:
        """Give the channels that there is something to send to now."""
        now = self.clock()
        return [channel for channel, at in self.when(session, now) if at <= now]

    def when(self, session: Session, now: datetime) -> list[tuple[Channel, datetime]]:
        """Give the channels with something to send, and when: at once, at the next try, behind their quiet hours."""
        if not self.policy.channels:
            return []
        waiting = session.outbox.due()
        for name, granularity in session.outbox.missed():
            if caught_up(session, GRANULARITIES[granularity], now):
                waiting[name] = None
        return [
            (channel, max(waiting[channel.name] or now, _quiet_until(channel, now) or now))
            for channel in self.policy.channels
            if channel.name in waiting
        ]

    def deliver(self, deadline: Deadline, channels: Sequence[Channel] | None = None) -> list[Outcome]:
        """Send all that is due, over these channels or all; what fails is tried again by a later call.

        Never raises for a channel that is away: that is what the outcomes are for.
        """
        chosen = self.policy.channels if channels is None else tuple(channels)
        if len(chosen) <= 1:
            return [outcome for channel in chosen for outcome in self._over(channel, deadline)]
        with ThreadPoolExecutor(len(chosen), thread_name_prefix="channel") as pool:
            parts = list(pool.map(lambda channel: self._over(channel, deadline), chosen))
        return [outcome for part in parts for outcome in part]

    def _over(self, channel: Channel, deadline: Deadline) -> list[Outcome]:
        outcomes: list[Outcome] = []
        patience = Deadline.after(min(_PATIENCE, deadline.left()))
        purpose = f"sending to {channel.name}"
        try:
            with self.store.sending(channel.name, patience, purpose):
                self._send_all(channel, deadline, purpose, outcomes)
        except StoreLockedError as error:
            _log.info("%s is left to the next sender: %s", channel.name, error)
        return outcomes

    def _send_all(self, channel: Channel, deadline: Deadline, purpose: str, outcomes: list[Outcome]) -> None:
        """Mark what was sent, and take what is next, in one transaction each time."""
        done: Delivery | None = None
        while True:
            # What was sent has to be marked, or it is sent again: that may take longer than is left.
            patience = Deadline.after(max(deadline.left(), _MARKING)) if done else deadline
            with self.store.writing(patience, purpose, brief=True) as session, session.transaction():
                if done is not None:
                    session.outbox.write(done)
                taken = self._take(session, channel) if deadline.remaining() > 0 else None
            if taken is None:
                return
            done = self._try(channel, taken, deadline, outcomes)

    def _take(self, session: Session, channel: Channel) -> Delivery | None:
        """Claim what is pending; give the message that is to be sent now, noted as tried once more."""
        now = self.clock()
        if _quiet_until(channel, now):
            return None
        claim(session, channel, self.about, now)
        head = session.outbox.first_waiting(channel.name)
        if head is None or head.next_attempt_at > now:
            return None
        taken = replace(head, attempts=head.attempts + 1)
        session.outbox.write(taken)
        return taken

    def _try(self, channel: Channel, taken: Delivery, deadline: Deadline, outcomes: list[Outcome]) -> Delivery:
        try:
            channel.send(Digest.model_validate_json(taken.body), deadline)
        except UndeliverableError as error:
            done = self._given_up(taken, error)
        except DeliveryError as error:
            done = self._put_off(taken, error)
        else:
            done = replace(taken, status="sent", sent_at=self.clock(), error=None)
        status: Literal["sent", "failed", "dead"] = "failed"
        if done.status != "waiting":
            status = "sent" if done.status == "sent" else "dead"
        if done.error:
            _log.warning("%s: %s %s, %s", channel.name, taken.kind, taken.delivery_id, done.error)
        outcomes.append(Outcome(channel.name, taken.delivery_id, taken.kind, status, done.error))
        return done

    def _put_off(self, taken: Delivery, error: DeliveryError) -> Delivery:
        """Try again later, and give up what has been tried for too long."""
        now = self.clock()
        if now - taken.tried_since >= self.policy.dead_after:
            return self._given_up(taken, error)
        wait = max(pause(taken.attempts), timedelta(seconds=error.retry_after))
        return replace(taken, next_attempt_at=now + wait, error=_one_line(error))

    @staticmethod
    def _given_up(taken: Delivery, error: SpikeError) -> Delivery:
        return replace(taken, status="dead", error=_one_line(error))


def pause(attempts: int, chance: Callable[[], float] = random.random) -> timedelta:
    """Give how long to wait behind so many tries: twice as long each time, and no two senders the same."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * doublings) * (0.5 + chance() / 2)


def _quiet_until(channel: Channel, now: datetime) -> datetime | None:
    return channel.wants.quiet.until(now) if channel.wants.quiet else None


def _one_line(error: SpikeError) -> str:
    return " ".join(str(error).split())
