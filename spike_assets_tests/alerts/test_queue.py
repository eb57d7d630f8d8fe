"""What is queued when alerts change, and for whom: each alert once, while it is news."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from spike_assets.alerts.policy import Policy
from spike_assets.alerts.wants import Wants
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import passes, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import ELSEWHERE, NAMES, Desk, Inbox
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import CrashError, CrashingEngine, CrashPlan, MemoryEngine

EUR, GBP = "EUR_USD", "GBP_USD"


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_live_pass_tells_of_what_is_new_once() -> None:
    desk = Desk(peaks=[(EUR, 12)]).begin()
    for n in (11, 12, 13, 14):
        desk.run(n)
    assert desk.inbox.told() == [("digest", 12, (EUR,))]
    (item,) = desk.items()
    assert (item.status, item.said, item.delivery_id) == (
        "told",
        "1.1 psychological_level super 1.1000 stalled",
        desk.inbox.received[0].digest_id,
    )


def test_every_pass_twice_tells_nothing_twice() -> None:
    peaks = [(name, n) for name in NAMES for n in (12, 15)] + [(EUR, 17)]
    once, twice = Desk(peaks=peaks).begin(), Desk(peaks=peaks).begin()
    for n in range(11, 19):
        once.run(n)
        for _ in range(2):
            twice.run(n)
    everybody = ("*", *NAMES)
    assert once.inbox.told() == [("digest", 12, everybody), ("digest", 15, everybody), ("digest", 17, (EUR,))]
    assert twice.inbox.told() == once.inbox.told()
    twice.reconcile()
    assert twice.run().status == "no_new_data"
    assert twice.inbox.told() == once.inbox.told()


def test_without_channels_nothing_is_queued() -> None:
    desk = Desk(peaks=[(EUR, 12)]).begin()
    silent = replace(desk.pipeline, policy=Policy())
    desk.at(13)
    assert process(silent, H1, now=desk.now).sent == ()
    assert (len(desk.alerts()), desk.items(), desk.deliveries()) == (1, [], [])


def test_a_channel_that_comes_later_hears_of_what_is_still_news() -> None:
    first, second = Inbox("first"), Inbox("second")
    desk = Desk(first, peaks=[(EUR, 12), (EUR, 13)]).begin()
    desk.run(13)
    both = Desk(first, second, peaks=[(EUR, 12), (EUR, 13)], store=desk.pipeline.store)
    both.run(14)
    assert first.told() == [("digest", 12, (EUR,))]
    assert second.told() == []


# --- history ----------------------------------------------------------------------------------------------------------


def test_a_first_backfill_rings_nobody() -> None:
    desk = Desk(peaks=[(name, n) for name in NAMES for n in range(2, 60, 2)]).load(60)
    assert (len(desk.alerts()) > 100, desk.items()) == (True, [])
    desk.reconcile()
    desk.deliver()
    desk.run()
    assert (desk.items(), desk.inbox.received) == ([], [])


def test_the_first_live_pass_behind_a_backfill_tells_of_what_came_since_and_is_newest() -> None:
    """What was loaded is history; from that pass on all that is news is told."""
    desk = Desk(peaks=[(EUR, n) for n in (8, 10, 12, 14)]).load(10)
    desk.run(13)
    assert [row["time"] for row in desk.alerts()] == [hour(n) for n in (8, 10, 12)]
    assert desk.inbox.told() == [("digest", 12, (EUR,))]
    desk.run(16)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 14, (EUR,))]


def test_a_backfill_of_a_past_year_tells_nothing() -> None:
    desk = Desk(peaks=[(name, n) for name in NAMES for n in range(2, 60, 2)])
    desk.now = hour(24 * 365)
    backfill(desk.pipeline, H1, Window(hour(0), hour(90)))
    desk.deliver()
    assert (len(desk.alerts()) > 100, desk.items(), desk.deliveries()) == (True, [], [])


def test_a_backfill_beside_a_live_store_queues_what_is_news_only() -> None:
    """The candles of an instrument that was watched only lately: its alerts of today are news, not those of before."""
    desk = Desk(peaks=[(EUR, n) for n in (3, 8, 25, 27, 28)])
    for n in range(30):
        desk.omit(EUR, n)
    desk.begin(28)
    desk.run(29)
    for n in range(29):
        desk.calm(EUR, n)
    for n in (3, 8, 25, 27, 28):
        desk.peak(EUR, n)
    desk.calm(EUR, 28)
    desk.later(minutes=1)
    backfill(desk.pipeline, H1, Window(hour(0), hour(29)))
    assert [row["time"] for row in desk.alerts()] == [hour(n) for n in (3, 8, 25, 27)]
    assert [(item.time, item.status) for item in desk.items()] == [(hour(27), "pending")]
    desk.deliver()
    assert desk.inbox.told() == [("digest", 27, (EUR,))]


@pytest.mark.parametrize("beside", [lambda desk: desk.backfill(40), lambda desk: desk.reconcile()])
def test_who_comes_before_the_pass_behind_an_outage_swallows_nothing(beside: Callable[[Desk], None]) -> None:
    """A backfill or a reconcile queues what is news, and counts what was missed for the pass's summary."""
    desk = Desk(peaks=[(EUR, 20), (EUR, 29), (EUR, 33), (EUR, 38)]).begin(28)
    desk.run(29)
    desk.at(40)
    beside(desk)
    desk.run()
    assert desk.inbox.told() == [("digest", 38, (EUR,)), ("summary", None, ())]
    missed = desk.inbox.received[1].missed
    assert missed is not None
    assert (missed.alerts, missed.first, missed.last) == (2, hour(29), hour(33))


def test_the_first_live_pass_tells_of_its_newest_candle_only() -> None:
    """What it loads to warm up is history, however young."""
    desk = Desk(peaks=[(EUR, n) for n in (5, 15, 17, 19)])
    warm = replace(desk.pipeline, warmup=18)
    desk.at(20)
    process(warm, H1, now=desk.now)
    assert [row["time"] for row in desk.alerts()] == [hour(n) for n in (5, 15, 17, 19)]
    assert desk.inbox.told() == [("digest", 19, (EUR,))]


def test_what_was_history_for_the_first_live_pass_stays_so() -> None:
    """Whoever looks at it once more, say a backfill of what lies before, tells nobody of it."""
    desk = Desk(peaks=[(EUR, n) for n in (13, 15, 17, 21)], max_age=timedelta(days=2))
    for name in NAMES:
        for n in range(12):
            desk.omit(name, n)
    desk.begin(20)
    assert desk.inbox.received == []
    for name in NAMES:
        for n in range(12):
            desk.calm(name, n)
    desk.at(22)
    backfill(desk.pipeline, H1, Window(hour(0), hour(22)))
    desk.run()
    assert desk.inbox.told() == [("digest", 21, (EUR,))]


# --- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0, [("digest", 12, (EUR,))]),
        (2, [("digest", 12, (EUR,))]),
        (3, [("summary", None, ())]),
    ],
)
def test_what_waited_for_a_pass_is_news_for_two_hours(hours: int, told: list[object]) -> None:
    desk = Desk(peaks=[(EUR, 12)]).begin(12)
    desk.run(13 + hours)
    assert desk.inbox.told() == told


def test_what_was_missed_waits_for_the_summary() -> None:
    desk = Desk(peaks=[(EUR, 12), (EUR, 29)]).begin()
    desk.run(30)
    assert {(item.time, item.status) for item in desk.items()} == {(hour(12), "told"), (hour(29), "told")}
    assert desk.inbox.told() == [("digest", 29, (EUR,)), ("summary", None, ())]


def test_another_age_by_setting() -> None:
    desk = Desk(peaks=[(EUR, 12), (EUR, 20)], max_age=timedelta(hours=40)).begin()
    desk.run(50)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 20, (EUR,))]


def test_a_late_candle_is_told_of_while_it_is_news() -> None:
    for hours, told in ((1, [("digest", 12, (EUR,))]), (4, [])):
        desk = Desk(peaks=[(EUR, 12)])
        desk.omit(EUR, 12)
        desk.begin()
        for n in range(11, 13 + hours + 1):
            desk.run(n)
        desk.peak(EUR, 12)
        desk.reconcile()
        desk.run()
        assert len(desk.alerts()) == 1
        assert desk.inbox.told() == told


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wants", "told"),
    [
        (Wants(), [(12, (EUR,)), (14, ("*", "EUR_CHF", "EUR_GBP", "GBP_USD"))]),
        (Wants(instruments=frozenset({EUR})), [(12, (EUR,))]),
        (Wants(instruments=frozenset({"EUR_CHF"})), [(14, ("*", "EUR_CHF"))]),
        (Wants(instruments=frozenset({"USD_ZAR"})), []),
        (Wants(granularities=frozenset({"H1"})), [(12, (EUR,)), (14, ("*", "EUR_CHF", "EUR_GBP", "GBP_USD"))]),
        (Wants(granularities=frozenset({"H4", "D"})), []),
        (Wants(rules=frozenset({"simultaneous"})), [(14, ("*",))]),
        (Wants(rules=frozenset({"psychological_level"})), [(12, (EUR,)), (14, ("EUR_CHF", "EUR_GBP", "GBP_USD"))]),
        (Wants(rules=frozenset({"volume_spike"})), []),
        (Wants(rules=frozenset({"psychological_level"}), minimum_tier="super"), [(12, (EUR,))]),
    ],
)
def test_a_channel_hears_what_it_wants(wants: Wants, told: list[object]) -> None:
    """One alert at the super number 1.1000, and a group of three at the minor number 1.1050."""
    everything, some = Inbox("everything"), Inbox("some", wants)
    desk = Desk(everything, some, peaks=[(EUR, 12)])
    for name in ("EUR_CHF", "EUR_GBP", "GBP_USD"):
        desk.peak(name, 14, 1.1050)
    desk.begin()
    for n in range(11, 16):
        desk.run(n)
    assert [(n, names) for _, n, names in some.told()] == told
    assert [n for _, n, _ in everything.told()] == [12, 14]


def test_an_alert_that_falls_out_of_what_a_channel_wants_is_taken_back() -> None:
    strict = Inbox("strict", Wants(rules=frozenset({"psychological_level"}), minimum_tier="super"))
    desk = Desk(Inbox("all"), strict, peaks=[(EUR, 12)]).begin()
    desk.run(13)
    desk.peak(EUR, 12, 1.1050)
    desk.reconcile()
    desk.run(14)
    assert strict.told() == [("digest", 12, (EUR,)), ("correction", 12, (f"-{EUR}",))]
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("supplement", 12, (f"~{EUR}",))]


def test_settings_of_a_channel_take_nothing_back() -> None:
    """What it was told and still is what was said stays told; what it hears of later is what it wants now."""
    desk = Desk(peaks=[(EUR, 12), (EUR, 14), (GBP, 14)]).begin(12)
    desk.run(13)
    desk.inbox.wants = Wants(instruments=frozenset({GBP}))
    desk.peak(EUR, 12, close=1.0986)  # its candle comes once more, and it is what it was
    desk.reconcile()
    desk.run(15)
    assert desk.inbox.told() == [("digest", 12, (EUR,)), ("digest", 14, (GBP,))]
    assert [item.status for item in desk.items()] == ["told", "told"]


def test_one_that_comes_to_be_wanted_is_new_to_the_channel() -> None:
    strict = Inbox("strict", Wants(rules=frozenset({"psychological_level"}), minimum_tier="super"))
    desk = Desk(Inbox("all"), strict)
    desk.peak(EUR, 12, 1.1050)
    desk.begin().run(13)
    desk.peak(EUR, 12)
    desk.reconcile()
    desk.run()
    assert strict.told() == [("digest", 12, (EUR,))]


# --- silences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silenced", "told"),
    [
        (EUR, [("digest", 12, ("*", "EUR_CHF", "EUR_GBP"))]),
        ("*", []),
        ("GBP_USD", [("digest", 12, ("*", "EUR_CHF", "EUR_GBP", EUR))]),
    ],
)
def test_what_is_silenced_is_not_queued(silenced: str, told: list[object]) -> None:
    desk = Desk(peaks=[(name, 12) for name in ("EUR_CHF", "EUR_GBP", EUR)]).begin()
    desk.silence(silenced, 48)
    for n in range(11, 15):
        desk.run(n)
    assert desk.inbox.told() == told


def test_a_silence_ends_and_what_came_in_it_stays_unsaid() -> None:
    """Though it would still be news when its candle comes once more, with another close."""
    desk = Desk(peaks=[(EUR, 11), (GBP, 12)]).begin()
    desk.silence(EUR, 2.5)
    desk.run(12)
    desk.run(13)
    desk.peak(EUR, 11, close=1.0986)
    desk.reconcile()
    desk.run()
    assert desk.inbox.told() == [("digest", 12, (GBP,))]
    assert [(item.time, item.status) for item in desk.items()] == [(hour(11), "silenced"), (hour(12), "told")]


# --- one transaction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(10))
def test_whatever_commit_a_pass_dies_at_its_alert_is_told_once(at: int, before: bool) -> None:
    plan = CrashPlan()
    desk = Desk(peaks=[(EUR, 12)], store=Store(CrashingEngine(MemoryEngine(), plan))).begin(12)
    plan.arm(at, before=before)
    with suppress(CrashError):  # at the last ones it sends: there it tells of the failure, and goes well
        desk.run(13)
    assert plan.hit
    plan.arm(-1, before=before)
    desk.later(minutes=1)
    desk.run()
    heard = [digest.model_dump_json() for digest in desk.inbox.received]
    assert len(set(heard)) == 1
    assert len(heard) <= 2
    assert desk.inbox.told()[0] == ("digest", 12, (EUR,))


def test_a_level_that_is_not_round_is_no_alert() -> None:
    desk = Desk().begin()
    desk.peak(EUR, 12, ELSEWHERE)
    desk.run(13)
    assert (desk.alerts(), desk.items(), desk.inbox.received) == ([], [], [])


def test_a_first_pass_that_is_still_behind_has_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MOST_CANDLES", 25)
    desk = Desk(peaks=[("EUR_USD", 20), ("EUR_USD", 50), ("EUR_USD", 79)]).load(12)
    while desk.run(80).behind:
        assert desk.inbox.told() == []
    assert desk.inbox.told() == [("digest", 79, ("EUR_USD",))]
