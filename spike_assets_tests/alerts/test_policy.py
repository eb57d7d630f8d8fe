"""How old an alert may be: counted from the first tick that was due behind its candle's close."""

from datetime import UTC, datetime, timedelta

import pytest

from spike_assets.alerts.policy import Policy
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W

MOMENT = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("name", "hours"), [("H1", 2), ("H4", 8), ("D", 24), ("W", 24)])
def test_two_candles_and_a_day_at_most(name: str, hours: int) -> None:
    assert Policy().age_limit(GRANULARITIES[name]) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("granularity", "closed_at", "until"),
    [
        (H1, "2025-03-12 14:00", "2025-03-12 16:05"),
        (H1, "2025-03-14 21:00", "2025-03-14 23:05"),  # Friday's last one
        (H4, "2025-07-09 17:00", "2025-07-10 01:05"),
        (H4, "2025-01-08 18:00", "2025-01-09 02:05"),  # in New York's winter
        (D, "2025-03-12 21:00", "2025-03-13 21:05"),
        (D, "2025-03-14 21:00", "2025-03-15 21:05"),  # Friday's: over on Saturday
        (D, "2025-01-10 22:00", "2025-01-11 22:05"),
        (W, "2025-03-14 21:00", "2025-03-17 21:05"),  # Friday's close is noticed on Sunday, 21:05
        (W, "2025-01-10 22:00", "2025-01-13 21:05"),
    ],
    ids=str,
)
def test_news_until(granularity: Granularity, closed_at: str, until: str) -> None:
    closed, last = utc(closed_at), utc(until)
    assert Policy().is_fresh(granularity, closed, closed)
    assert Policy().is_fresh(granularity, closed, last)
    assert not Policy().is_fresh(granularity, closed, last + MOMENT)


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_a_setting_is_one_for_all(granularity: Granularity) -> None:
    week = Policy(max_age=timedelta(days=7))
    assert week.age_limit(granularity) == timedelta(days=7)
    closed = utc("2025-03-14 21:00")
    tick = utc("2025-03-16 21:05") if granularity is W else utc("2025-03-14 21:05")
    assert week.is_fresh(granularity, closed, tick + timedelta(days=7))
    assert not week.is_fresh(granularity, closed, tick + timedelta(days=7) + MOMENT)


def test_a_short_one_too() -> None:
    policy = Policy(max_age=timedelta(minutes=10))
    assert policy.is_fresh(H1, utc("2025-03-12 14:00"), utc("2025-03-12 14:15"))
    assert not policy.is_fresh(H1, utc("2025-03-12 14:00"), utc("2025-03-12 14:16"))


def test_what_closes_in_the_future_is_news() -> None:
    """A clock that goes back makes nothing old."""
    assert Policy().is_fresh(H1, utc("2025-03-12 14:00"), utc("2025-03-11 14:00"))


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert Policy().channels == ()
