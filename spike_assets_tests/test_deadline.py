"""A deadline counts down on the monotonic clock and says what it kept from happening."""

import dataclasses
from datetime import timedelta

import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, PermanentError, SpikeError, TransientError


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("passed", "remaining"), [(0.0, 30.0), (12.5, 17.5), (29.75, 0.25), (30.0, 0.0), (31.0, 0.0), (9999.0, 0.0)]
)
def test_remaining_counts_down_to_zero(passed: float, remaining: float) -> None:
    clock = Clock()
    deadline = Deadline.after(timedelta(seconds=30), clock)
    clock.now += passed
    assert deadline.remaining() == remaining


@pytest.mark.parametrize("passed", [0.0, 15.0, 29.75])
def test_check_lets_pass_while_time_is_left(passed: float) -> None:
    clock = Clock()
    deadline = Deadline.after(timedelta(seconds=30), clock)
    clock.now += passed
    deadline.check("fetching EUR_USD")


@pytest.mark.parametrize("passed", [30.0, 30.25, 3600.0])
def test_check_raises_when_the_time_is_up(passed: float) -> None:
    clock = Clock()
    deadline = Deadline.after(timedelta(seconds=30), clock)
    clock.now += passed
    with pytest.raises(DeadlineError, match=r"^out of time before fetching EUR_USD; the next pass goes on from here$"):
        deadline.check("fetching EUR_USD")


@pytest.mark.parametrize("limit", [timedelta(0), timedelta(seconds=-1)])
def test_no_time_at_all(limit: timedelta) -> None:
    deadline = Deadline.after(limit, Clock())
    assert deadline.remaining() == 0.0
    with pytest.raises(DeadlineError):
        deadline.check("anything")


def test_limit_keeps_its_microseconds() -> None:
    assert Deadline.after(timedelta(minutes=1, microseconds=500_000), Clock()).at == 1060.5


def test_real_clock_is_the_default() -> None:
    assert 3599 < Deadline.after(timedelta(hours=1)).remaining() <= 3600


def test_stages_share_one_deadline() -> None:
    deadline = Deadline.after(timedelta(seconds=30), Clock())
    with pytest.raises(dataclasses.FrozenInstanceError):
        deadline.at = 0.0  # type: ignore[misc]


def test_running_out_of_time_may_be_tried_again() -> None:
    assert issubclass(DeadlineError, TransientError)
    assert issubclass(DeadlineError, SpikeError)
    assert not issubclass(DeadlineError, PermanentError)
