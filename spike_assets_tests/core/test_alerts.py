"""Alert rows: each rule to the number, several at once, groups; by hand, and against a slow loop."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.alerts import Rules, alerts
from spike_assets.core.significance import PsychologicalLevel, Simultaneous
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.instruments import GRIDS, INSTRUMENTS, grid_at, instrument
from spike_assets.market_hours import Window
from spike_assets.store.rows import storable
from spike_assets.store.tables import ALERTS
from spike_assets_tests import oracle
from spike_assets_tests.oracle import Candle, Watched
from spike_assets_tests.shared_data import needs_shared
from spike_assets_tests.strategies import candle_lists, examples
from spike_assets_tests.support import (
    candle_frame,
    candle_list,
    captured,
    captured_instruments,
    computed,
    plain,
    simulated,
)

MONDAY = datetime(2025, 3, 10, 14, tzinfo=UTC)
LATER = datetime(2040, 1, 1, tzinfo=UTC)
RULES = Rules(PsychologicalLevel(GRIDS, {name: instrument(name).decimals for name in GRIDS}))
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def event(name: str = "EUR_USD", time: datetime = MONDAY, **changes: Any) -> dict[str, Any]:
    """Give an event that nobody would notice."""
    return {
        "instrument": name,
        "time": time,
        "event_id": f"event of {name} at {time:%H:%M}",
        "closed_at": time + timedelta(hours=1),
        "level": 1.0833,
        "atr": 0.001,
        "suspect": False,
        "close": 1.082,
        "relative_volume": 1.0,
        "volume_z": 0.1,
        "pattern": "HH",
        "pattern_run": 1,
        **changes,
    }


def frame(*events: dict[str, Any]) -> pd.DataFrame:
    rows = pd.DataFrame(list(events) or [event()])
    rows = rows.astype({"pattern_run": "Int64", "relative_volume": "float64", "volume_z": "float64"})
    return rows if events else rows.iloc[:0]


def traded(*others: str, events: tuple[dict[str, Any], ...] = ()) -> pd.DataFrame:
    """Give the times of the candles of events, and of some more instruments at the same time."""
    times = [one["time"] for one in events] + [MONDAY] * len(others)
    return pd.DataFrame({"time": pd.DatetimeIndex(times, tz="UTC")})


def found(*events: dict[str, Any], others: tuple[str, ...] = (), rules: Rules = RULES) -> list[dict[str, Any]]:
    return plain(alerts(frame(*events), traded(*others, events=events), H1, rules))


ON_NUMBER: dict[str, Any] = {"level": 1.08004, "close": 1.079}
SPIKE: dict[str, Any] = {"relative_volume": 2.5, "volume_z": 3.41}
THIRD: dict[str, Any] = {"pattern": "LH", "pattern_run": 3}

NUMBER = '"psychological_level":{"tier":"major","number":"1.0800","pips":"0.4","position":"swept","chance":0.042}'
"""Ten ticks on either side, and the number itself: 21 of 500."""
SPIKED = '"volume_spike":{"relative_volume":2.5,"volume_z":3.41}'
COMPLETED = '"pattern_completion":{"pattern":"LH-LH-LH"}'


@pytest.mark.parametrize(
    ("changes", "rules", "reasons"),
    [
        (ON_NUMBER, "psychological_level", [NUMBER]),
        (SPIKE, "volume_spike", [SPIKED]),
        (THIRD, "pattern_completion", [COMPLETED]),
        (ON_NUMBER | SPIKE, "psychological_level,volume_spike", [NUMBER, SPIKED]),
        (THIRD | SPIKE, "volume_spike,pattern_completion", [SPIKED, COMPLETED]),
        (THIRD | ON_NUMBER, "psychological_level,pattern_completion", [NUMBER, COMPLETED]),
        (
            THIRD | SPIKE | ON_NUMBER,
            "psychological_level,volume_spike,pattern_completion",
            [NUMBER, SPIKED, COMPLETED],
        ),
    ],
)
def test_reasons_stand_in_one_order(changes: dict[str, Any], rules: str, reasons: list[str]) -> None:
    (row,) = found(event(**changes))
    assert (row["rules"], row["reasons"]) == (rules, "{" + ",".join(reasons) + "}")


@pytest.mark.parametrize(
    ("name", "changes", "number", "pips"),
    [
        ("EUR_USD", {"level": 1.07992, "close": 1.079}, "1.0800", "-0.8"),
        ("EUR_USD", {"level": 1.1, "close": 1.099}, "1.1000", "0.0"),
        ("EUR_JPY", {"level": 149.51, "close": 149.0, "atr": 0.2}, "149.50", "1.0"),
        ("USD_HUF", {"level": 345.03, "close": 344.0, "atr": 0.4}, "345.00", "3.0"),
    ],
)
def test_numbers_are_written_as_prices_are_quoted(name: str, changes: dict[str, Any], number: str, pips: str) -> None:
    (row,) = found(event(name, **changes))
    why = json.loads(row["reasons"])["psychological_level"]
    assert (why["number"], why["pips"]) == (number, pips)


def test_the_whole_row_of_an_event() -> None:
    (row,) = found(event(**SPIKE))
    assert row == {
        "instrument": "EUR_USD",
        "time": MONDAY,
        "alert_id": "0c6321ac-a0d1-5f09-b621-584e195dc9b3",
        "event_id": "event of EUR_USD at 14:00",
        "closed_at": MONDAY + timedelta(hours=1),
        "level": 1.0833,
        "rules": "volume_spike",
        "reasons": "{" + SPIKED + "}",
        "members": None,
    }


@pytest.mark.parametrize("events", [(), (event(),), (event(relative_volume=None, volume_z=None, pattern_run=None),)])
def test_what_does_not_matter_is_no_alert(events: tuple[dict[str, Any], ...]) -> None:
    rows = alerts(frame(*events), traded(events=events), H1, RULES)
    assert rows.empty
    assert list(rows.columns) == list(ALERTS.names)
    assert storable(ALERTS, rows).empty


def test_a_suspect_event_raises_none_of_its_own() -> None:
    assert found(event(**SPIKE, **ON_NUMBER, suspect=True)) == []
    assert [row["instrument"] for row in found(event(**SPIKE, suspect=True), event("GBP_USD", **SPIKE))] == ["GBP_USD"]


# --- groups -----------------------------------------------------------------------------------------------------------


def test_the_row_of_a_group() -> None:
    """Three of six, one of them suspect; two of the three share JPY, and that is more than half."""
    (row,) = found(
        event("EUR_JPY", level=150.333, close=150, atr=0.1),
        event("USD_ZAR", suspect=True),
        event("AUD_JPY", level=90.333, close=90, atr=0.1),
        others=("EUR_USD", "GBP_USD", "USD_MXN"),
    )
    assert row == {
        "instrument": "*",
        "time": MONDAY,
        "alert_id": "e7065394-e3f3-5956-a4dc-784411763467",
        "event_id": None,
        "closed_at": MONDAY + timedelta(hours=1),
        "level": None,
        "rules": "simultaneous",
        "reasons": '{"simultaneous":{"of":6,"currency":"JPY as quote","sharing":2}}',
        "members": "AUD_JPY,EUR_JPY,USD_ZAR",
    }


def test_nothing_shared_is_null() -> None:
    (row,) = found(event("EUR_USD"), event("USD_ZAR"), event("GBP_PLN"))
    assert row["reasons"] == '{"simultaneous":{"of":3,"currency":null,"sharing":0}}'


def test_members_know_the_others() -> None:
    rows = found(event("GBP_USD", **SPIKE), event("EUR_USD", **SPIKE), event("EUR_CHF"), event("USD_ZAR", suspect=True))
    assert [(row["instrument"], row["members"]) for row in rows] == [
        ("*", "EUR_CHF,EUR_USD,GBP_USD,USD_ZAR"),
        ("GBP_USD", "EUR_CHF,EUR_USD,USD_ZAR"),
        ("EUR_USD", "EUR_CHF,GBP_USD,USD_ZAR"),
    ]


def test_a_group_is_of_its_own_time() -> None:
    later = MONDAY + timedelta(hours=1)
    rows = found(
        *(event(name, **SPIKE) for name in ("EUR_CHF", "EUR_USD", "GBP_USD")), event("EUR_CHF", later, **SPIKE)
    )
    assert [(row["instrument"], row["time"], row["members"] is None) for row in rows] == [
        ("*", MONDAY, False),
        ("EUR_CHF", MONDAY, False),
        ("EUR_USD", MONDAY, False),
        ("GBP_USD", MONDAY, False),
        ("EUR_CHF", later, True),
    ]


def test_another_share_by_setting() -> None:
    events = [event(name) for name in ("EUR_CHF", "EUR_USD", "GBP_USD")]
    half, two_thirds = (Rules(RULES.level, simultaneous=Simultaneous(share)) for share in (0.5, 2 / 3))
    assert len(found(*events, others=("USD_ZAR", "USD_MXN"), rules=half)) == 1
    assert found(*events, others=("USD_ZAR", "USD_MXN"), rules=two_thirds) == []


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "time", "expected"),
    [
        (H1, MONDAY, "e7065394-e3f3-5956-a4dc-784411763467"),
        (GRANULARITIES["W"], datetime(2025, 3, 7, 22, tzinfo=UTC), "da0c4a27-053f-5514-b25f-23923dca6d76"),
    ],
    ids=["H1", "W"],
)
def test_ids_of_groups_are_what_they_always_were(granularity: Granularity, time: datetime, expected: str) -> None:
    events = [event(name, time) for name in ("EUR_CHF", "EUR_USD", "GBP_USD")]
    (row,) = plain(alerts(frame(*events), traded(events=tuple(events)), granularity, RULES))
    assert row["alert_id"] == expected


def test_the_id_is_the_events_whatever_else_changes() -> None:
    (one,), (two,) = found(event(**SPIKE)), found(event(**ON_NUMBER, atr=0.002))
    assert one["alert_id"] == two["alert_id"]
    (other,) = found(event(**SPIKE, event_id="another"))
    assert other["alert_id"] != one["alert_id"]


# --- the slow loop ----------------------------------------------------------------------------------------------------


def slowly(granularity: Granularity, candles: dict[str, list[Candle]], period: int = 14) -> list[dict[str, Any]]:
    """Give what plain Python makes of these candles."""
    watched = {}
    for name, mine in candles.items():
        if not mine:
            continue
        ranges = oracle.atrs(mine, period)
        events = oracle.events(name, granularity.name, mine, ranges)
        rows = oracle.features(granularity.name, mine, events)
        known = instrument(name)
        grid = GRIDS.get(name) or grid_at(mine[0].close, known.pip_location)
        watched[name] = Watched(mine, events, rows, (grid.minor, grid.major, grid.super), known.decimals)
    return oracle.alerts(granularity.name, watched)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["instrument"], row["time"]))


@EVERY
@examples(40)
@given(st.data(), st.sampled_from([2, 5]))
def test_alerts_as_a_slow_loop_finds_them(granularity: Granularity, data: st.DataObject, period: int) -> None:
    """Prices from 0.70 on in steps of a hundredth: many a level is round, and instruments meet."""
    names = data.draw(st.lists(st.sampled_from([*INSTRUMENTS, "USD_JPY"]), min_size=1, max_size=5, unique=True))
    lists = {name: data.draw(candle_lists(granularity, 60)) for name in sorted(names)}
    candles = pd.concat([candle_frame(name, mine) for name, mine in lists.items()], ignore_index=True)
    rows = plain(storable(ALERTS, computed(candles, granularity, LATER, period)["alerts"]))
    expected = slowly(granularity, lists, period)
    for row in expected:
        note("group" if row["instrument"] == "*" else row["rules"])
    assert in_order(rows) == in_order(expected)


@needs_shared
@pytest.mark.parametrize(
    ("folder", "window"),
    [
        ("fx_h1", Window(datetime(2019, 3, 1, tzinfo=UTC), datetime(2019, 4, 15, tzinfo=UTC))),
        ("fx_h4", Window(datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 6, 1, tzinfo=UTC))),
        ("fx_d", Window(datetime(2017, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC))),
        ("fx_w", Window(datetime(2010, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC))),
    ],
)
def test_real_candles(folder: str, window: Window) -> None:
    granularity = GRANULARITIES[folder.removeprefix("fx_").upper()]
    candles = pd.concat([captured(folder, name, window) for name in captured_instruments(folder)], ignore_index=True)
    tables = computed(candles, granularity, LATER)
    valid = tables["candles"]
    expected = slowly(granularity, {name: candle_list(valid, name) for name in sorted(set(valid["instrument"]))})
    assert in_order(plain(storable(ALERTS, tables["alerts"]))) == in_order(expected)
    assert {rule for row in expected for rule in row["rules"].split(",")} == {
        *("psychological_level", "volume_spike", "pattern_completion", "simultaneous")
    }


def test_simulated_candles() -> None:
    window = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 10, tzinfo=UTC))
    candles = simulated(H1, INSTRUMENTS[:6], window)
    expected = slowly(H1, {name: candle_list(candles, name) for name in INSTRUMENTS[:6]})
    assert in_order(plain(storable(ALERTS, computed(candles, H1, LATER)["alerts"]))) == in_order(expected)
    assert len(expected) > 100


@needs_shared
def test_few_events_of_a_real_year_are_at_a_round_number() -> None:
    window = Window(datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
    candles = pd.concat([captured("fx_h1", name, window) for name in captured_instruments("fx_h1")], ignore_index=True)
    tables = computed(candles, H1, LATER)
    at_one = tables["alerts"]["rules"].str.contains("psychological_level").sum()
    assert len(tables["events"]) > 20_000
    assert 0 < at_one <= 0.15 * len(tables["events"])
