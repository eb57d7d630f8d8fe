"""What is wrong with the platform: told once over every channel that wants to hear of it, and once when it is over."""

from dataclasses import replace
from datetime import timedelta

import pytest

from spike_assets.alerts.channels.base import UndeliverableError
from spike_assets.alerts.dead import resend
from spike_assets.alerts.wants import Wants
from spike_assets.errors import SpikeError
from spike_assets.granularity import H1
from spike_assets.pipeline.incidents import QUARANTINED, Checked, check
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import NAMES, Desk, Fault, Inbox
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import SOON, hour
from spike_assets_tests.support import FOREVER, CrashingEngine, CrashPlan, MemoryEngine

NOTHING = Checked((), ())
AWAY = "the broker is away"
FAILED = "H1 failed 2 times in a row: the broker is away"


class Broken:
    """A source that is away."""

    name, price = "frame", "mid"

    def fetch(self, *_: object, **__: object) -> Fetched:
        raise SpikeError(AWAY)


@pytest.fixture
def desk() -> Desk:
    return begun()


def begun(*channels: Inbox, **how: object) -> Desk:
    """Give a platform whose passes have run up to now."""
    desk = Desk(*channels, **how).begin()  # type: ignore[arg-type]
    desk.run(11)
    return desk


def fail(desk: Desk, n: int, times: int = 1) -> None:
    """Let passes fail five minutes after an hour, and seconds later."""
    desk.now = max(desk.now, hour(n) + SOON)
    desk.pipeline, well = replace(desk.pipeline, source=Broken()), desk.pipeline
    for _ in range(times):
        with pytest.raises(SpikeError, match=AWAY):
            desk.later(seconds=1).run()
    desk.pipeline = well


def told(desk: Desk, besides: dict[str, str] | None = None, inbox: Inbox | None = None) -> list[tuple[str, str, str]]:
    """Look for what is wrong, send, and give kind, key and text of what came of it."""
    inbox = inbox or desk.inbox
    before = len(inbox.received)
    check(desk.pipeline, besides=besides, deadline=FOREVER)
    desk.deliver()
    notices = [(digest.kind, digest.notice) for digest in inbox.received[before:]]
    return [(kind, notice.key, notice.text) for kind, notice in notices if notice]


def test_all_is_well(desk: Desk) -> None:
    assert check(desk.pipeline) == NOTHING
    assert told(desk) == []


def test_an_empty_store_is_no_incident() -> None:
    assert check(Desk().pipeline) == NOTHING


def test_passes_that_fail_twice_in_a_row_are_told_of_once_and_so_is_the_one_that_goes_well(desk: Desk) -> None:
    fail(desk, 12)
    assert told(desk) == []
    fail(desk, 12)
    assert told(desk) == [("operational", "H1 failed", FAILED)]
    assert told(desk) == []
    fail(desk, 12)
    assert told(desk) == []  # three in a row are the same trouble
    desk.run()
    assert told(desk) == [("recovery", "H1 failed", FAILED)]
    assert told(desk) == []
    fail(desk, 13, 2)
    assert told(desk) == [("operational", "H1 failed", FAILED)]


def test_two_failures_with_a_success_in_between_are_none(desk: Desk) -> None:
    fail(desk, 12)
    desk.run()
    fail(desk, 13)
    assert check(desk.pipeline) == NOTHING


def test_what_was_found_is_given_with_its_time(desk: Desk) -> None:
    fail(desk, 12, 2)
    opened = desk.now
    found = check(desk.pipeline)
    assert [(one.incident, one.text, one.since_time) for one in found.opened] == [("H1 failed", FAILED, opened)]
    assert found.cleared == ()
    desk.later(minutes=1).run()
    assert check(desk.pipeline) == Checked((), found.opened)
    desk.deliver()
    trouble, end = desk.inbox.received
    assert trouble.notice == end.notice
    assert trouble.notice
    assert (trouble.notice.since, trouble.created_at) == (opened, opened)
    assert end.created_at == opened + timedelta(minutes=1)
    assert (trouble.source, trouble.granularity, trouble.entries) == ("frame", None, ())


def test_a_candle_that_is_overdue_is_told_of_until_it_is_processed(desk: Desk) -> None:
    desk.now = hour(12) + SOON + H1.timeout
    assert told(desk) == []
    desk.later(microseconds=1)
    text = "H1 is overdue: its candle that closed 2025-03-10 12:00 UTC is not processed"
    assert told(desk) == [("operational", "H1 overdue", text)]
    desk.later(hours=3)
    assert told(desk) == []
    desk.run()
    assert told(desk) == [("recovery", "H1 overdue", text)]
    desk.later(hours=2)
    assert [(kind, key) for kind, key, _ in told(desk)] == [("operational", "H1 overdue")]


def test_nothing_is_overdue_before_a_tick_has_had_its_chance_since_somebody_watches(desk: Desk) -> None:
    """Behind a restart the candles of the night are missing, and nobody is to blame before the next tick has failed."""
    restart = hour(19) + timedelta(minutes=30)
    desk.now = hour(20) + SOON + H1.timeout
    assert check(desk.pipeline, watched_since=restart) == NOTHING
    desk.later(microseconds=1)
    found = check(desk.pipeline, watched_since=restart).opened
    assert [one.incident for one in found] == ["H1 overdue"]


def test_failures_are_told_of_however_short_somebody_has_watched(desk: Desk) -> None:
    fail(desk, 12, 2)
    assert [one.incident for one in check(desk.pipeline, watched_since=desk.now).opened] == ["H1 failed"]


def spoil(desk: Desk, count: int, first: int = 0) -> None:
    """Let the broker send broken candles in the place of good ones, and a reconcile find them."""
    every = [(name, n) for n in range(10) for name in NAMES]
    for name, n in every[first : first + count]:
        desk.world[name, n] = Candle(hour(n), 1.0, 0.9, 1.1, 1.0, 7)
    desk._show()
    desk.reconcile()


def test_a_quarantine_that_grows_is_told_of_until_a_day_later(desk: Desk) -> None:
    spoil(desk, QUARANTINED - 1)
    assert told(desk) == []
    spoil(desk, 1, first=QUARANTINED - 1)
    grown = desk.now
    ((kind, key, text),) = told(desk)
    assert (kind, key) == ("operational", "H1 quarantine")
    assert text.startswith("the quarantine of H1 grows: 10 × ")
    assert text.endswith(" within a day")
    spoil(desk, 5, first=QUARANTINED)
    assert told(desk) == []  # it grows still
    desk.now = grown + timedelta(days=2)
    desk.run()
    assert told(desk) == [("recovery", "H1 quarantine", text)]


def test_stray_candles_of_a_closed_market_are_no_incident() -> None:
    desk = Desk(hours=8 * 24).begin(7 * 24)  # as if somebody had traded over the weekend
    with desk.pipeline.store.reading(FOREVER) as session:
        assert session.data.quarantined_since(H1, desk.now) == {"market_closed": 48 * len(NAMES)}
    assert check(desk.pipeline) == NOTHING


def test_dead_letters_are_told_of_until_they_are_sent_again() -> None:
    desk = begun(Inbox(script=[Fault(UndeliverableError("it refuses this message"))]), peaks=[("EUR_USD", 11)])
    desk.run(12)
    key = "dead letters of desk"
    text = "1 message was given up for desk: see `spike alerts dead`"
    assert told(desk) == [("operational", key, text)]
    assert told(desk) == []
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        assert resend(session, session.outbox.dead(), desk.now) == 1
    assert told(desk) == [("recovery", key, text)]
    assert [digest.kind for digest in desk.inbox.received] == ["operational", "digest", "recovery"]


def test_dead_letters_of_a_channel_that_is_gone_are_no_trouble() -> None:
    desk = begun(Inbox("gone", script=[Fault(UndeliverableError("no"))]), Inbox("there"), peaks=[("EUR_USD", 11)])
    desk.run(12)
    without = replace(desk.pipeline, policy=replace(desk.pipeline.policy, channels=desk.channels[1:]))
    assert check(without) == NOTHING
    assert [one.incident for one in check(desk.pipeline).opened] == ["dead letters of gone"]


def test_several_dead_letters_are_counted() -> None:
    refused = [Fault(UndeliverableError("it refuses this message")) for _ in range(2)]
    desk = begun(Inbox(script=list(refused)), peaks=[("EUR_USD", 11), ("GBP_USD", 13)])
    desk.run(12)
    desk.run(14)
    assert [text.split(":")[0] for _, _, text in told(desk)] == ["2 messages were given up for desk"]


def test_every_channel_that_wants_to_hear_of_it_does_and_no_other() -> None:
    deaf = Inbox("deaf", Wants(rules=frozenset({"volume_spike"})))
    only = Inbox("only", Wants(rules=frozenset({"operational"}), instruments=frozenset({"EUR_USD"})))
    desk = begun(Inbox("first"), deaf, only, peaks=[("GBP_USD", 10)])
    assert not only.received
    fail(desk, 12, 2)
    assert len(told(desk)) == 1
    desk.run()
    assert len(told(desk)) == 1
    assert [digest.kind for digest in only.received] == ["operational", "recovery"]
    assert [digest.kind for digest in desk.inbox.received][-2:] == ["operational", "recovery"]
    assert deaf.received == []


def test_several_troubles_are_told_of_and_clear_one_by_one(desk: Desk) -> None:
    fail(desk, 12, 2)
    assert [key for _, key, _ in told(desk, {"disk": "it is full"})] == ["disk", "H1 failed"]
    assert [(kind, key) for kind, key, _ in told(desk)] == [("recovery", "disk")]
    desk.run()
    assert [(kind, key) for kind, key, _ in told(desk)] == [("recovery", "H1 failed")]


def test_what_somebody_else_knows_is_told_of_too_and_of_the_same_the_stores_text(desk: Desk) -> None:
    both = {"H1 failed": "h1_pass failed", "h1_reconcile failed": "h1_reconcile failed 2 times in a row"}
    fail(desk, 12, 2)
    assert sorted(told(desk, both)) == [
        ("operational", "H1 failed", FAILED),
        ("operational", "h1_reconcile failed", "h1_reconcile failed 2 times in a row"),
    ]
    assert told(desk, both) == []
    desk.run()
    assert told(desk, both) == []  # somebody else still sees it fail
    assert sorted((kind, key) for kind, key, _ in told(desk)) == [
        ("recovery", "H1 failed"),
        ("recovery", "h1_reconcile failed"),
    ]


def test_without_channels_trouble_is_remembered_and_nobody_told(desk: Desk) -> None:
    nobody = replace(desk.pipeline, policy=replace(desk.pipeline.policy, channels=()))
    fail(desk, 12, 2)
    assert [one.incident for one in check(nobody).opened] == ["H1 failed"]
    assert check(nobody) == NOTHING
    assert told(desk) == []
    assert desk.inbox.received == []


def test_nothing_is_written_while_nothing_changes() -> None:
    plan = CrashPlan()
    desk = begun(store=Store(CrashingEngine(MemoryEngine(), plan)))

    def commits(looks: int = 1) -> int:
        before = plan.commits
        for _ in range(looks):
            check(desk.pipeline)
        return plan.commits - before

    assert commits(3) == 0
    fail(desk, 12, 2)
    assert commits() == 1
    assert commits(3) == 0
    desk.run()
    assert commits() == 1
    assert commits(3) == 0


def test_an_incident_and_its_message_are_stored_together_or_not_at_all() -> None:
    engine, plan = MemoryEngine(), CrashPlan()
    desk = begun(store=Store(CrashingEngine(engine, plan)))
    fail(desk, 12, 2)
    plan.arm(0, before=True)
    with pytest.raises(Exception, match="before commit 0"):
        check(desk.pipeline)
    plan.arm(-1, before=True)
    assert desk.deliver() == []
    assert told(desk) == [("operational", "H1 failed", FAILED)]
