"""The outbox as rows: what was put in comes out, by channel, candle and order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from spike_assets.granularity import H1, H4
from spike_assets.market_hours import Window
from spike_assets.store.outbox import Delivery, Incident, Item
from spike_assets.store.store import Session

NOW = datetime(2025, 3, 10, 14, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def item(n: int = 1, *, channel: str = "desk", at: int = 0, status: str = "pending", granularity: str = "H1") -> Item:
    return Item(channel, str(UUID(int=n)), granularity, f"EUR_US{n % 10}", NOW + at * HOUR, status, NOW)


def message(
    channel: str = "desk", *, at: int | None = 0, granularity: str | None = "H1", kind: str = "digest"
) -> Delivery:
    time = None if at is None else NOW + at * HOUR
    return Delivery(channel, 0, kind, granularity, time, '{"ü": 1}', NOW, NOW, NOW)


# --- items ------------------------------------------------------------------------------------------------------------


def test_items_come_back_as_they_were_put(session: Session) -> None:
    told = replace(item(2, status="told"), said="1.1 volume_spike", delivery_id=str(UUID(int=9)))
    session.outbox.put([item(1), told])
    assert session.outbox.items(H1, Window(NOW, NOW + HOUR)) == [item(1), told]
    session.outbox.put([])
    assert len(session.outbox.untold("desk")) == 1


def test_an_item_takes_the_place_of_the_one_before(session: Session) -> None:
    session.outbox.put([item(1), item(1, channel="phone")])
    session.outbox.put([replace(item(1), status="told", said="x", queued_at=NOW + HOUR)])
    assert session.outbox.items(H1, Window(NOW, NOW + HOUR)) == [
        replace(item(1), status="told", said="x", queued_at=NOW + HOUR),
        item(1, channel="phone"),
    ]


def test_items_are_of_a_granularity_and_of_candles_that_open_in_a_window(session: Session) -> None:
    session.outbox.put([item(n, at=n) for n in range(4)] + [item(7, at=1, granularity="H4")])
    found = session.outbox.items(H1, Window(NOW + HOUR, NOW + 3 * HOUR))
    assert [one.time for one in found] == [NOW + HOUR, NOW + 2 * HOUR]
    assert session.outbox.items(H4, Window(NOW, NOW + 9 * HOUR)) == [item(7, at=1, granularity="H4")]


@pytest.mark.parametrize(
    ("status", "there"), [("pending", True), ("missed", True), ("told", False), ("silenced", False)]
)
def test_what_is_untold(session: Session, status: str, there: bool) -> None:
    session.outbox.put([item(1, status=status), item(2, channel="phone")])
    assert bool(session.outbox.untold("desk")) == there


def test_the_oldest_candle_is_told_of_first(session: Session) -> None:
    session.outbox.put([item(1, at=2), item(2, at=0), item(3, at=1)])
    assert [one.time for one in session.outbox.untold("desk")] == [NOW, NOW + HOUR, NOW + 2 * HOUR]


def test_told_of_is_by_alert_over_all_channels(session: Session) -> None:
    session.outbox.put([item(1), item(1, channel="phone"), item(2)])
    assert session.outbox.told_of([str(UUID(int=1))]) == [item(1), item(1, channel="phone")]
    assert session.outbox.told_of([]) == []


def test_drop_removes_one_channels_item(session: Session) -> None:
    session.outbox.put([item(1), item(1, channel="phone"), item(2)])
    session.outbox.drop([item(1)])
    assert session.outbox.items(H1, Window(NOW, NOW + HOUR)) == [item(1, channel="phone"), item(2)]


def test_forget_is_of_one_granularity(session: Session) -> None:
    session.outbox.put([item(1), item(2, granularity="H4")])
    session.outbox.freeze(message())
    others = [session.outbox.freeze(message(granularity=name)) for name in ("H4", None)]
    session.outbox.forget(H1)
    assert session.outbox.untold("desk") == [item(2, granularity="H4")]
    assert session.outbox.newest(9) == others[::-1]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_messages_are_numbered_by_channel(session: Session) -> None:
    frozen = [session.outbox.freeze(message(channel)) for channel in ("desk", "desk", "phone", "desk")]
    assert [(one.channel, one.number) for one in frozen] == [("desk", 1), ("desk", 2), ("phone", 1), ("desk", 3)]
    assert len({UUID(one.delivery_id) for one in frozen}) == 4
    assert [session.outbox.delivery(one.delivery_id) for one in frozen] == frozen
    assert session.outbox.delivery(str(UUID(int=0))) is None


def test_a_given_id_is_kept(session: Session) -> None:
    given = replace(message(at=None, granularity=None, kind="operational"), delivery_id=str(UUID(int=5)))
    assert session.outbox.freeze(given) == replace(given, number=1)
    assert session.outbox.delivery(given.delivery_id) == replace(given, number=1)


def test_what_becomes_of_a_message_is_written_and_its_words_are_not_touched(session: Session) -> None:
    first, second = (session.outbox.freeze(message()) for _ in range(2))
    changed = replace(first, status="dead", attempts=3, next_attempt_at=NOW + HOUR, sent_at=NOW, error="no")
    session.outbox.write(replace(changed, body="other words", kind="test", number=99))
    assert session.outbox.delivery(first.delivery_id) == changed
    assert session.outbox.delivery(second.delivery_id) == second


def test_the_first_that_waits_is_of_the_channel_and_the_lowest_number(session: Session) -> None:
    first, second, third = (session.outbox.freeze(message()) for _ in range(3))
    session.outbox.freeze(message("phone"))
    session.outbox.write(replace(second, status="sent"))
    assert session.outbox.first_waiting("desk") == first
    session.outbox.write(replace(first, status="dead"))
    assert session.outbox.first_waiting("desk") == third
    session.outbox.write(replace(third, status="sent"))
    assert session.outbox.first_waiting("desk") is None


def test_about_is_one_candle_time_of_one_channel_in_order(session: Session) -> None:
    first = session.outbox.freeze(message())
    for other in (message("phone"), message(at=1), message(granularity="H4"), message(at=None, granularity=None)):
        session.outbox.freeze(other)
    last = session.outbox.freeze(message(kind="correction"))
    assert session.outbox.about("desk", H1, NOW) == [first, last]


def test_newest_come_first_and_no_more_than_asked_for(session: Session) -> None:
    frozen = [session.outbox.freeze(replace(message(), created_at=NOW + n * HOUR)) for n in range(3)]
    phone = session.outbox.freeze(message("phone"))
    session.outbox.write(replace(frozen[1], status="dead"))
    assert [one.delivery_id for one in session.outbox.newest(2)] == [frozen[2].delivery_id, frozen[1].delivery_id]
    assert [one.delivery_id for one in session.outbox.newest(9, status="dead")] == [frozen[1].delivery_id]
    assert session.outbox.newest(9, channel="phone") == [phone]
    assert session.outbox.newest(9, channel="phone", status="dead") == []


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_waiting_is_when_the_first_message_of_a_channel_is_to_be_tried(session: Session) -> None:
    assert session.outbox.waiting() == {}
    head, behind = session.outbox.freeze(message()), session.outbox.freeze(message())
    session.outbox.write(replace(head, next_attempt_at=NOW + HOUR))
    phone, sent = session.outbox.freeze(message("phone")), session.outbox.freeze(message("sent"))
    session.outbox.write(replace(sent, status="sent"))
    session.outbox.put([item(1, channel="unclaimed")])
    assert session.outbox.waiting() == {"desk": NOW + HOUR, "phone": phone.next_attempt_at}
    session.outbox.write(replace(head, status="dead"))
    assert session.outbox.waiting() == {"desk": behind.next_attempt_at, "phone": phone.next_attempt_at}


def test_newest_waiting_is_what_came_last_and_how_often_the_first_was_tried(session: Session) -> None:
    assert session.outbox.newest_waiting(["desk"]) == ("", 0)
    session.outbox.put([item(1), replace(item(2), queued_at=NOW + HOUR), item(3, status="told")])
    assert session.outbox.newest_waiting(["desk"]) == (str(UUID(int=2)), 0)
    head = session.outbox.freeze(replace(message(), created_at=NOW + 2 * HOUR))
    session.outbox.write(replace(head, attempts=3))
    assert session.outbox.newest_waiting(["desk"]) == (head.delivery_id, 3)
    sent = session.outbox.freeze(replace(message(), created_at=NOW + 3 * HOUR))
    session.outbox.write(replace(sent, status="sent", attempts=7))
    phone = session.outbox.freeze(replace(message("phone"), created_at=NOW + 4 * HOUR))
    session.outbox.write(replace(phone, attempts=2))
    assert session.outbox.newest_waiting(["desk"]) == (head.delivery_id, 3)
    assert session.outbox.newest_waiting(["desk", "phone"]) == (phone.delivery_id, 5)


def test_dead_ones_are_counted_by_channel(session: Session) -> None:
    for channel, status in (("desk", "dead"), ("desk", "dead"), ("phone", "dead"), ("desk", "sent"), ("mail", "sent")):
        session.outbox.write(replace(session.outbox.freeze(message(channel)), status=status))
    assert session.outbox.count_dead() == {"desk": 2, "phone": 1}


def test_what_was_given_up_is_given_oldest_first_of_all_channels_or_one(session: Session) -> None:
    phone, first, second, third = (session.outbox.freeze(message(name)) for name in ("phone", "desk", "desk", "desk"))
    for one in (phone, third, first):
        session.outbox.write(replace(one, status="dead"))
    session.outbox.write(replace(second, status="sent"))
    assert [one.delivery_id for one in session.outbox.dead()] == [one.delivery_id for one in (first, third, phone)]
    assert [one.delivery_id for one in session.outbox.dead("phone")] == [phone.delivery_id]
    assert session.outbox.dead("nobody") == []


def test_what_a_message_was_the_last_to_say(session: Session) -> None:
    mine, other = (str(UUID(int=n)) for n in (8, 9))
    told = [replace(item(n, status="told"), said="x", delivery_id=by) for n, by in ((1, mine), (2, other), (3, mine))]
    session.outbox.put([*told, item(4)])
    assert session.outbox.said_by(mine) == [told[0], told[2]]
    session.outbox.put([replace(told[0], delivery_id=other)])
    assert session.outbox.said_by(mine) == [told[2]]


def test_recomputed_is_of_every_channel(session: Session) -> None:
    changed = [item(1, status="recomputed"), item(1, channel="phone", status="recomputed")]
    session.outbox.put([*changed, item(2, status="told"), item(3)])
    assert session.outbox.recomputed() == changed
    assert session.outbox.untold("desk") == [item(3)]


# --- silences and incidents -------------------------------------------------------------------------------------------


def test_a_silence_is_from_its_start_to_its_end(session: Session) -> None:
    session.outbox.silence("EUR_USD", NOW, NOW + HOUR)
    moment = timedelta(microseconds=1)
    assert session.outbox.silences(NOW - moment) == {}
    assert session.outbox.silences(NOW) == {"EUR_USD": NOW + HOUR}
    assert session.outbox.silences(NOW + HOUR - moment) == {"EUR_USD": NOW + HOUR}
    assert session.outbox.silences(NOW + HOUR) == {}


def test_another_silence_takes_its_place_and_may_end_it(session: Session) -> None:
    session.outbox.silence("EUR_USD", NOW, NOW + HOUR)
    session.outbox.silence("*", NOW, NOW + 3 * HOUR)
    session.outbox.silence("EUR_USD", NOW, NOW + 2 * HOUR)
    assert session.outbox.silences(NOW) == {"*": NOW + 3 * HOUR, "EUR_USD": NOW + 2 * HOUR}
    session.outbox.silence("EUR_USD", NOW, NOW)
    assert session.outbox.silences(NOW) == {"*": NOW + 3 * HOUR}


def test_an_incident_keeps_its_beginning_until_it_is_closed(session: Session) -> None:
    session.outbox.open_incident(Incident("stale", "H1 is old", NOW))
    session.outbox.open_incident(Incident("failed", "D failed", NOW - HOUR))
    session.outbox.open_incident(Incident("stale", "H1 is older", NOW + HOUR))
    assert session.outbox.incidents() == [
        Incident("failed", "D failed", NOW - HOUR),
        Incident("stale", "H1 is older", NOW),
    ]
    session.outbox.close_incident("failed")
    session.outbox.close_incident("never opened")
    assert [one.incident for one in session.outbox.incidents()] == ["stale"]
