"""What a message says of a candle time: the first one, what comes later, what is taken back, what was missed."""

from collections.abc import Callable
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest

from spike_assets.alerts.channels.base import UndeliverableError
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import QuietHours, Wants
from spike_assets.granularity import H1
from spike_assets.pipeline import passes
from spike_assets.store.pending import Mark
from spike_assets.store.tables import ALERTS
from spike_assets_tests.alerts.desk import ELSEWHERE, NAMES, ROUND, Desk, Fault, Inbox, away
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER

EUR, GBP = "EUR_USD", "GBP_USD"


def told(*peaks: str, n: int = 12, **settings: object) -> Desk:
    """Give a desk that was told of alerts at one hour, an hour later."""
    desk = Desk(peaks=[(name, n) for name in peaks], **settings).begin(n)  # type: ignore[arg-type]
    desk.run(n + 1)
    desk.run(n + 2)
    return desk


def again(desk: Desk) -> list[tuple[str, int | None, tuple[str, ...]]]:
    """Let corrections come in, and give what is said of them."""
    before = len(desk.inbox.received)
    desk.reconcile()
    desk.run()
    return desk.inbox.told()[before:]


# --- the first message ------------------------------------------------------------------------------------------------


def test_a_digest_is_about_one_candle_time() -> None:
    desk = Desk(peaks=[(name, 12) for name in (EUR, GBP, "EUR_CHF")], public_url="https://spike.example.com")
    desk.begin(12)
    desk.run(13)
    (digest,) = desk.inbox.received
    assert (digest.kind, digest.follows, digest.source, digest.simulated) == ("digest", None, "frame", False)
    assert (digest.granularity, digest.time, digest.closed_at) == ("H1", hour(12), hour(13))
    assert digest.created_at == desk.now
    assert digest.group is not None
    assert (digest.group.members, digest.group.of) == (("EUR_CHF", EUR, GBP), 4)
    assert [(one.instrument, one.level, one.group) for one in digest.entries] == [
        ("EUR_CHF", "1.10000", (EUR, GBP)),
        (EUR, "1.10000", ("EUR_CHF", GBP)),
        (GBP, "1.10000", ("EUR_CHF", EUR)),
    ]
    one = digest.entries[1]
    assert one.link == f"https://spike.example.com/?instrument=EUR_USD&granularity=H1&event={one.event_id}"
    stored = {row["instrument"]: row for row in desk.alerts()}
    assert {entry.alert_id for entry in digest.entries} == {stored[n]["alert_id"] for n in (EUR, GBP, "EUR_CHF")}
    assert digest.group.alert_id == stored["*"]["alert_id"]


def test_a_frozen_message_is_what_is_sent() -> None:
    desk = told(EUR)
    (delivery,) = desk.deliveries()
    (digest,) = desk.inbox.received
    assert Digest.model_validate_json(delivery.body) == digest
    assert (delivery.kind, delivery.granularity, delivery.time) == ("digest", "H1", hour(12))
    assert (delivery.number, delivery.status, delivery.attempts, delivery.error) == (1, "sent", 1, None)
    assert (delivery.delivery_id, delivery.sent_at) == (digest.digest_id, hour(13) + timedelta(minutes=5))


def test_older_candles_come_first() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 14)]).begin(12)
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 14, (GBP,))]


def test_what_comes_before_the_claim_is_in_the_digest_itself() -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "14:30")), peaks=[(EUR, 12), (GBP, 12)])
    desk.omit(GBP, 12)
    desk.begin(12)
    desk.run(13)
    desk.peak(GBP, 12)
    assert again(desk) == []
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR, GBP))]


@pytest.mark.parametrize("retry_after", [0.0, 7000.0])
def test_behind_a_failing_message_nothing_is_frozen_and_what_comes_joins_its_digest(retry_after: float) -> None:
    desk = Desk(Inbox(script=[away(retry_after)] * 2), peaks=[(EUR, 12), ("EUR_CHF", 13), (GBP, 13)])
    desk.omit(GBP, 13)
    desk.begin(12)
    desk.run(13)
    desk.run(14)
    assert [delivery.time for delivery in desk.deliveries()] == [hour(12)]
    desk.peak(GBP, 13)
    desk.reconcile()
    desk.inbox.script = []
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 13, ("EUR_CHF", GBP))]


def test_what_goes_away_behind_a_failing_message_is_never_told() -> None:
    desk = Desk(Inbox(script=[away(7000)]), peaks=[(EUR, 12), (GBP, 13)]).begin(12)
    desk.run(13)
    desk.run(14)
    desk.calm(GBP, 13)
    desk.reconcile()
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR,))]


# --- what comes later -------------------------------------------------------------------------------------------------


def test_a_late_alert_is_a_supplement() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 12)])
    desk.omit(GBP, 12)
    desk.begin(12)
    desk.run(13)
    desk.peak(GBP, 12)
    assert again(desk) == [("supplement", 12, (GBP,))]
    first, second = desk.inbox.received
    assert second.digest_id != first.digest_id
    assert second.follows == first.digest_id


def test_a_group_that_comes_to_be_is_a_supplement_of_its_own() -> None:
    """The third event makes a group; the two of before are not told anew."""
    desk = Desk(peaks=[(EUR, 12), (GBP, 12), ("EUR_GBP", 12)])
    desk.omit("EUR_GBP", 12)
    desk.begin(12)
    desk.run(13)
    desk.peak("EUR_GBP", 12)
    assert again(desk) == [("supplement", 12, ("*", "EUR_GBP"))]


def test_a_supplement_follows_the_last_message_about_its_candle() -> None:
    desk = told(EUR)
    desk.peak(EUR, 12, 1.1050)
    again(desk)
    desk.peak(EUR, 12)
    again(desk)
    first, second, third = desk.inbox.received
    assert desk.inbox.told()[1:] == [("supplement", 12, (f"~{EUR}",))] * 2
    assert (second.follows, third.follows) == (first.digest_id, second.digest_id)


# --- what is taken back -----------------------------------------------------------------------------------------------


def test_an_event_that_is_no_more_is_taken_back_as_it_was_said() -> None:
    desk = told(EUR, GBP)
    desk.calm(EUR, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}",))]
    first, second = desk.inbox.received
    assert second.follows == first.digest_id
    (withdrawn,) = second.entries
    assert withdrawn == first.entries[0].model_copy(update={"status": "withdrawn"})
    assert again(desk) == []


def test_a_group_that_is_no_more_is_taken_back_too() -> None:
    desk = told(EUR, GBP, "EUR_GBP")
    desk.calm(EUR, 12)
    assert again(desk) == [("correction", 12, ("-*", f"-{EUR}"))]
    first, second = desk.inbox.received
    assert first.group is not None
    assert second.group == first.group.model_copy(update={"status": "withdrawn"})


def test_what_was_said_in_two_messages_is_taken_back_in_one() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 12)])
    desk.omit(GBP, 12)
    desk.begin(12)
    desk.run(13)
    desk.peak(GBP, 12)
    again(desk)
    desk.calm(EUR, 12)
    desk.calm(GBP, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}", f"-{GBP}"))]


def test_one_is_taken_back_and_another_comes() -> None:
    desk = told(EUR)
    desk.calm(EUR, 12)
    desk.peak(GBP, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}",)), ("supplement", 12, (GBP,))]


def test_what_was_not_claimed_is_not_taken_back() -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "14:30")), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    assert [item.status for item in desk.items()] == ["pending"]
    desk.calm(EUR, 12)
    desk.reconcile()
    desk.run(15)
    assert (desk.items(), desk.deliveries(), desk.inbox.received) == ([], [], [])


def test_what_a_channel_no_longer_wants_when_it_is_claimed_is_not_told() -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "14:30")), peaks=[(EUR, 12), (GBP, 12)]).begin(12)
    desk.run(13)
    desk.inbox.wants = Wants(instruments=frozenset({GBP}))
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (GBP,))]
    assert [item.instrument for item in desk.items()] == [GBP]


def test_what_comes_back_is_a_supplement() -> None:
    desk = told(EUR)
    desk.calm(EUR, 12)
    again(desk)
    desk.peak(EUR, 12)
    assert again(desk) == [("supplement", 12, (EUR,))]
    first, second, third = desk.inbox.received
    assert (third.follows, second.follows) == (second.digest_id, first.digest_id)
    assert [one.entries[0].alert_id for one in desk.inbox.received] == [first.entries[0].alert_id] * 3


@pytest.mark.parametrize("change", [lambda desk: desk.calm(EUR, 12), lambda desk: desk.peak(EUR, 12, 1.1050)])
def test_there_and_back_between_two_claims_is_nothing(change: Callable[[Desk], None]) -> None:
    desk = told(EUR)
    change(desk)
    desk.reconcile()
    assert [item.status for item in desk.items()] == ["pending"]
    desk.peak(EUR, 12)
    assert again(desk) == []
    assert len(desk.deliveries()) == 1


def test_a_correction_comes_however_old_the_alert_is() -> None:
    desk = told(EUR)
    desk.run(70)
    desk.calm(EUR, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}",))]
    desk.peak(EUR, 12)
    assert again(desk) == [("supplement", 12, (EUR,))]


def refused() -> Desk:
    """Give a desk whose first message, about two alerts, was given up."""
    desk = Desk(Inbox(script=[Fault(UndeliverableError("too long"))]), peaks=[(EUR, 12), (GBP, 12)]).begin(12)
    desk.run(13)
    assert [delivery.status for delivery in desk.deliveries()] == ["dead"]
    return desk


def test_what_nobody_received_is_not_taken_back() -> None:
    desk = refused()
    desk.calm(EUR, 12)
    assert again(desk) == []
    assert [item.instrument for item in desk.items()] == [GBP]
    assert len(desk.deliveries()) == 1


def test_what_comes_behind_a_message_that_nobody_received_follows_none() -> None:
    desk = refused()
    desk.peak(EUR, 12, 1.1050)
    assert again(desk) == [("digest", 12, (EUR,))]  # new to who is told, not updated
    desk.peak("EUR_CHF", 12)
    assert again(desk) == [("supplement", 12, ("*", "EUR_CHF"))]
    first, second = desk.inbox.received
    assert (first.follows, second.follows) == (None, first.digest_id)


def test_what_a_refused_supplement_changed_is_taken_back_as_it_was_told() -> None:
    desk = told(EUR)
    desk.inbox.script = [Fault(UndeliverableError("too long"))]
    desk.peak(EUR, 12, 1.1050)
    assert again(desk) == []
    desk.calm(EUR, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}",))]
    first, back = desk.inbox.received
    assert (back.follows, back.entries[0].level) == (first.digest_id, first.entries[0].level)


# --- what changes -----------------------------------------------------------------------------------------------------


def test_another_level_is_told_anew() -> None:
    desk = told(EUR, GBP)
    desk.peak(EUR, 12, 1.1050)
    assert again(desk) == [("supplement", 12, (f"~{EUR}",))]
    assert desk.inbox.received[-1].entries[0].level == "1.10500"
    assert again(desk) == []


def test_other_rules_are_told_anew() -> None:
    """Three lower highs in a row complete a pattern, when the first of them comes late."""
    desk = Desk()
    for n, level in ((4, 1.1020), (6, 1.1015), (8, 1.1010), (12, ROUND)):
        desk.peak(EUR, n, level)
    desk.omit(EUR, 4)
    desk.begin(12)
    desk.run(13)
    assert [row["rules"] for row in desk.alerts()] == ["psychological_level"]
    desk.peak(EUR, 4, 1.1020)
    assert again(desk) == [("supplement", 12, (f"~{EUR}",))]
    assert [row["rules"] for row in desk.alerts()] == ["psychological_level,pattern_completion"]
    why = desk.inbox.received[-1].entries[0].reasons
    assert why.pattern_completion is not None
    assert why.pattern_completion.pattern == "LH-LH-LH"


def test_a_number_that_turns_out_to_be_swept_is_told_anew() -> None:
    """Its close falls below the number; level, number and rules are what they were."""
    desk = Desk()
    for n in range(12):  # a market so calm that it may fall back and stay above the number
        desk.world[EUR, n] = Candle(hour(n), 1.09998, 1.10002, 1.09996, 1.10000, 100)
    desk.peak(EUR, 12, 1.10008, open=1.10007, low=1.10001, close=1.10002)
    desk.begin(12)
    desk.run(13)
    desk.peak(EUR, 12, 1.10008, open=1.10007, low=1.09995, close=1.09996)
    assert again(desk) == [("supplement", 12, (f"~{EUR}",))]
    before, after = (one.entries[0].reasons.psychological_level for one in desk.inbox.received)
    assert before is not None
    assert after is not None
    assert (before.position, after.position) == (None, "swept")
    assert (before.number, before.tier) == (after.number, after.tier)


def test_other_members_of_a_group_are_told_anew_and_another_number_of_them_that_trade_is_not() -> None:
    desk = Desk(peaks=[(name, 12) for name in (EUR, GBP, "EUR_GBP")])
    desk.omit("EUR_CHF", 12)
    desk.begin(12)
    desk.run(13)
    assert desk.alerts()[0]["reasons"].startswith('{"simultaneous":{"of":3,')
    desk.calm("EUR_CHF", 12)
    assert again(desk) == []
    assert desk.alerts()[0]["reasons"].startswith('{"simultaneous":{"of":4,')
    desk.peak("EUR_CHF", 12, ELSEWHERE)  # an event, but none that matters by itself
    assert again(desk) == [("supplement", 12, ("~*",))]


def test_another_number_is_not_told_anew() -> None:
    """Its close moves, and with it the rebound; level and rules do not."""
    desk = told(EUR)
    before = desk.alerts()
    desk.peak(EUR, 12, close=1.0986, volume=70)
    assert again(desk) == []
    assert desk.alerts() == before
    assert len(desk.deliveries()) == 1


# --- what was missed --------------------------------------------------------------------------------------------------


def test_an_outage_is_one_summary_and_what_is_news() -> None:
    peaks = [(EUR, 12), (GBP, 12), ("EUR_GBP", 12), (EUR, 30), (GBP, 50), (EUR, 69)]
    desk = Desk(peaks=peaks, public_url="https://spike.example.com").begin(12)
    desk.run(70)
    assert desk.inbox.told() == [("digest", 69, (EUR,)), ("summary", None, ())]
    summary = desk.inbox.received[1]
    assert (summary.granularity, summary.time, summary.entries, summary.group) == ("H1", None, (), None)
    assert summary.link == "https://spike.example.com/?granularity=H1"
    assert summary.missed is not None
    assert (summary.missed.alerts, summary.missed.first, summary.missed.last) == (6, hour(12), hour(50))
    assert summary.missed.rules == {"psychological_level": 5, "simultaneous": 1}
    assert summary.missed.instruments == {EUR: 2, GBP: 2, "EUR_GBP": 1}
    desk.run(71)
    desk.reconcile()
    desk.run()
    assert len(desk.inbox.received) == 2


def test_one_summary_when_all_is_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MOST_CANDLES", 25)
    desk = Desk(peaks=[(EUR, 20), (EUR, 40), (EUR, 60), (EUR, 79)]).begin(12)
    assert (desk.run(80).behind, desk.inbox.told()) == (43, [])
    assert desk.deliver() == []  # whoever sends meanwhile makes none
    assert (desk.run().behind, desk.inbox.told()) == (18, [])
    assert desk.run().behind == 0
    assert desk.inbox.told() == [("digest", 79, (EUR,)), ("summary", None, ())]
    missed = desk.inbox.received[1].missed
    assert missed is not None
    assert (missed.alerts, missed.first, missed.last) == (3, hour(20), hour(60))


def test_what_was_missed_and_is_no_more_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MOST_CANDLES", 40)
    desk = Desk(peaks=[(EUR, 20), (EUR, 40)]).begin(12)
    assert desk.run(80).behind == 28
    desk.calm(EUR, 20)
    desk.reconcile()
    desk.run()
    (summary,) = desk.inbox.received
    assert summary.missed is not None
    assert (summary.missed.alerts, summary.missed.first) == (1, hour(40))


def test_of_what_was_only_counted_nothing_is_taken_back() -> None:
    desk = Desk(peaks=[(EUR, 20), (EUR, 40)]).begin(12)
    desk.run(80)
    assert desk.inbox.told() == [("summary", None, ())]
    desk.calm(EUR, 20)
    desk.peak(EUR, 40, 1.1050)
    assert again(desk) == []


# --- while it may change ----------------------------------------------------------------------------------------------


def unsettle(desk: Desk, *hours: int) -> None:
    """Empty the alerts, as a rebuild does that others get their turn in, and mark hours to be looked at."""
    with desk.pipeline.changing(H1, FOREVER, "a test") as session:
        session.data.clear(H1, ALERTS)
        session.pending.mark(H1, [ALERTS.name], [Mark(EUR, hour(hours[0]), hour(hours[-1]))])


def test_what_is_to_be_looked_at_again_is_neither_told_nor_taken_back() -> None:
    desk = told(EUR)
    desk.peak(EUR, 12, 1.1050)
    desk.reconcile()
    unsettle(desk, 11, 12)
    assert desk.deliver() == []
    desk.run()
    assert desk.inbox.told()[1:] == [("supplement", 12, (f"~{EUR}",))]


def test_what_waits_through_quiet_hours_outlives_a_rebuild() -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "16:00")), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    unsettle(desk, 12, 13)
    desk.at(17)
    assert desk.deliver() == []
    desk.run()
    assert desk.inbox.told() == [("digest", 12, (EUR,))]


def test_a_summary_waits_too() -> None:
    desk = Desk(Inbox(wants=quiet("06:00", "09:00")), peaks=[(EUR, 12), (EUR, 14)]).begin(12)
    desk.run(31)
    unsettle(desk, 12, 14)
    desk.at(34)
    assert desk.deliver() == []
    desk.run()
    (summary,) = desk.inbox.received
    assert summary.missed is not None
    assert summary.missed.alerts == 2


def test_other_hours_do_not_wait() -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "14:30")), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    with desk.pipeline.changing(H1, FOREVER, "a test") as session:
        session.pending.mark(H1, [ALERTS.name], [Mark(EUR, hour(3), hour(11)), Mark(EUR, hour(13), hour(13))])
    desk.at(15)
    assert [outcome.status for outcome in desk.deliver()] == ["sent"]


# --- when it is quiet -------------------------------------------------------------------------------------------------


def quiet(start: str, end: str) -> Wants:
    return Wants(quiet=QuietHours(time.fromisoformat(start), time.fromisoformat(end), ZoneInfo("UTC")))


def test_quiet_hours_put_off_and_nothing_ages_in_them() -> None:
    night, other = Inbox("night", quiet("12:00", "22:00")), Inbox("other")
    desk = Desk(night, other, peaks=[(EUR, 12), (GBP, 15)]).begin(12)
    for n in (13, 16, 21):
        desk.run(n)
        assert night.received == []
    assert other.told() == [("digest", 12, (EUR,)), ("digest", 15, (GBP,))]
    desk.run(22)
    assert night.told() == other.told()


def test_a_message_that_waits_keeps_quiet_too() -> None:
    """What failed before the quiet hours is tried again behind them."""
    desk = Desk(Inbox(wants=quiet("13:30", "22:00"), script=[away()]), peaks=[(EUR, 12)]).begin(12)
    desk.run(13)
    desk.run(16)
    assert (desk.inbox.received, desk.deliver()) == ([], [])
    desk.run(22)
    assert desk.inbox.told() == [("digest", 12, (EUR,))]


@pytest.mark.parametrize(("silenced", "left"), [(EUR, (GBP,)), ("*", ()), ("EUR_GBP", (EUR, GBP))])
def test_a_silence_holds_for_what_was_queued_before(silenced: str, left: tuple[str, ...]) -> None:
    desk = Desk(Inbox(wants=quiet("12:00", "14:30")), peaks=[(EUR, 12), (GBP, 12)]).begin(12)
    desk.run(13)
    desk.silence(silenced, 48)
    desk.run(15)
    assert desk.inbox.told() == ([("digest", 12, left)] if left else [])
    assert {item.instrument: item.status for item in desk.items()} == {
        name: "told" if name in left else "silenced" for name in (EUR, GBP)
    }


def test_a_silence_of_members_leaves_their_group() -> None:
    desk = Desk(peaks=[(name, 12) for name in NAMES]).begin(12)
    for name in NAMES:
        desk.silence(name, 48)
    desk.run(13)
    assert desk.inbox.told() == [("digest", 12, ("*",))]


def test_what_was_told_is_taken_back_in_silence_too() -> None:
    """Who acts on an alert has to hear that it was none."""
    desk = told(EUR)
    desk.silence("*", 48)
    desk.calm(EUR, 12)
    assert again(desk) == [("correction", 12, (f"-{EUR}",))]
