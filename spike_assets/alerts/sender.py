"""Sending what is due: claim, send, mark, and again, until nothing is left or the time is up.

One sender per channel at a time, held by a lock that a dying process releases: messages keep their order, and a killed
sender costs at most one repetition, with the same id. The store is not held while sending.
"""

import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from spike_assets.alerts.channels.base import Channel, DeliveryError, UndeliverableError
from spike_assets.alerts.claim import About, claim, ready
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.policy import Policy
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreLockedError
from spike_assets.store.outbox import Delivery
from spike_assets.store.store import Session, Store

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=15)
_PATIENCE = timedelta(seconds=2)
"""How long a sender waits for the one before it: what that leaves behind, the next one sends."""
LONGEST = timedelta(seconds=10)
"""What sending one message may take. With less time than that, none is begun: it would be cut, and sent twice."""
IN_A_PASS = timedelta(seconds=5)
"""For how long a pass begins to send: a channel that hangs shall not hold it up."""

_MARKING = timedelta(seconds=8)
"""How long a message's mark is tried for, at least."""
_IDLE = timedelta(hours=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one try.

    `unmarked` is a message that was sent, or refused, and could not be marked as such: it will be sent again. One that
    failed before any message was taken has no `delivery_id`.
    """

    channel: str
    delivery_id: str
    kind: str
    status: Literal["sent", "failed", "dead", "unmarked"]
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
        waiting = session.outbox.waiting()
        found = []
        for channel in self.policy.channels:
            due = waiting.get(channel.name) or (now if ready(session, channel, now) else None)
            if due is not None:
                found.append((channel, max(due, _quiet_until(channel, now) or due)))
        return found

    def deliver(
        self, deadline: Deadline, channels: Sequence[Channel] | None = None, *, within: timedelta | None = None
    ) -> list[Outcome]:
        """Send all that is due, over these channels or all; what is left, a later call sends.

        Never raises for what goes wrong with a channel: that is what the outcomes are for.

        Parameters
        ----------
        deadline
            By when everything has ended. A message whose sending this might cut short is not begun.
        within
            For how long messages are begun; until the deadline unless given.
        """
        chosen = self.policy.channels if channels is None else tuple(channels)
        begin = deadline.earlier(LONGEST.total_seconds())
        if within is not None and within < begin.left():
            begin = Deadline.after(within)
        if len(chosen) <= 1:
            return [outcome for channel in chosen for outcome in self._over(channel, deadline, begin)]
        with ThreadPoolExecutor(len(chosen), thread_name_prefix="channel") as pool:
            parts = list(pool.map(lambda channel: self._over(channel, deadline, begin), chosen))
        return [outcome for part in parts for outcome in part]

    def _over(self, channel: Channel, deadline: Deadline, begin: Deadline) -> list[Outcome]:
        outcomes: list[Outcome] = []
        purpose = f"sending to {channel.name}"
        with ExitStack() as stack:
            try:
                stack.enter_context(self.store.sending(channel.name, _within(_PATIENCE, deadline), purpose))
            except StoreLockedError as error:
                _log.info("%s is left to the next sender: %s", channel.name, error)
                return outcomes
            try:
                self._send_all(channel, deadline, begin, purpose, outcomes)
            except SpikeError as error:
                outcomes.append(Outcome(channel.name, "", "message", "failed", _one_line(error)))
            except Exception as error:  # noqa: BLE001 - the pass has gone well, whatever is wrong with a channel
                _log.error("%s: a fault in spike, report this: %s", channel.name, type(error).__name__)
                _log.debug("%s", channel.name, exc_info=True)  # its words may be a secret's
                outcomes.append(Outcome(channel.name, "", "message", "failed", f"a fault: {type(error).__name__}"))
        return outcomes

    def _send_all(
        self, channel: Channel, deadline: Deadline, begin: Deadline, purpose: str, outcomes: list[Outcome]
    ) -> None:
        """Take what is next, send it, mark it: the store is opened once for a mark and for what is taken behind it."""
        done: Delivery | None = None
        while True:
            unmarked = done is not None
            # What was sent has to be marked, or it is sent again: that may take longer than is left.
            patience = Deadline.after(max(deadline.left(), _MARKING)) if done else deadline
            try:
                with self.store.writing(patience, purpose) as session:
                    if done is not None:
                        with session.transaction():
                            session.outbox.write(done)
                        unmarked = False
                    with session.transaction():  # another one: what goes wrong here undoes no mark
                        taken = self._take(session, channel) if begin.remaining() > 0 else None
            except Exception as error:
                if not unmarked:
                    raise
                why = _one_line(error) if isinstance(error, SpikeError) else f"a fault: {type(error).__name__}"
                outcomes[-1] = replace(outcomes[-1], status="unmarked", error=why)
                _log.error("%s: %s", channel.name, outcomes[-1])
                return
            if taken is None:
                return
            done = self._try(channel, taken, deadline, outcomes)

    def _take(self, session: Session, channel: Channel) -> Delivery | None:
        """Give the message that is to be sent now, noted as tried once more; claim the next one where none waits."""
        now = self.clock()
        if _quiet_until(channel, now):
            return None
        head = session.outbox.first_waiting(channel.name)
        if head is None and claim(session, channel, self.about, now):
            head = session.outbox.first_waiting(channel.name)
        if head is None or head.next_attempt_at > now:
            return None
        taken = replace(head, attempts=head.attempts + 1, tried_since=_tried_since(head, now))
        session.outbox.write(taken)
        return taken

    def _try(self, channel: Channel, taken: Delivery, deadline: Deadline, outcomes: list[Outcome]) -> Delivery:
        status: Literal["sent", "failed", "dead"] = "sent"
        try:
            channel.send(Digest.model_validate_json(taken.body), deadline)
            done = replace(taken, status="sent", sent_at=self.clock(), error=None)
        except UndeliverableError as error:
            done = self._given_up(taken, _one_line(error))
        except DeliveryError as error:
            done = self._put_off(taken, _one_line(error), timedelta(seconds=error.retry_after))
        except Exception as error:  # noqa: BLE001 - a library's fault holds up this message, and nothing else
            _log.debug("%s", channel.name, exc_info=True)  # its words may be a secret's
            done = self._put_off(taken, f"a fault of the channel: {type(error).__name__}", timedelta(0))
        if done.status != "sent":
            status = "dead" if done.status == "dead" else "failed"
            _log.warning("%s: %s %s, %s", channel.name, taken.kind, taken.delivery_id, done.error)
        outcomes.append(Outcome(channel.name, taken.delivery_id, taken.kind, status, done.error))
        return done

    def _put_off(self, taken: Delivery, why: str, retry_after: timedelta) -> Delivery:
        """Try again later, and give up what has been tried for too long."""
        now = self.clock()
        if now - taken.tried_since >= self.policy.dead_after:
            return self._given_up(taken, why)
        return replace(taken, next_attempt_at=now + max(pause(taken.attempts), retry_after), error=why)

    @staticmethod
    def _given_up(taken: Delivery, why: str) -> Delivery:
        return replace(taken, status="dead", error=why)


def _within(limit: timedelta, deadline: Deadline) -> Deadline:
    return Deadline.after(min(limit, deadline.left()))


def _tried_since(head: Delivery, now: datetime) -> datetime:
    """Give from when on a message's tries count: time in which nobody tried, though it was due, does not."""
    if not head.attempts:
        return now
    idle = now - head.next_attempt_at
    return head.tried_since + idle if idle > _IDLE else head.tried_since


def pause(attempts: int, chance: Callable[[], float] = random.random) -> timedelta:
    """Give how long to wait behind so many tries: twice as long each time, and no two senders the same."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * doublings) * (0.5 + chance() / 2)


def _quiet_until(channel: Channel, now: datetime) -> datetime | None:
    return channel.wants.quiet.until(now) if channel.wants.quiet else None


def _one_line(error: SpikeError) -> str:
    return " ".join(str(error).split())
