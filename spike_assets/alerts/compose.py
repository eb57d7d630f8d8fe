"""From rows of alerts to the entries and the group of a digest.

What a channel is told, and when, is the business of whoever hands in the rows.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from pydantic import BaseModel

from spike_assets.alerts.digest import Entry, Group, Reasons, Status
from spike_assets.core.alerts import GROUP
from spike_assets.core.significance import TIERS
from spike_assets.granularity import Granularity

Row = dict[str, Any]


def entries(
    granularity: Granularity, rows: pd.DataFrame, *, public_url: str | None, statuses: Mapping[str, Status]
) -> tuple[Entry, ...]:
    """Give the alerts of instruments, the most significant first.

    The highest tier of round number comes first (super, major, minor, none), then the most reasons, then the alphabet.

    Parameters
    ----------
    rows
        One per alert: instrument, alert_id, event_id, reasons (JSON object of rule to its numbers), members (the others
        of its group, separated by commas; NULL where there is none), level, atr (prices), rebound_atr, pattern,
        pattern_run, distance_atr, relative_volume (each NULL where there is none), decimals (of a tick). Other
        columns, and the row of a group, are passed over.
    public_url
        Where the dashboard is; None for no links.
    statuses
        By alert_id, of every row.

    Raises
    ------
    KeyError
        An alert has no status.
    ValueError
        A row lacks what an alert must have: a price, an ATR, the reasons.
    """
    made = [
        _entry(granularity, row, public_url, statuses[row["alert_id"]])
        for row in _rows(rows)
        if row["instrument"] != GROUP
    ]
    return tuple(sorted(made, key=_rank))


def group(rows: pd.DataFrame, *, statuses: Mapping[str, Status]) -> Group | None:
    """Give the group that is among the rows; None where there is none.

    Parameters
    ----------
    rows
        As for `entries`: its instrument is `*`, members are all of it, reasons say `simultaneous`.
    statuses
        By alert_id.

    Raises
    ------
    KeyError
        The group has no status.
    ValueError
        There are several groups, or the row lacks what a group must have.
    """
    found = [row for row in _rows(rows) if row["instrument"] == GROUP]
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"{len(found)} groups in one candle; a digest holds one")
    (row,) = found
    why = _GroupReasons.model_validate_json(row["reasons"]).simultaneous
    return Group(
        alert_id=row["alert_id"],
        status=statuses[row["alert_id"]],
        members=_names(row["members"]),
        of=why.of,
        currency=why.currency,
        sharing=why.sharing,
    )


def link(public_url: str | None, instrument: str, granularity: Granularity, event_id: str) -> str | None:
    """Give the address of the chart at an event; None where the dashboard has no public address."""
    if public_url is None:
        return None
    query = urlencode({"instrument": instrument, "granularity": granularity.name, "event": event_id})
    return f"{public_url.rstrip('/')}/?{query}"


class _Simultaneous(BaseModel):
    of: int
    currency: str | None
    sharing: int


class _GroupReasons(BaseModel):
    simultaneous: _Simultaneous


def _rows(rows: pd.DataFrame) -> Iterator[Row]:
    """Give each row with None for whatever pandas calls missing."""
    for row in rows.to_dict("records"):
        yield {str(name): None if pd.isna(value) else value for name, value in row.items()}


def _entry(granularity: Granularity, row: Row, public_url: str | None, status: Status) -> Entry:
    for needed in ("event_id", "reasons", "level", "atr", "rebound_atr", "decimals"):
        if row[needed] is None:
            raise ValueError(f"alert {row['alert_id']} of {row['instrument']} has no {needed}")
    decimals = int(row["decimals"])
    return Entry(
        alert_id=row["alert_id"],
        event_id=row["event_id"],
        status=status,
        instrument=row["instrument"],
        level=_price(row["level"], decimals),
        atr=_price(row["atr"], decimals),
        # A pip is ten ticks.
        atr_pips=f"{row['atr'] * 10 ** (decimals - 1):.1f}",
        rebound_atr=row["rebound_atr"],
        pattern=row["pattern"],
        pattern_run=row["pattern_run"],
        distance_atr=row["distance_atr"],
        relative_volume=row["relative_volume"],
        reasons=Reasons.model_validate_json(row["reasons"]),
        group=_names(row["members"]),
        link=link(public_url, row["instrument"], granularity, row["event_id"]),
    )


def _price(price: float, decimals: int) -> str:
    if not math.isfinite(price):
        raise ValueError(f"{price} is not a price")
    return f"{price:.{decimals}f}"


def _names(members: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in members.split(",")) if members else ()


def _rank(entry: Entry) -> tuple[int, int, str]:
    level, why = entry.reasons.psychological_level, entry.reasons
    tier = TIERS.index(level.tier) + 1 if level else 0
    reasons = sum(reason is not None for reason in (level, why.volume_spike, why.pattern_completion))
    return -tier, -reasons, entry.instrument
