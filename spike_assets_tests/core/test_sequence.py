"""The short series of distances, by hand and against the slow loop."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spike_assets.core.grouped import Grouped
from spike_assets.core.sequence import sequence
from spike_assets_tests import oracle
from spike_assets_tests.strategies import examples
from spike_assets_tests.support import plain


def rows(*distances: list[float]) -> list[dict[str, Any]]:
    """Give the features of each event; every instrument's first event has no distance."""
    names = [name for name, mine in zip("ABC", distances, strict=False) for _ in range(len(mine) + 1)]
    values = np.array([value for mine in distances for value in [np.nan, *mine]])
    return plain(pd.DataFrame(sequence(Grouped(pd.DataFrame({"instrument": names})), values)))


def last(*distances: float) -> dict[str, Any]:
    """Give the features of the last of some events."""
    return rows(list(distances))[-1]


def test_none() -> None:
    found = last()
    assert found.pop("sequence_count") == 0
    assert set(found.values()) == {None}
    assert len(found) == 13


def test_one() -> None:
    assert last(-0.5) == {
        "sequence_count": 1,
        "sequence_last": -0.5,
        "sequence_mean": -0.5,
        "sequence_std": 0.0,
        "sequence_change": 0.0,
        "sequence_change_rate": 0.0,
        "sequence_final_velocity": None,
        "sequence_acceleration": None,
        "sequence_curvature": None,
        "sequence_jerk": None,
        "sequence_is_accelerating": None,
        "sequence_is_geometric_decay": None,
        "sequence_urgency": 1,
        "sequence_confidence": 0.3,  # 1/4, steady
    }


def test_two() -> None:
    assert last(2.0, 1.0) == {
        "sequence_count": 2,
        "sequence_last": 1.0,
        "sequence_mean": 1.5,
        "sequence_std": 0.5,
        "sequence_change": -1.0,
        "sequence_change_rate": -0.5,
        "sequence_final_velocity": -1.0,
        "sequence_acceleration": None,
        "sequence_curvature": None,
        "sequence_jerk": None,
        "sequence_is_accelerating": None,
        "sequence_is_geometric_decay": True,
        "sequence_urgency": 3,
        "sequence_confidence": 0.5,
    }


def test_three() -> None:
    found = last(-1.0, 0.5, 0.25)
    assert found["sequence_acceleration"] == -1.75  # -0.25 after 1.5
    assert found["sequence_curvature"] == 1.75 / 1.5
    assert found["sequence_jerk"] is None
    assert found["sequence_is_accelerating"] is False
    assert found["sequence_is_geometric_decay"] is True
    assert found["sequence_change"] == 1.25
    assert found["sequence_change_rate"] == 1.25
    assert found["sequence_urgency"] == 1
    assert found["sequence_confidence"] == 0.75


def test_four() -> None:
    assert last(1.0, 2.0, 4.0, 8.0) == {
        "sequence_count": 4,
        "sequence_last": 8.0,
        "sequence_mean": 3.75,
        "sequence_std": math.sqrt((2.75**2 + 1.75**2 + 0.25**2 + 4.25**2) / 4),
        "sequence_change": 7.0,
        "sequence_change_rate": 7.0,
        "sequence_final_velocity": 4.0,
        "sequence_acceleration": 2.0,
        "sequence_curvature": 1.0,
        "sequence_jerk": 1.0,
        "sequence_is_accelerating": True,
        "sequence_is_geometric_decay": False,
        "sequence_urgency": 3,
        "sequence_confidence": 1.0,
    }


def test_only_the_last_four_count() -> None:
    assert last(99.0, -7.0, 1.0, 2.0, 4.0, 8.0) == last(1.0, 2.0, 4.0, 8.0)


def test_change_rate_from_nothing_is_nothing() -> None:
    assert last(0.0, 3.0)["sequence_change_rate"] == 0.0


def test_curvature_divides_by_a_ten_thousandth_at_least() -> None:
    assert last(1.0, 1.0, 2.0)["sequence_curvature"] == 1.0 / 0.0001
    assert last(1.0, 1.0, 1.0)["sequence_curvature"] == 0.0


@pytest.mark.parametrize(
    ("distances", "urgency"),
    [
        ((0.0,), 1),
        ((0.66,), 1),
        ((0.67,), 2),
        ((-0.67,), 2),
        ((1.0,), 3),
        ((99.0,), 3),
        ((0.2, 0.1, 0.5), 2),  # accelerating
        ((0.2, 0.1, 0.8), 3),
        ((0.2, 0.1, 5.0), 3),
        ((0.2, 0.5, 0.2), 1),
        ((0.5, 0.25, 0.0), 1),  # steady is not accelerating
    ],
)
def test_urgency(distances: tuple[float, ...], urgency: int) -> None:
    assert last(*distances)["sequence_urgency"] == urgency


@pytest.mark.parametrize(
    ("distances", "decays"),
    [
        ((1.0, 0.9), False),
        ((1.0, 0.89), True),
        ((-1.0, 0.5, -0.25, 0.1), True),
        ((0.1, 0.5, 0.25, 0.1), False),
        ((1.0, 0.5, 0.45, 0.1), False),
        ((0.0, 0.0), False),
    ],
)
def test_geometric_decay(distances: tuple[float, ...], decays: bool) -> None:
    assert last(*distances)["sequence_is_geometric_decay"] is decays


@pytest.mark.parametrize(
    ("distances", "confidence"),
    [
        ((0.0,), 0.25),  # no spread, but nothing that it could be small against
        ((1.0, 1.0), 0.6),
        ((-1.0, -1.0), 0.6),
        ((1.0, 1.5), 0.5),  # a spread of 0.25 against 0.25
        ((1.0, 1.4), 0.6),
        ((1.0, 1.0, 1.0, 1.0), 1.0),
        ((1.0, -1.0, 1.0, -1.0), 1.0),
    ],
)
def test_confidence(distances: tuple[float, ...], confidence: float) -> None:
    assert last(*distances)["sequence_confidence"] == confidence


some_distances = st.lists(
    st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 0.9, 1e-4, 1e-16]),
        st.integers(-4_000, 4_000).map(lambda n: n / 1_000),
        st.floats(1e-12, 1e6),
    ),
    max_size=7,
)


@examples(300)
@given(st.lists(some_distances, min_size=1, max_size=3))
@example([[0.1, 0.2, 0.3, 0.4], [], [0.0, 0.0, 0.0, 0.0]])
def test_equals_the_slow_loop(distances: list[list[float]]) -> None:
    expected = [oracle.sequence(mine[:n][-4:]) for mine in distances for n in range(len(mine) + 1)]
    assert rows(*distances) == expected
