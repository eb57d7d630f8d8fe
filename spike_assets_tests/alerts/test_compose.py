"""Rows become entries: prices as they are quoted, NULL as None, the most significant first."""

from typing import Any

import pandas as pd
import pytest

from spike_assets.alerts.compose import entries, group, link
from spike_assets.alerts.digest import Entry, Status
from spike_assets.granularity import H1, D

TIME = pd.Timestamp("2026-11-20T14:00Z")
MAJOR = '{"psychological_level": {"tier": "major", "number": "1.1000", "pips": "-0.4", "position": "stalled", "chance": 0.08}}'  # noqa: E501
MINOR = MAJOR.replace("major", "minor")
SUPER = MAJOR.replace("major", "super")
SPIKE = '{"volume_spike": {"relative_volume": 2.5, "volume_z": 3.41}}'
TWO = '{"volume_spike": {"relative_volume": 2.5, "volume_z": 3.41}, "pattern_completion": {"pattern": "HH-HH-HH"}}'


def row(instrument: str = "EUR_USD", **changes: Any) -> dict[str, Any]:
    return {
        "instrument": instrument,
        "time": TIME,
        "alert_id": f"alert of {instrument}",
        "event_id": f"event of {instrument}",
        "closed_at": TIME + pd.Timedelta(hours=1),
        "rules": "volume_spike",
        "reasons": SPIKE,
        "members": None,
        "level": 1.1,
        "atr": 0.00123,
        "rebound_atr": -0.82,
        "pattern": "HH",
        "pattern_run": 2,
        "distance_atr": 0.41,
        "relative_volume": 2.5,
        "decimals": 5,
        **changes,
    }


def group_row(**changes: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("event_id", "level", "atr", "rebound_atr", "pattern", "pattern_run", "decimals"))
    return row(
        "*",
        **{
            **empty,
            "reasons": '{"simultaneous": {"of": 26, "currency": "JPY as quote", "sharing": 6}}',
            "members": "AUD_JPY,CHF_JPY,EUR_JPY",
            **changes,
        },
    )


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    """Give rows as the store does: integers that may be missing, numbers with NaN."""
    table = pd.DataFrame(list(rows))
    numbers = ["level", "atr", "rebound_atr", "distance_atr", "relative_volume"]
    return table.astype(dict.fromkeys(numbers, "float64") | {"pattern_run": "Int64", "decimals": "Int64"})


def composed(*rows: dict[str, Any], public_url: str | None = None) -> tuple[Entry, ...]:
    statuses: dict[str, Status] = {each["alert_id"]: "new" for each in rows}
    return entries(H1, frame(*rows), public_url=public_url, statuses=statuses)


def test_a_row_becomes_an_entry() -> None:
    (entry,) = composed(row(reasons=MAJOR, members="GBP_USD,CHF_JPY"), public_url="https://spike.example.com")
    assert entry.model_dump() == {
        "alert_id": "alert of EUR_USD",
        "event_id": "event of EUR_USD",
        "status": "new",
        "instrument": "EUR_USD",
        "level": "1.10000",
        "atr": "0.00123",
        "atr_pips": "12.3",
        "rebound_atr": -0.82,
        "pattern": "HH",
        "pattern_run": 2,
        "distance_atr": 0.41,
        "relative_volume": 2.5,
        "reasons": {
            "psychological_level": {
                "tier": "major",
                "number": "1.1000",
                "pips": "-0.4",
                "position": "stalled",
                "chance": 0.08,
            },
            "volume_spike": None,
            "pattern_completion": None,
        },
        "group": ("GBP_USD", "CHF_JPY"),
        "link": "https://spike.example.com/?instrument=EUR_USD&granularity=H1&event=event+of+EUR_USD",
    }


def test_a_pip_is_ten_ticks() -> None:
    (entry,) = composed(row("CHF_JPY", level=181.7, atr=0.2141, decimals=3))
    assert (entry.level, entry.atr, entry.atr_pips) == ("181.700", "0.214", "21.4")


def test_null_is_none() -> None:
    first = row(pattern=None, pattern_run=None, distance_atr=None, relative_volume=None)
    one, other = composed(first, row("GBP_USD", pattern=float("nan")))
    assert (one.pattern, one.pattern_run, one.distance_atr, one.relative_volume) == (None, None, None, None)
    assert (one.group, one.link) == ((), None)
    assert (other.pattern, other.pattern_run) == (None, 2)


def test_the_most_significant_comes_first() -> None:
    found = composed(
        row("AUD_JPY"),
        row("AUD_HKD"),
        row("CAD_CHF", reasons=TWO),
        row("EUR_CHF", reasons=MINOR),
        row("EUR_GBP", reasons=MAJOR),
        row("USD_ZAR", reasons=SUPER),
    )
    assert [entry.instrument for entry in found] == ["USD_ZAR", "EUR_GBP", "EUR_CHF", "CAD_CHF", "AUD_HKD", "AUD_JPY"]


def test_every_alert_stands_somehow() -> None:
    table = frame(row(), row("GBP_USD"))
    statuses: dict[str, Status] = {"alert of EUR_USD": "updated", "alert of GBP_USD": "withdrawn"}
    found = entries(H1, table, public_url=None, statuses=statuses)
    assert [(entry.instrument, entry.status) for entry in found] == [("EUR_USD", "updated"), ("GBP_USD", "withdrawn")]
    with pytest.raises(KeyError, match="alert of GBP_USD"):
        entries(H1, table, public_url=None, statuses={"alert of EUR_USD": "new"})


@pytest.mark.parametrize("column", ["event_id", "reasons", "level", "atr", "rebound_atr", "decimals"])
def test_an_alert_without_what_it_must_have_is_an_error(column: str) -> None:
    with pytest.raises(ValueError, match=f"alert of EUR_USD of EUR_USD has no {column}"):
        composed({**row(), column: None}, row("GBP_USD"))


def test_an_infinite_price_is_an_error() -> None:
    with pytest.raises(ValueError, match="inf is not a price"):
        composed(row(level=float("inf")))


def test_no_rows_give_nothing() -> None:
    assert entries(H1, frame(row()).iloc[:0], public_url=None, statuses={}) == ()
    assert group(frame(row()).iloc[:0], statuses={}) is None


def test_a_group_is_made_of_its_own_row() -> None:
    table = frame(row(), group_row())
    found = group(table, statuses={"alert of *": "updated"})
    assert found
    assert found.model_dump() == {
        "alert_id": "alert of *",
        "status": "updated",
        "members": ("AUD_JPY", "CHF_JPY", "EUR_JPY"),
        "of": 26,
        "currency": "JPY as quote",
        "sharing": 6,
    }
    assert len(entries(H1, table, public_url=None, statuses={"alert of EUR_USD": "new"})) == 1
    assert group(frame(row()), statuses={}) is None


def test_a_group_may_share_no_currency() -> None:
    reasons = '{"simultaneous": {"of": 26, "currency": null, "sharing": 0}}'
    found = group(frame(group_row(reasons=reasons)), statuses={"alert of *": "new"})
    assert found
    assert found.currency is None


def test_a_digest_holds_one_group() -> None:
    with pytest.raises(ValueError, match="2 groups in one candle"):
        group(frame(group_row(), group_row()), statuses={"alert of *": "new"})


def test_a_link_leads_to_the_chart_at_the_event() -> None:
    expected = "https://x.example/spike/?instrument=EUR_USD&granularity=D&event=0b7e7a34"
    for public_url in ("https://x.example/spike", "https://x.example/spike/"):
        assert link(public_url, "EUR_USD", D, "0b7e7a34") == expected
    assert link(None, "EUR_USD", D, "0b7e7a34") is None
