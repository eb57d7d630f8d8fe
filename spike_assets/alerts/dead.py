"""Messages that were given up: trying them again, or letting them be."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from spike_assets.alerts.digest import Digest
from spike_assets.alerts.queue import UNSURE
from spike_assets.store.outbox import Delivery, Item
from spike_assets.store.store import Session


def resend(session: Session, dead: Sequence[Delivery], now: datetime) -> int:
    """Put messages that were given up back into their channel's order, as if they had never been tried.

    One of which something was told otherwise since is not sent again as it was: what of it still holds is queued anew.

    Returns
    -------
    int
        How many messages will be sent again as they are.
    """
    session.outbox.claim()
    again = 0
    for one in dead:
        items = session.outbox.said_by(one.delivery_id)
        if len(items) == _alerts(one):
            fresh = replace(one, status="waiting", attempts=0, tried_since=now, next_attempt_at=now)
            session.outbox.write(fresh)
            again += 1
        else:
            discard(session, [one])
            session.outbox.put([replace(item, status="pending", said=_before(item)) for item in items])
    return again


def _before(item: Item) -> str | None:
    """Give what is `said` of an alert without the message: nothing; or, where it was to be taken back, nobody knows."""
    return None if item.said else UNSURE


def discard(session: Session, dead: Sequence[Delivery]) -> None:
    """Let messages that were given up be: they are no trouble any more."""
    for one in dead:
        session.outbox.write(replace(one, status="discarded"))


def _alerts(delivery: Delivery) -> int:
    """Count the alerts that a message is about, each of which the outbox remembers."""
    said = Digest.model_validate_json(delivery.body)
    return len(said.entries) + (said.group is not None) + (said.missed.alerts if said.missed else 0)
