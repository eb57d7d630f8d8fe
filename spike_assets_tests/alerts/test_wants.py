"""What a channel wants: quiet hours by real clocks, filters, tiers."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.alerts.digest import PatternCompletion, PsychologicalLevel, Reasons, VolumeSpike
from spike_assets.alerts.wants import QuietHours, Wants

BERLIN, NEW_YORK, KOLKATA, LORD_HOWE = "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"


def hours(text: str, zone: str) -> QuietHours:
    start, end = (time.fromisoformat(part) for part in text.split("-"))
    return QuietHours(start, end, ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet", "zone", "now", "until"),
    [
        # Within a day; the end itself is not quiet.
        ("09:00-17:00", BERLIN, "2026-01-14 07:59", None),
        ("09:00-17:00", BERLIN, "2026-01-14 08:00", "2026-01-14 16:00"),
        ("09:00-17:00", BERLIN, "2026-01-14 15:59:59.999999", "2026-01-14 16:00"),
        ("09:00-17:00", BERLIN, "2026-01-14 16:00", None),
        # Over midnight, asked before it and after it.
        ("22:00-07:00", BERLIN, "2026-01-14 20:59", None),
        ("22:00-07:00", BERLIN, "2026-01-14 21:00", "2026-01-15 06:00"),
        ("22:00-07:00", BERLIN, "2026-01-15 05:59", "2026-01-15 06:00"),
        ("22:00-07:00", BERLIN, "2026-01-15 06:00", None),
        ("22:00-00:00", BERLIN, "2026-01-14 21:30", "2026-01-14 23:00"),
        ("22:00-00:00", BERLIN, "2026-01-14 23:00", None),
        # The night in which clocks are put forward is an hour shorter, the other one longer.
        ("22:00-07:00", BERLIN, "2026-03-28 21:00", "2026-03-29 05:00"),
        ("22:00-07:00", BERLIN, "2026-10-24 20:00", "2026-10-25 06:00"),
        ("22:00-07:00", NEW_YORK, "2026-03-08 03:00", "2026-03-08 11:00"),
        ("22:00-07:00", NEW_YORK, "2026-11-01 02:00", "2026-11-01 12:00"),
        # An end that clocks skip (02:30 on 29 March, 8 March) is the moment in which they skip it.
        ("22:00-02:30", BERLIN, "2026-03-29 00:59", "2026-03-29 01:00"),
        ("22:00-02:30", BERLIN, "2026-03-29 01:00", None),
        ("22:00-02:30", NEW_YORK, "2026-03-08 06:59", "2026-03-08 07:00"),
        ("22:00-02:30", NEW_YORK, "2026-03-08 07:00", None),
        # A start that they skip, too.
        ("02:30-08:00", BERLIN, "2026-03-29 00:59", None),
        ("02:30-08:00", BERLIN, "2026-03-29 01:00", "2026-03-29 06:00"),
        # Both skipped: no quiet hours on that day.
        ("02:10-02:50", BERLIN, "2026-03-29 01:00", None),
        # Exactly at the edges of the skip.
        ("22:00-02:00", BERLIN, "2026-03-29 00:59", "2026-03-29 01:00"),
        ("22:00-03:00", BERLIN, "2026-03-29 00:59", "2026-03-29 01:00"),
        # An end that clocks show twice is the second one, with no gap in between.
        ("22:00-02:30", BERLIN, "2026-10-25 00:29", "2026-10-25 01:30"),
        ("22:00-02:30", BERLIN, "2026-10-25 00:45", "2026-10-25 01:30"),
        ("22:00-02:30", BERLIN, "2026-10-25 01:29", "2026-10-25 01:30"),
        ("22:00-02:30", BERLIN, "2026-10-25 01:30", None),
        ("22:00-01:30", NEW_YORK, "2026-11-01 05:45", "2026-11-01 06:30"),
        ("22:00-01:30", NEW_YORK, "2026-11-01 06:30", None),
        # A start that they show twice is the first one.
        ("02:30-08:00", BERLIN, "2026-10-25 00:29", None),
        ("02:30-08:00", BERLIN, "2026-10-25 00:30", "2026-10-25 07:00"),
        ("02:30-08:00", BERLIN, "2026-10-25 01:15", "2026-10-25 07:00"),
        # All of a day but half an hour, which is shown twice: the hours touch the next ones, and end with those.
        ("02:10-02:00", BERLIN, "2026-10-24 12:00", "2026-10-26 01:00"),
        # Half an hour off, and clocks that are put by half an hour.
        ("22:00-07:00", KOLKATA, "2026-07-01 16:29", None),
        ("22:00-07:00", KOLKATA, "2026-07-01 16:30", "2026-07-02 01:30"),
        ("22:00-02:15", LORD_HOWE, "2026-10-03 15:29", "2026-10-03 15:30"),
        ("22:00-02:15", LORD_HOWE, "2026-10-03 15:30", None),
        ("22:00-01:45", LORD_HOWE, "2026-04-04 14:50", "2026-04-04 15:15"),
    ],
)
def test_quiet_hours(quiet: str, zone: str, now: str, until: str | None) -> None:
    assert hours(quiet, zone).until(utc(now)) == (utc(until) if until else None)


def test_the_time_may_be_of_any_zone_and_the_answer_is_utc() -> None:
    quiet = hours("22:00-07:00", BERLIN)
    until = quiet.until(datetime(2026, 1, 14, 23, 0, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert until is None
    until = quiet.until(datetime(2026, 1, 15, 6, 0, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert until == utc("2026-01-15 06:00")
    assert until.tzinfo is UTC


TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
INSTANTS = st.integers(0, 10 * 366 * 24 * 60).map(lambda minutes: utc("2020-01-01") + timedelta(minutes=minutes))
ZONES = st.sampled_from([BERLIN, NEW_YORK, KOLKATA, LORD_HOWE, "Africa/Casablanca", "America/Sao_Paulo"])


@given(TIMES, TIMES, ZONES, INSTANTS)
def test_they_end_when_they_say_and_not_before(start: time, end: time, zone: str, now: datetime) -> None:
    if start == end:
        return
    quiet = QuietHours(start, end, ZoneInfo(zone))
    until = quiet.until(now)
    if until is None:
        return
    assert now < until <= now + timedelta(days=3)
    assert quiet.until(until) is None
    halfway = now + (until - now) / 2
    assert quiet.until(halfway) == until


@given(TIMES, TIMES, ZONES, INSTANTS)
def test_away_from_changes_they_are_what_the_clock_on_the_wall_says(
    start: time, end: time, zone: str, now: datetime
) -> None:
    place = ZoneInfo(zone)
    offsets = {(now + timedelta(days=days)).astimezone(place).utcoffset() for days in (-2, -1, 0, 1, 2)}
    if start == end or len(offsets) > 1:
        return
    shown = now.astimezone(place).time()
    inside = start <= shown < end if start < end else shown >= start or shown < end
    assert (QuietHours(start, end, place).until(now) is not None) == inside


# --- filters ----------------------------------------------------------------------------------------------------------


def number(tier: str) -> Reasons:
    found = {"tier": tier, "number": "1.10", "pips": "0.1", "position": "swept", "chance": 0.1}
    return Reasons(psychological_level=PsychologicalLevel.model_validate(found))


VOLUME = Reasons(volume_spike=VolumeSpike(relative_volume=3.0, volume_z=4.0))
RUN = Reasons(pattern_completion=PatternCompletion(pattern="HH-HH-HH"))


@pytest.mark.parametrize("reasons", [number("minor"), VOLUME, RUN])
def test_all_is_wanted_unless_said_otherwise(reasons: Reasons) -> None:
    wants = Wants()
    assert wants.alert("H1", "EUR_USD", reasons)
    assert wants.group("H1", ["EUR_USD"])
    assert wants.operational()


@pytest.mark.parametrize(
    ("rules", "reasons", "wanted"),
    [
        ({"volume_spike"}, VOLUME, True),
        ({"volume_spike"}, RUN, False),
        ({"volume_spike"}, number("super"), False),
        ({"psychological_level"}, number("minor"), True),
        ({"pattern_completion", "volume_spike"}, RUN, True),
        ({"pattern_completion"}, RUN.model_copy(update={"volume_spike": VOLUME.volume_spike}), True),
        ({"simultaneous", "operational"}, VOLUME, False),
        ({"volume_spike"}, Reasons(), False),
    ],
)
def test_one_wanted_rule_is_enough(rules: set[str], reasons: Reasons, wanted: bool) -> None:
    assert Wants(rules=frozenset(rules)).alert("H1", "EUR_USD", reasons) is wanted


@pytest.mark.parametrize(
    ("minimum", "tier", "wanted"),
    [
        ("minor", "minor", True),
        ("major", "minor", False),
        ("major", "major", True),
        ("major", "super", True),
        ("super", "major", False),
        ("super", "super", True),
    ],
)
def test_a_round_number_counts_from_its_tier_on(minimum: str, tier: str, wanted: bool) -> None:
    assert Wants(minimum_tier=minimum).alert("D", "EUR_USD", number(tier)) is wanted


def test_a_lesser_round_number_does_not_take_another_reason_away() -> None:
    both = number("minor").model_copy(update={"volume_spike": VOLUME.volume_spike})
    assert Wants(minimum_tier="super").alert("H1", "EUR_USD", both)


def test_instruments_and_granularities() -> None:
    wants = Wants(instruments=frozenset({"EUR_USD"}), granularities=frozenset({"H4"}))
    assert wants.alert("H4", "EUR_USD", VOLUME)
    assert not wants.alert("H4", "USD_JPY", VOLUME)
    assert not wants.alert("H1", "EUR_USD", VOLUME)
    assert wants.group("H4", ["USD_JPY", "EUR_USD"])
    assert not wants.group("H4", ["USD_JPY"])
    assert not wants.group("H1", ["EUR_USD"])


def test_groups_and_the_platform_are_rules_too() -> None:
    wants = Wants(rules=frozenset({"volume_spike"}))
    assert not wants.group("H1", ["EUR_USD"])
    assert not wants.operational()
