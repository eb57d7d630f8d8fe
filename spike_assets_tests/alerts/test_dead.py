"""Messages that were given up: tried again while they are true, told anew where they are not, or let be."""

from collections.abc import Callable

import pytest

from spike_assets.alerts.channels.base import UndeliverableError
from spike_assets.alerts.dead import discard, resend
from spike_assets_tests.alerts.desk import Desk, Fault, Inbox, away
from spike_assets_tests.support import FOREVER

EUR, GBP = "EUR_USD", "GBP_USD"


def refused(*peaks: str) -> Desk:
    """Give a desk whose message about alerts at one hour was refused."""
    desk = Desk(Inbox(script=[Fault(UndeliverableError("too long"))]), peaks=[(name, 12) for name in peaks]).begin(12)
    desk.run(13)
    assert [delivery.status for delivery in desk.deliveries()] == ["dead"]
    return desk


def again(desk: Desk) -> int:
    """Try all that was given up again; give how many messages that are."""
    with desk.pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        return resend(session, session.outbox.dead(), desk.now)


def correct(desk: Desk) -> None:
    """Let corrections come in, and whatever is due be sent."""
    desk.reconcile()
    desk.run()


def test_what_is_still_true_is_sent_again_with_its_id_and_its_words() -> None:
    desk = refused(EUR, GBP)
    (before,) = desk.deliveries()
    desk.later(hours=30)
    assert again(desk) == 1
    (waiting,) = desk.deliveries()
    assert (waiting.status, waiting.attempts) == ("waiting", 0)
    assert [(outcome.status, outcome.delivery_id) for outcome in desk.deliver()] == [("sent", before.delivery_id)]
    (after,) = desk.deliveries()
    assert (after.body, after.number) == (before.body, before.number)
    assert desk.inbox.told() == [("digest", 12, (EUR, GBP))]
    assert again(desk) == 0


def test_it_is_tried_for_as_long_as_if_it_were_new() -> None:
    desk = refused(EUR)
    desk.later(hours=30)
    again(desk)
    desk.inbox.script = [away()]
    assert [outcome.status for outcome in desk.deliver()] == ["failed"]


def test_a_group_and_a_summary_are_sent_again_too() -> None:
    desk = refused(EUR, GBP, "EUR_GBP")
    assert again(desk) == 1
    desk.deliver()
    assert desk.inbox.told() == [("digest", 12, ("*", "EUR_GBP", EUR, GBP))]
    desk.peak(EUR, 20)
    desk.inbox.script = [Fault(UndeliverableError("too long"))]
    desk.run(40)
    assert again(desk) == 1
    desk.deliver()
    assert desk.inbox.told()[1:] == [("summary", None, ())]


def test_of_what_is_partly_untrue_the_rest_is_told_anew() -> None:
    desk = refused(EUR, GBP)
    desk.calm(EUR, 12)
    correct(desk)
    assert desk.inbox.received == []
    assert again(desk) == 0
    assert [outcome.status for outcome in desk.deliver()] == ["sent"]
    assert desk.inbox.told() == [("digest", 12, (GBP,))]
    assert [delivery.status for delivery in desk.deliveries()] == ["discarded", "sent"]


def test_what_was_told_otherwise_since_is_not_said_again() -> None:
    desk = refused(EUR, GBP)
    desk.peak(EUR, 12, 1.1050)
    correct(desk)
    assert desk.inbox.told() == [("digest", 12, (EUR,))]  # it was never told what it was before
    assert again(desk) == 0
    desk.deliver()
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("supplement", 12, (GBP,))]


@pytest.mark.parametrize("change", [lambda desk: desk.calm(EUR, 12), lambda _: None])
def test_what_is_let_be_is_sent_no_more_and_taken_back_by_nobody(change: Callable[[Desk], None]) -> None:
    desk = refused(EUR)
    with desk.pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        discard(session, session.outbox.dead())
    change(desk)
    correct(desk)
    assert again(desk) == 0
    assert desk.deliver() == []
    assert desk.inbox.received == []
    assert [delivery.status for delivery in desk.deliveries()] == ["discarded"]


def test_of_a_correction_that_died_what_still_holds_is_said_when_it_is_sent_again() -> None:
    desk = Desk(peaks=[("EUR_USD", 12), ("GBP_USD", 12)]).begin(12)
    desk.run(13)
    desk.inbox.script = [Fault(UndeliverableError("too long"))]
    for name in ("EUR_USD", "GBP_USD"):
        desk.calm(name, 12)
    desk.reconcile()
    desk.deliver()
    desk.peak("GBP_USD", 12)
    desk.reconcile()
    desk.deliver()
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        assert resend(session, session.outbox.dead(), desk.now) == 0
    desk.deliver()
    assert desk.inbox.told() == [
        ("digest", 12, ("EUR_USD", "GBP_USD")),
        ("supplement", 12, ("~GBP_USD",)),
        ("correction", 12, ("-EUR_USD",)),
    ]
