"""Marks: made, merged where they overlap, and cleared no further than was worked off."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.granularity import H1, H4
from spike_assets.store.pending import Mark, Pending
from spike_assets.store.store import Session
from spike_assets_tests.store.conftest import Opened
from spike_assets_tests.strategies import examples

START = datetime(2025, 3, 10, tzinfo=UTC)


@pytest.fixture
def pending(session: Session) -> Pending:
    return session.pending


def mark(instrument: str, from_hour: int, to_hour: int) -> Mark:
    return Mark(instrument, START + timedelta(hours=from_hour), START + timedelta(hours=to_hour))


def test_marks_are_of_a_stage_and_a_granularity(pending: Pending) -> None:
    pending.mark(H1, ["atr", "events"], [mark("A", 1, 3), mark("B", 2, 2)])
    pending.mark(H4, ["atr"], [mark("C", 0, 0)])
    assert pending.of(H1, "atr") == pending.of(H1, "events") == [mark("A", 1, 3), mark("B", 2, 2)]
    assert pending.of(H1, "features") == []
    assert pending.of(H4, "atr") == [mark("C", 0, 0)]
    assert (pending.count(H1), pending.count(H4)) == (4, 1)


def test_times_are_utc(pending: Pending) -> None:
    pending.mark(H1, ["atr"], [mark("A", 1, 3)])
    found = pending.of(H1, "atr")[0]
    assert found.from_time.utcoffset() == found.to_time.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("marks", "merged"),
    [
        ([(1, 3), (2, 5)], [(1, 5)]),
        ([(1, 3), (3, 5)], [(1, 5)]),
        ([(1, 9), (2, 3), (4, 5)], [(1, 9)]),
        ([(1, 3), (4, 5)], [(1, 3), (4, 5)]),
        ([(1, 3), (1, 5)], [(1, 5)]),
        ([(1, 5), (1, 3)], [(1, 5)]),
        ([(4, 5), (1, 3), (3, 4)], [(1, 5)]),
    ],
)
def test_overlapping_marks_are_one(
    pending: Pending, marks: list[tuple[int, int]], merged: list[tuple[int, int]]
) -> None:
    for one in marks:
        pending.mark(H1, ["atr"], [mark("A", *one)])
    pending.mark(H1, ["atr"], [mark("B", 2, 2)])
    assert pending.of(H1, "atr") == [*(mark("A", *one) for one in merged), mark("B", 2, 2)]


def test_nothing_to_mark(pending: Pending) -> None:
    pending.mark(H1, ["atr"], [])
    pending.mark(H1, [], [mark("A", 1, 2)])
    assert pending.count(H1) == 0


def test_clearing_takes_the_marks_that_begin_inside(pending: Pending) -> None:
    pending.mark(H1, ["atr", "events"], [mark("A", 1, 3)])
    pending.mark(H1, ["atr"], [mark("A", 2, 5), mark("B", 2, 3)])
    pending.mark(H1, ["atr"], [mark("A", 6, 7)])
    pending.clear(H1, "atr", [mark("A", 1, 5)])
    assert pending.of(H1, "atr") == [mark("A", 6, 7), mark("B", 2, 3)]
    assert pending.of(H1, "events") == [mark("A", 1, 3)]


def test_clearing_everything_of_a_stage(pending: Pending) -> None:
    pending.mark(H1, ["atr", "events"], [mark("A", 1, 3), mark("B", 1, 3)])
    pending.mark(H4, ["atr"], [mark("A", 1, 3)])
    pending.clear(H1, "atr")
    assert (pending.of(H1, "atr"), len(pending.of(H1, "events")), len(pending.of(H4, "atr"))) == ([], 2, 1)


ranges = st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.integers(0, 4)).map(
    lambda drawn: mark(drawn[0], drawn[1], drawn[1] + drawn[2])
)


def hours(marks: list[Mark]) -> set[tuple[str, datetime]]:
    """Give every hour that marks cover."""
    return {
        (m.instrument, m.from_time + timedelta(hours=n))
        for m in marks
        for n in range((m.to_time - m.from_time) // timedelta(hours=1) + 1)
    }


@examples(60)
@given(st.lists(ranges, max_size=8))
def test_no_hour_is_forgotten_and_marks_do_not_overlap(opened: Opened, marks: list[Mark]) -> None:
    with opened() as session:
        for one in marks:
            session.pending.mark(H1, ["atr"], [one])
        found = session.pending.of(H1, "atr")
        assert hours(found) == hours(marks)
        assert found == sorted(found)
        assert sum(len(hours([one])) for one in found) == len(hours(found))
        if found:
            session.pending.clear(H1, "atr", found[:1])
            assert session.pending.of(H1, "atr") == found[1:]
