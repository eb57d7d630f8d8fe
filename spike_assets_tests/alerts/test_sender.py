"""Sending: each message until it has arrived, once if it can be, in order, and no channel waits for another."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from spike_assets.alerts import sender
from spike_assets.alerts.channels.base import Channel, UndeliverableError
from spike_assets.alerts.claim import About, claim
from spike_assets.alerts.digest import Digest, Reasons
from spike_assets.alerts.sender import LONGEST, pause
from spike_assets.alerts.wants import QuietHours, Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import StoreLockedError
from spike_assets.pipeline import passes
from spike_assets.pipeline.incidents import check
from spike_assets.pipeline.rebuild import rebuild
from spike_assets.store import open_store
from spike_assets.store.outbox import Delivery
from spike_assets.store.store import Session, Store
from spike_assets_tests.alerts.desk import ELSEWHERE, ROUND, Desk, Fault, Inbox, away
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.strategies import examples
from spike_assets_tests.support import FOREVER, CrashError, CrashingEngine, CrashPlan, MemoryEngine

EUR, GBP, CHF = "EUR_USD", "GBP_USD", "EUR_CHF"


class KilledError(BaseException):
    """The process dies while it sends."""


def failed(desk: Desk) -> list[str]:
    return [delivery.status for delivery in desk.deliveries()]


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (8, 640), (9, 900), (10, 900), (5_000, 900)]
)
def test_a_pause_doubles_up_to_a_quarter_of_an_hour(attempts: int, seconds: int) -> None:
    """Chance takes away up to a half."""
    assert pause(attempts, lambda: 1.0) == timedelta(seconds=seconds)
    assert pause(attempts, lambda: 0.5) == timedelta(seconds=seconds * 0.75)
    assert pause(attempts, lambda: 0.0) == timedelta(seconds=seconds * 0.5)
    assert timedelta(seconds=seconds * 0.5) <= pause(attempts) <= timedelta(seconds=seconds)


def test_what_failed_is_sent_again_when_its_pause_is_over() -> None:
    desk = Desk(Inbox(script=[away(), away()]), peaks=[(EUR, 12)]).begin(12)
    (first,) = desk.run(13).sent
    assert (first.channel, first.kind, first.status, first.error) == ("desk", "digest", "failed", "nobody answers")
    (delivery,) = desk.deliveries()
    assert (delivery.status, delivery.attempts, delivery.error) == ("waiting", 1, "nobody answers")
    assert timedelta(seconds=2.5) <= delivery.next_attempt_at - desk.now <= timedelta(seconds=5)
    desk.later(seconds=2)
    assert desk.deliver() == []
    desk.later(seconds=3)
    assert [outcome.status for outcome in desk.deliver()] == ["failed"]
    desk.later(seconds=4)
    assert desk.deliver() == []
    desk.later(seconds=6)
    (sent,) = desk.deliver()
    assert (sent.status, sent.delivery_id, sent.error) == ("sent", first.delivery_id, None)
    (delivery,) = desk.deliveries()
    assert (delivery.status, delivery.attempts, delivery.sent_at, delivery.error) == ("sent", 3, desk.now, None)
    assert [digest.digest_id for digest in desk.inbox.received] == [first.delivery_id]


def test_a_failure_fails_no_pass() -> None:
    desk = Desk(Inbox(script=[away()] * 9), peaks=[(EUR, 12)]).begin(12)
    assert desk.run(13).status == "success"
    assert desk.run().status == "no_new_data"


def test_who_asks_to_be_left_alone_is() -> None:
    desk = Desk(Inbox(script=[away(retry_after=1800)]), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    assert desk.deliveries()[0].next_attempt_at == desk.now + timedelta(minutes=30)
    desk.later(minutes=29)
    assert desk.deliver() == []
    desk.later(minutes=1)
    assert [outcome.status for outcome in desk.deliver()] == ["sent"]


def test_nothing_overtakes_what_failed() -> None:
    """Another candle's alerts wait behind it, and both go when it can."""
    desk = Desk(Inbox(script=[away(retry_after=7000)]), peaks=[(EUR, 12), (GBP, 13)]).begin(12)
    desk.run(13)
    assert desk.run(14).sent == ()
    assert failed(desk) == ["waiting"]
    assert [item.status for item in desk.items()] == ["told", "pending"]  # the other one is not frozen yet
    assert [outcome.status for outcome in desk.run(15).sent] == ["sent", "sent"]
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 13, (GBP,))]


def test_channels_do_not_wait_for_one_another() -> None:
    broken, fine = Inbox("broken", script=[away()] * 99), Inbox("fine")
    desk = Desk(broken, fine, peaks=[(EUR, 12), (GBP, 13)]).begin(12)
    outcomes = [(o.channel, o.status) for n in (13, 14) for o in desk.run(n).sent]
    assert sorted(outcomes) == [("broken", "failed"), ("broken", "failed"), ("fine", "sent"), ("fine", "sent")]
    assert broken.received == []
    assert fine.told() == [("digest", 12, (EUR,)), ("digest", 13, (GBP,))]


def test_each_channel_has_ids_of_its_own() -> None:
    desk = Desk(Inbox("one"), Inbox("two"), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    ids = {digest.digest_id for channel in desk.channels for digest in channel.received}
    assert len(ids) == 2
    assert ids == {delivery.delivery_id for delivery in desk.deliveries()}


def test_what_is_refused_is_dead_at_once_and_the_next_one_goes() -> None:
    desk = Desk(Inbox(script=[Fault(UndeliverableError("too\nlong"))]), peaks=[(EUR, 12), (GBP, 13)]).begin(12)
    outcomes = desk.run(14).sent
    assert [(o.status, o.error) for o in outcomes] == [("dead", "too long"), ("sent", None)]
    assert failed(desk) == ["dead", "sent"]
    assert desk.inbox.told() == [("digest", 13, (GBP,))]
    assert desk.run(15).sent == ()


def test_what_fails_for_too_long_is_dead_and_the_next_one_goes() -> None:
    desk = Desk(
        Inbox(script=[away(retry_after=3600)] * 3), peaks=[(EUR, 12), (GBP, 14)], dead_after=timedelta(hours=2)
    ).begin(12)
    assert [[o.status for o in desk.run(n).sent] for n in (13, 14, 15)] == [["failed"], ["failed"], ["dead", "sent"]]
    assert failed(desk) == ["dead", "sent"]
    assert desk.inbox.told() == [("digest", 14, (GBP,))]


def test_just_before_that_it_is_tried_once_more() -> None:
    desk = Desk(Inbox(script=[away(retry_after=7199), away()]), peaks=[(EUR, 12)], dead_after=timedelta(hours=2)).begin(
        12
    )
    desk.run(13)
    desk.later(seconds=7199)
    assert [outcome.status for outcome in desk.deliver()] == ["failed"]
    desk.later(seconds=10)
    assert [outcome.status for outcome in desk.deliver()] == ["sent"]


def test_time_in_which_nobody_tried_does_not_count() -> None:
    """Spike was off for a day: what had failed once before is not given up at its second try."""
    desk = Desk(Inbox(script=[away()] * 4), peaks=[(EUR, 12)], dead_after=timedelta(hours=2)).begin(12)
    desk.run(13)
    desk.later(days=1)
    assert [outcome.status for outcome in desk.deliver()] == ["failed"]
    for minutes, status in ((50, "failed"), (50, "failed"), (50, "sent")):
        desk.later(minutes=minutes)
        assert [outcome.status for outcome in desk.deliver()] == [status]


def test_an_hour_in_which_nobody_tried_counts() -> None:
    desk = Desk(Inbox(script=[away(retry_after=3600)] * 2), peaks=[(EUR, 12)], dead_after=timedelta(hours=2)).begin(12)
    desk.run(13)
    desk.later(hours=2)
    assert [outcome.status for outcome in desk.deliver()] == ["dead"]


def test_what_waited_to_be_tried_at_all_has_not_been_tried_for_long() -> None:
    """A notice was frozen behind a message that failed for longer than anything is tried."""
    desk = Desk(Inbox(script=[away(retry_after=3600)] * 3), peaks=[(EUR, 12)], dead_after=timedelta(hours=2)).begin(12)
    desk.run(13)
    check(desk.pipeline, besides={"disk": "it is full"})
    for _ in range(2):
        desk.later(hours=1)
        outcomes = desk.deliver()
    assert [(outcome.kind, outcome.status) for outcome in outcomes] == [("digest", "dead"), ("operational", "sent")]
    assert {one.kind: one.tried_since for one in desk.deliveries()} == {
        "digest": hour(13) + timedelta(minutes=5),
        "operational": desk.now,
    }


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_fault_in_a_channel_fails_no_pass_and_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(Inbox(script=[Fault(ZeroDivisionError("https://secret"))]), peaks=[(EUR, 12), (GBP, 13)]).begin(12)
    (first,) = desk.run(14).sent
    assert (first.status, first.error) == ("failed", "a fault of the channel: ZeroDivisionError")
    assert timedelta(0) < desk.deliveries()[0].next_attempt_at - desk.now <= timedelta(seconds=5)
    assert "https://secret" not in caplog.text
    desk.later(minutes=1)
    assert [(o.status, o.error) for o in desk.deliver()] == [("sent", None), ("sent", None)]
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 13, (GBP,))]


def test_a_fault_in_a_channel_that_stays_is_given_up_like_any_other_failure() -> None:
    desk = Desk(Inbox(script=[Fault(ZeroDivisionError())] * 2), peaks=[(EUR, 12)], dead_after=timedelta(minutes=30))
    desk.begin(12).run(13)
    desk.later(minutes=30)
    assert [(o.status, o.error) for o in desk.deliver()] == [("dead", "a fault of the channel: ZeroDivisionError")]


def test_a_sender_that_is_killed_while_sending_sends_it_again() -> None:
    """It may have arrived: the same id and the same words go out once more."""
    inbox = Inbox(script=[Fault(KilledError(), arrived=True)])
    desk = Desk(inbox, peaks=[(EUR, 12)]).begin(12)
    with pytest.raises(KilledError):
        desk.run(13)
    (delivery,) = desk.deliveries()
    assert (delivery.status, delivery.attempts) == ("waiting", 1)
    desk.later(minutes=1)
    assert [outcome.status for outcome in desk.deliver()] == ["sent"]
    first, second = inbox.received
    assert first == second
    assert second.created_at == hour(13) + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("at", "before", "said"),
    [(0, True, "failed"), (0, False, "failed"), (1, True, "unmarked"), (1, False, "unmarked"), (2, True, "sent")],
)
def test_a_store_that_fails_costs_a_repetition_at_most(at: int, before: bool, said: str) -> None:
    """At the claim, where it marks what was sent, and behind that: what is not known to be marked is not `sent`."""
    arrived = min(at, 1)
    plan = CrashPlan()
    desk = Desk(peaks=[(EUR, 12)], store=Store(CrashingEngine(MemoryEngine(), plan)))
    desk.inbox.script = [away()]
    desk.begin(12).run(13)  # it has failed once, and is claimed
    desk.later(minutes=1)
    plan.arm(at, before=before)
    assert [(o.status, o.error) for o in desk.deliver()] == {
        "failed": [("failed", "a fault: CrashError")],
        "unmarked": [("unmarked", "a fault: CrashError")],
        "sent": [("sent", None), ("failed", "a fault: CrashError")],
    }[said]
    assert len(desk.inbox.received) == arrived
    plan.arm(-1, before=True)
    desk.later(minutes=1)
    desk.deliver()
    bodies = {digest.model_dump_json() for digest in desk.inbox.received}
    assert len(bodies) == 1
    assert len(desk.inbox.received) == 1 + (said == "unmarked" and before)
    assert failed(desk) == ["sent"]


def test_a_mark_that_finds_the_store_in_use_is_no_message_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It will be sent again: whoever asked is told so."""
    desk = Desk(peaks=[(EUR, 12)]).begin(12)
    with monkeypatch.context() as held:
        desk.inbox.meanwhile = lambda _: held.setattr(Store, "writing", in_use)
        (outcome,) = desk.run(13).sent
    assert (outcome.status, outcome.kind, outcome.error) == ("unmarked", "digest", "in use by a backfill")
    assert failed(desk) == ["waiting"]
    desk.inbox.meanwhile = lambda _: None
    assert [again.delivery_id for again in desk.deliver()] == [outcome.delivery_id]
    assert [digest.digest_id for digest in desk.inbox.received] == [outcome.delivery_id] * 2


def in_use(*_: object, **__: object) -> None:
    raise StoreLockedError("in use by a backfill")


def test_a_fault_in_what_comes_next_undoes_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what was sent would be sent again, and again with each try."""
    desk = Desk(peaks=[(EUR, 12), (GBP, 14)]).begin(12)

    def faulty(session: Session, channel: Channel, about: About, now: datetime) -> list[Delivery]:
        if session.outbox.newest(1):
            raise ZeroDivisionError("https://secret")
        return claim(session, channel, about, now)

    monkeypatch.setattr(sender, "claim", faulty)
    outcomes = desk.run(15).sent
    assert [(o.kind, o.status, o.error) for o in outcomes] == [
        ("digest", "sent", None),
        ("message", "failed", "a fault: ZeroDivisionError"),
    ]
    assert failed(desk) == ["sent"]
    assert [(o.status, o.delivery_id) for o in desk.deliver()] == [("failed", "")]
    monkeypatch.setattr(sender, "claim", claim)
    desk.deliver()
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 14, (GBP,))]


def test_what_is_claimed_is_said_as_it_was_whatever_became_of_it() -> None:
    """And then it is taken back."""
    desk = Desk(Inbox(script=[away(retry_after=3600)]), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    desk.calm(EUR, 12)
    desk.reconcile()
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("correction", 12, (f"-{EUR}",))]


# --- time and others --------------------------------------------------------------------------------------------------


class Ticking:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_no_message_is_begun_that_the_deadline_might_cut_and_the_rest_waits() -> None:
    clock = Ticking()

    def slow(_: Digest) -> None:
        clock.at += 4

    inbox = Inbox(meanwhile=slow)
    desk = Desk(inbox, peaks=[(EUR, n) for n in range(12, 24, 2)], max_age=timedelta(days=1)).begin(12)
    desk.inbox.script = [away()]
    desk.run(24)  # none is sent
    desk.later(minutes=1)
    clock.at = 0.0
    outcomes = desk.deliver(Deadline(LONGEST.total_seconds() + 10.0, clock))
    assert [outcome.status for outcome in outcomes] == ["sent"] * 3  # at 0, 4 and 8 seconds
    assert failed(desk) == ["sent"] * 3  # the others are not even frozen
    assert desk.deliver(Deadline(clock.at + LONGEST.total_seconds(), clock)) == []
    assert len(desk.deliver()) == 3
    assert [n for _, n, _ in inbox.told()] == [12, 14, 16, 18, 20, 22]


def test_a_pass_begins_to_send_for_a_short_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(peaks=[(EUR, 12)]).begin(12)
    monkeypatch.setattr(passes, "IN_A_PASS", timedelta(0))
    result = desk.run(13)
    assert (result.status, result.sent, desk.deliveries()) == ("success", (), [])
    assert desk.pipeline.sender.deliver(FOREVER, within=timedelta(0)) == []
    assert [outcome.status for outcome in desk.pipeline.sender.deliver(FOREVER, within=timedelta(hours=1))] == ["sent"]


def test_another_sender_is_left_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(Inbox("one"), Inbox("two"), peaks=[(EUR, 12)], store=open_store(str(tmp_path / "x.duckdb"))).begin(12)
    other = open_store(str(tmp_path / "x.duckdb"))
    with other.sending("one", FOREVER, "another sender"), caplog.at_level("INFO"):
        outcomes = desk.run(13).sent
    assert [(outcome.channel, outcome.status) for outcome in outcomes] == [("two", "sent")]
    assert "one is left to the next sender" in caplog.text
    assert [(outcome.channel, outcome.status) for outcome in desk.deliver()] == [("one", "sent")]
    assert desk.channels[0].told() == desk.channels[1].told() == [("digest", 12, (EUR,))]


def test_the_store_is_not_held_while_sending(tmp_path: Path) -> None:
    there = open_store(str(tmp_path / "x.duckdb"))
    desk = Desk(peaks=[(EUR, 12)], store=open_store(str(tmp_path / "x.duckdb"))).begin(12)
    seen: list[int] = []

    def look(_: Digest) -> None:
        with there.writing(Deadline.after(timedelta(seconds=20)), "somebody else") as session:
            head = session.outbox.first_waiting("desk")
            seen.append(head.attempts if head else -1)

    desk.inbox.meanwhile = look
    desk.run(13)
    assert (seen, len(desk.inbox.received)) == ([1], 1)


def test_only_channels_that_something_is_due_for_are_due() -> None:
    one, two = Inbox("one", script=[away(retry_after=600)]), Inbox("two", Wants(rules=frozenset()))
    desk = Desk(one, two, peaks=[(EUR, 12)]).begin(12)

    def due() -> list[str]:
        with desk.pipeline.store.reading(FOREVER) as session:
            return [channel.name for channel in desk.pipeline.sender.due(session)]

    assert due() == []
    desk.run(13)
    assert due() == []
    desk.later(seconds=599)
    assert due() == []
    desk.later(seconds=1)
    assert due() == ["one"]
    desk.deliver()
    assert due() == []


def test_when_is_at_once_at_the_next_try_or_behind_the_quiet_hours() -> None:
    night = Wants(quiet=QuietHours(time(12), time(22), ZoneInfo("UTC")))
    slow, quiet, idle = Inbox("slow", script=[away(retry_after=1800)]), Inbox("quiet", night), Inbox("idle")
    idle.wants = Wants(rules=frozenset())
    desk = Desk(slow, quiet, idle, peaks=[(EUR, 12)]).begin(12)

    def when() -> dict[str, datetime]:
        with desk.pipeline.store.reading(FOREVER) as session:
            return {channel.name: at for channel, at in desk.pipeline.sender.when(session, desk.now)}

    assert when() == {}
    desk.run(13)
    assert when() == {"slow": desk.now + timedelta(minutes=30), "quiet": hour(22)}
    desk.at(22)
    assert when() == {"slow": hour(13) + timedelta(minutes=35), "quiet": desk.now}


# --- a rebuild --------------------------------------------------------------------------------------------------------


def test_a_rebuild_tells_once_how_much_came_out_differently_and_corrects_nothing() -> None:
    """One notice for each channel that wants to hear of the platform; for the others nothing."""
    deaf = Inbox("deaf", Wants(rules=frozenset({"simultaneous", "psychological_level"})))
    desk = Desk(Inbox(), deaf, peaks=[(EUR, 12), (GBP, 12), (CHF, 12), (EUR, 15)]).begin(12)
    for n in (13, 16):
        desk.run(n)
    assert deaf.told() == desk.inbox.told()
    assert desk.inbox.told() == [("digest", 12, ("*", CHF, EUR, GBP)), ("digest", 15, (EUR,))]
    desk.pipeline = replace(desk.pipeline, simultaneous_share=0.9)
    rebuild(desk.pipeline)
    desk.deliver()
    (notice,) = desk.inbox.received[2:]
    assert (notice.kind, notice.time, notice.entries) == ("operational", None, ())
    assert notice.notice is not None
    assert notice.notice.text == "spike was rebuilt: 1 alert sent before came out differently"
    assert {item.status for item in desk.items()} == {"told"}
    rebuild(desk.pipeline)
    desk.reconcile()
    desk.run()
    assert (len(desk.inbox.received), len(deaf.received)) == (3, 2)


def test_a_rebuild_to_the_same_setting_tells_nothing() -> None:
    desk = Desk(peaks=[(EUR, n) for n in (3, 12, 15)]).begin(12)
    for n in (13, 16):
        desk.run(n)
    rebuild(desk.pipeline)
    desk.run()
    assert [n for _, n, _ in desk.inbox.told()] == [12, 15]


def test_discarding_the_candles_forgets_what_was_told() -> None:
    """And takes nothing back: whoever discards them knows."""
    desk = Desk(peaks=[(EUR, 12), (GBP, 30)]).begin(12)
    desk.run(13)
    rebuild(desk.pipeline, discard_candles=True)
    assert (desk.items(), desk.deliveries()) == ([], [])
    desk.run(14)
    desk.deliver()
    assert desk.inbox.told() == [("digest", 12, (EUR,))]


# --- whatever happens -------------------------------------------------------------------------------------------------

HERE, FIRST, LAST = (EUR, GBP, CHF, "EUR_GBP"), 12, 22
LEVELS = (ROUND, 1.1050, ELSEWHERE)

happenings = st.one_of(
    st.tuples(st.just("peak"), st.sampled_from(HERE), st.integers(FIRST, LAST), st.sampled_from(LEVELS)),
    st.tuples(st.just("calm"), st.sampled_from(HERE), st.integers(FIRST, LAST)),
    st.tuples(st.just("pass"), st.integers(1, 3)),
    st.tuples(st.just("pass"), st.just(0)),
    st.tuples(st.just("reconcile")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("away"), st.integers(1, 3)),
    st.tuples(st.just("lost")),
    st.tuples(st.just("killed"), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 9), st.booleans()),
)
"""An event comes or goes, candles late or at once; passes, one of them perhaps again; messages that fail."""


@examples(12)
@given(
    st.sets(st.tuples(st.sampled_from(HERE), st.integers(FIRST, LAST))),
    st.sets(st.tuples(st.sampled_from(HERE), st.integers(FIRST, LAST)), max_size=5),
    st.lists(happenings, max_size=20),
    st.booleans(),
)
def test_whatever_happens_what_was_said_last_is_true(
    peaks: set[tuple[str, int]], late: set[tuple[str, int]], story: list[tuple[object, ...]], patient: bool
) -> None:
    plan = CrashPlan()
    store = Store(CrashingEngine(MemoryEngine(), plan))
    desk = Desk(peaks=sorted(peaks), store=store, max_age=timedelta(days=30) if patient else None, hours=80)
    for name, n in late:
        desk.omit(name, n)
    desk.begin(FIRST)
    for what, *how in story:
        try:
            _happen(desk, plan, what, how)
        except (CrashError, KilledError) as error:
            event(type(error).__name__)
            plan.arm(-1, before=True)
    plan.arm(-1, before=True)
    desk.inbox.script = []
    for name, n in late:
        if (name, n) not in desk.world:
            desk.calm(name, n)
    desk.later(hours=1)
    desk.run()
    desk.reconcile()
    desk.later(hours=1)
    desk.run()
    _check(desk, patient)


def _happen(desk: Desk, plan: CrashPlan, what: object, how: list[object]) -> None:
    numbers: list[int] = [value for value in how if isinstance(value, int)]
    if what == "peak":
        desk.peak(*how)  # type: ignore[arg-type]
    elif what == "calm":
        desk.calm(*how)  # type: ignore[arg-type]
    elif what == "pass":
        desk.later(hours=numbers[0])
        desk.run()
    elif what == "reconcile":
        desk.reconcile()
    elif what == "deliver":
        desk.later(minutes=20)
        desk.deliver()
    elif what == "crash":
        plan.arm(numbers[0], before=bool(how[1]))
    elif what == "away":
        desk.inbox.script += [away()] * numbers[0]
    elif what == "lost":
        desk.inbox.script.append(Fault(away().error, arrived=True))
    else:
        desk.inbox.script.append(Fault(KilledError(), arrived=bool(how[0])))


def _check(desk: Desk, patient: bool) -> None:
    received = desk.inbox.received
    bodies = {digest.digest_id: digest for digest in received}
    assert all(bodies[digest.digest_id] == digest for digest in received)
    deliveries = desk.deliveries()
    assert {delivery.status for delivery in deliveries} <= {"sent"}
    arrivals = list(dict.fromkeys(digest.digest_id for digest in received))
    assert arrivals == [delivery.delivery_id for delivery in sorted(deliveries, key=lambda one: one.number)]
    said: dict[str, tuple[str, ...] | None] = {}
    for digest_id in arrivals:
        digest = bodies[digest_id]
        assert digest.follows is None or arrivals.index(digest.follows) < arrivals.index(digest_id)
        for entry in digest.entries:
            _hear(said, entry.alert_id, entry.status, (entry.level, *_why(entry.reasons)))
        if digest.group is not None:
            _hear(said, digest.group.alert_id, digest.group.status, digest.group.members)
    true = {row["alert_id"]: _gist(row) for row in desk.alerts()}
    missed = sum(digest.missed.alerts for digest in bodies.values() if digest.missed)
    event(f"{len(true)} alerts, {len(received)} messages, {missed} missed")
    for alert_id, last in said.items():
        assert last == true.get(alert_id)
    if patient:
        assert {alert_id for alert_id, last in said.items() if last is not None} == set(true)
        assert missed == 0


def _gist(row: dict[str, object]) -> tuple[str, ...]:
    if row["instrument"] == "*":
        return tuple(str(row["members"]).split(","))
    return f"{row['level']:.5f}", *_why(Reasons.model_validate_json(str(row["reasons"])))


def _why(reasons: Reasons) -> list[str]:
    """Give the rules, and of each what is worth telling anew."""
    why = [name for name, reason in reasons if reason is not None]
    if at := reasons.psychological_level:
        why += [at.tier, at.number, str(at.position)]
    return [*why, reasons.pattern_completion.pattern] if reasons.pattern_completion else why


def _hear(said: dict[str, tuple[str, ...] | None], alert_id: str, status: str, says: tuple[str, ...]) -> None:
    """Note what was said; something new was not known before, and what is changed or taken back was."""
    known = said.get(alert_id)
    assert (known is None) == (status == "new")
    if status == "withdrawn":
        assert says == known
    elif status == "updated":
        assert says != known
    said[alert_id] = None if status == "withdrawn" else says
