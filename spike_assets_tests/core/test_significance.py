"""The four rules, by hand, against a slow loop, and against chance."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.significance import (
    PatternCompletion,
    PsychologicalLevel,
    Simultaneous,
    VolumeSpike,
    shared_currency,
)
from spike_assets.instruments import GRIDS, INSTRUMENTS, instrument

MONDAY = datetime(2025, 3, 10, tzinfo=UTC)
DECIMALS = {name: instrument(name).decimals for name in INSTRUMENTS}
LEVELS = PsychologicalLevel(GRIDS, DECIMALS)


def event(level: float, close: float = 0.0, atr: float = 0.001, name: str = "EUR_USD") -> dict[str, Any]:
    return {"instrument": name, "time": MONDAY, "level": level, "close": close, "atr": atr}


def frame(*events: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(events))


# --- round numbers ----------------------------------------------------------------------------------------------------

# EUR_USD: minor 0.005, major 0.01, super 0.1; a tenth of an ATR of 0.001 is one pip, ten ticks of 0.00001.
LEVEL_CASES = [
    ("on a super number", event(1.1, 1.09), ("super", 1.1, 0.0, "stalled")),
    ("on a major number", event(1.08, 1.07), ("major", 1.08, 0.0, "stalled")),
    ("on a minor number", event(1.085, 1.08), ("minor", 1.085, 0.0, "stalled")),
    ("a pip below", event(1.0799, 1.07), ("major", 1.08, -1.0, "stalled")),
    ("a pip above, closed below", event(1.0801, 1.0795), ("major", 1.08, 1.0, "swept")),
    ("a pip above, closed on it", event(1.0801, 1.08), ("major", 1.08, 1.0, "swept")),
    ("a pip above, closed above", event(1.0801, 1.08005), ("major", 1.08, 1.0, None)),
    ("a tick too far", event(1.08011, 1.07), None),
    ("a tick too far below", event(1.07989, 1.07), None),
    ("a wider candle", event(1.0802, 1.07, 0.0021), ("major", 1.08, 2.0, "swept")),
    ("no wider than a twentieth of the minor step", event(1.08025, 1.07, 0.01), ("major", 1.08, 2.5, "swept")),
    ("one tick beyond that", event(1.08026, 1.07, 0.01), None),
    ("a tenth of 12 pips is 12 ticks", event(1.08012, 1.07, 0.0012), ("major", 1.08, 1.2, "swept")),
    ("a tenth of 11.9 pips is less", event(1.08012, 1.07, 0.00119), None),
    ("a quiet candle still has a pip", event(1.0801, 1.07, 0.0001), ("major", 1.08, 1.0, "swept")),
    ("yen", event(150.0, 149.0, 0.2, "EUR_JPY"), ("super", 150.0, 0.0, "stalled")),
    ("yen, half", event(149.51, 149.0, 0.2, "EUR_JPY"), ("minor", 149.5, 1.0, "swept")),
    ("forint", event(345.03, 344.0, 0.4, "USD_HUF"), ("major", 345.0, 3.0, "swept")),
]


@pytest.mark.parametrize(
    ("given_", "expected"), [case[1:] for case in LEVEL_CASES], ids=[case[0] for case in LEVEL_CASES]
)
def test_round_numbers(given_: dict[str, Any], expected: tuple[Any, ...] | None) -> None:
    found = LEVELS.reasons(frame(given_))
    assert [tuple(row) for row in found[["tier", "number", "pips", "position"]].itertuples(index=False)] == (
        [] if expected is None else [pytest.approx(expected) if expected[3] is None else expected]
    )


def slowly(row: dict[str, Any]) -> tuple[str, Decimal, Decimal] | None:
    """Say what the rule says, in decimals and one candidate number after another."""
    grid, decimals = GRIDS[row["instrument"]], DECIMALS[row["instrument"]]
    tick = Decimal(1).scaleb(-decimals)
    level = Decimal(str(row["level"])).quantize(tick, ROUND_HALF_UP)
    reach = min(max(Decimal("0.1") * Decimal(str(row["atr"])), 10 * tick), Decimal(grid.minor) * tick / 20)
    ticks = int(reach / tick)
    for tier, step in (("super", grid.super), ("major", grid.major), ("minor", grid.minor)):
        below = int(level / (step * tick)) * step * tick
        for number in (below, below + step * tick):
            if abs(level - number) <= ticks * tick:
                return tier, number, (level - number) / tick / 10
    return None


@given(
    name=st.sampled_from(sorted(GRIDS)),
    ticks=st.integers(1_000, 60_000_000),
    atr_ticks=st.integers(1, 5_000),
)
def test_round_numbers_as_a_slow_loop_finds_them(name: str, ticks: int, atr_ticks: int) -> None:
    scale = 10.0 ** DECIMALS[name]
    row = event(ticks / scale, 0.0, atr_ticks * 10 / scale, name)
    found = LEVELS.reasons(frame(row))
    expected = slowly(row)
    if expected is None:
        assert found.empty
        return
    (hit,) = found.itertuples(index=False)
    assert hit.tier == expected[0]
    assert hit.number == float(expected[1])
    assert hit.pips == float(expected[2])


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_chance_alone_hits_as_often_as_it_is_said_to(name: str) -> None:
    grid, scale = GRIDS[name], 10.0 ** DECIMALS[name]
    ticks = np.arange(7 * grid.super, 7 * grid.super + 4 * grid.major)
    events = pd.DataFrame({"instrument": name, "level": ticks / scale, "close": 0.0, "atr": 50 * grid.minor / scale})
    hits = LEVELS.reasons(events)
    assert len(hits) / len(ticks) == pytest.approx(LEVELS.chances(events)[0])
    assert len(hits) / len(ticks) <= 0.10 + 1 / grid.minor
    assert set(hits["chance"]) == {LEVELS.chances(events)[0]}


def test_hits_are_indexed_like_the_events() -> None:
    events = frame(event(1.0833), event(1.1), event(1.0444), event(1.08))
    assert LEVELS.reasons(events.set_axis([7, 5, 3, 1])).index.tolist() == [5, 1]


# --- volume and patterns ----------------------------------------------------------------------------------------------


def test_volume_spikes_are_large_and_out_of_the_ordinary() -> None:
    events = pd.DataFrame({"relative_volume": [2.0, 1.99, 9.0, np.nan, 2.5], "volume_z": [3.0, 9.0, 2.99, 5.0, np.nan]})
    assert VolumeSpike().reasons(events).to_dict("index") == {0: {"relative_volume": 2.0, "volume_z": 3.0}}
    assert VolumeSpike(least_z=2.9).reasons(events).index.tolist() == [0, 2]


def test_a_pattern_completes_once() -> None:
    events = pd.DataFrame(
        {
            "pattern": [None, "HH", "HH", "HH", "HH", "LH", "LH", "LH"],
            "pattern_run": pd.array([None, 1, 2, 3, 4, 1, 2, 3], dtype="Int64"),
        }
    )
    assert PatternCompletion().reasons(events)["pattern"].to_dict() == {3: "HH-HH-HH", 7: "LH-LH-LH"}


# --- groups -----------------------------------------------------------------------------------------------------------


def at(time: datetime, *names: str) -> pd.DataFrame:
    return pd.DataFrame({"instrument": list(names), "time": [time] * len(names)})


JPY = ("AUD_JPY", "CAD_JPY", "CHF_JPY", "EUR_JPY")
OTHERS = ("EUR_USD", "GBP_USD", "USD_THB", "EUR_GBP")


@pytest.mark.parametrize(
    ("members", "traded", "fires"),
    [
        (3, 6, True),
        (3, 7, False),
        (4, 7, True),
        (2, 4, False),
        (2, 2, False),
        (3, 3, True),
        (4, 8, True),
        (3, 8, False),
    ],
)
def test_half_of_those_that_trade_and_three_at_least(members: int, traded: int, fires: bool) -> None:
    names = (*JPY, *OTHERS)
    found = Simultaneous().groups(at(MONDAY, *names[:members]), at(MONDAY, *names[:traded]))
    assert len(found) == fires
    if fires:
        assert found["of"].tolist() == [traded]
        assert found["members"].tolist() == [tuple(sorted(names[:members]))]


@pytest.mark.parametrize(
    ("share", "traded", "least"),
    [(0.5, 28, 14), (0.5, 27, 14), (0.5, 4, 3), (0.55, 20, 11), (0.1, 30, 3), (0.07, 100, 7), (1.0, 29, 29)],
)
def test_a_share_is_counted_in_whole_instruments(share: float, traded: int, least: int) -> None:
    """0.55 · 20 is a bit more than 11 in floating point, and 0.07 · 100 than 7."""
    assert Simultaneous(share).threshold(traded) == least


def test_groups_are_of_one_time_each() -> None:
    later = MONDAY + timedelta(hours=1)
    events = pd.concat([at(later, *OTHERS), at(MONDAY, *JPY), at(MONDAY, "EUR_USD")])
    traded = pd.concat([at(MONDAY, *JPY, *OTHERS), at(later, *JPY, *OTHERS)])
    found = Simultaneous().groups(events, traded)
    assert found["time"].tolist() == [MONDAY, later]
    assert found["currency"].tolist() == ["JPY as quote", None]
    assert found["sharing"].tolist() == [4, 0]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (("EUR_JPY", "GBP_JPY", "USD_JPY"), ("JPY as quote", 3)),
        (("USD_CZK", "USD_MXN", "EUR_JPY"), ("USD as base", 2)),
        (("EUR_USD", "EUR_GBP", "GBP_USD", "AUD_JPY"), (None, 0)),  # two of four is not more than half
        (("EUR_USD", "EUR_USD", "EUR_USD"), ("EUR as base", 3)),  # a tie: the first in the alphabet
    ],
)
def test_the_currency_that_most_share(members: tuple[str, ...], expected: tuple[str | None, int]) -> None:
    assert shared_currency(members) == expected
