"""What has changed between two looks, in the words of the live feed. Pure: what to compare is read by `look`.

Where more may have changed than was compared, pages are told to read again: `null` in the place of an instrument's
candles, `again` beside events and alerts. Wrongly told so, a page reads once more for nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spike_assets.dashboard.views import Record, iso

NEWEST = 5
"""So many candles of an instrument are told one by one at most."""

Place = tuple[str, datetime]
"""Instrument and time of a candle."""


@dataclass(frozen=True)
class Part:
    """What was seen of one granularity.

    Attributes
    ----------
    tail
        Open of the oldest candle time that is compared one by one; None while there are no candles.
    candles
        Of the tail: what else a candle has.
    events
        Of the tail, by id: as the page knows them.
    counts
        Rows of `candles` and of `events`, all in all.
    fetched
        When a candle was fetched last.
    marked
        Instruments of which something older than the tail waits for a stage.
    """

    tail: datetime | None = None
    candles: Mapping[Place, tuple[Any, ...]] = field(default_factory=dict)
    events: Mapping[str, Record] = field(default_factory=dict)
    counts: tuple[int, int] = (0, 0)
    fetched: datetime | None = None
    marked: frozenset[str] = frozenset()


def touched(known: Part, candles: Mapping[Place, tuple[Any, ...]], tail: datetime) -> set[Place]:
    """Give the candles of the tail that are new, changed or gone."""
    gone = {place for place in known.candles if place[1] >= tail and place not in candles}
    return gone | {place for place, rest in candles.items() if known.candles.get(place) != rest}


def explained(known: Part, part: Part) -> bool:
    """Tell whether the tail alone says why there are so many rows."""
    tail = part.tail
    if tail is None:
        return known.counts == part.counts
    candles = _more(known.candles, part.candles, (place for place in known.candles if place[1] >= tail))
    since = iso(tail) or ""
    events = _more(known.events, part.events, (i for i, one in known.events.items() if one["time"] >= since))
    return part.counts == (known.counts[0] + candles, known.counts[1] + events)


def _more(known: Mapping[Any, Any], now: Mapping[Any, Any], comparable: Iterable[Any]) -> int:
    return sum(key not in known for key in now) - sum(key not in now for key in comparable)


def of_part(
    granularity: str, known: Part, part: Part, told: Mapping[Place, Record], again: Iterable[str]
) -> list[Record]:
    """Give the changes of one granularity.

    Parameters
    ----------
    told
        The touched candles of the tail as the page knows them; of one that is gone there is none.
    again
        Instruments of which something may have changed that was not compared.
    """
    again = set(again)
    places = touched(known, part.candles, part.tail) if part.tail else set()
    candles: dict[str, list[Record] | None] = dict.fromkeys(sorted(again))
    for name in sorted({name for name, _ in places} - again):
        times = sorted(time for other, time in places if other == name)
        whole = len(times) <= NEWEST and all((name, time) in told for time in times)
        candles[name] = [told[name, time] for time in times] if whole else None
    events = [one for event_id, one in part.events.items() if known.events.get(event_id) != one]
    since = iso(part.tail) or ""
    removed = [i for i, one in known.events.items() if i not in part.events and one["time"] >= since]
    changes: list[Record] = []
    if candles:
        changes.append({"kind": "candles", "granularity": granularity, "instruments": candles})
    levels = candles.keys() | {one["instrument"] for one in events} | {known.events[i]["instrument"] for i in removed}
    if levels:
        changes.append({"kind": "levels", "granularity": granularity, "instruments": sorted(levels)})
    if events or removed or again:
        changes.append(
            {
                "kind": "events",
                "granularity": granularity,
                "events": events,
                "removed": removed,
                "again": bool(again),
            }
        )
    return changes


def of_alerts(known: Record, now: Record) -> list[Record]:
    """Give what has changed between two first pages of alerts."""
    before = {one["alert_id"]: one for one in known["alerts"]}
    after = {one["alert_id"]: one for one in now["alerts"]}
    whole = now["pages"] == 1
    oldest = "" if whole else now["alerts"][-1]["closed_at"]
    removed = [i for i, one in before.items() if i not in after and (whole or one["closed_at"] > oldest)]
    changed = [one for i, one in after.items() if before.get(i) != one]
    # Those that an added one has pushed off the page are on the next one; there may be more behind that.
    added = sum(i not in before for i in after)
    again = now["total"] != known["total"] + min(added, max(0, now["total"] - known["total"])) - len(removed)
    again = again or (added == len(after) > 0 and len(before) > 0)
    if not (changed or removed or again or now["unread"] != known["unread"]):
        return []
    return [
        {
            "kind": "alerts",
            "alerts": changed,
            "removed": removed,
            "unread": now["unread"],
            "total": now["total"],
            "again": again,
        }
    ]


def of_passes(known: Mapping[str, Record], now: Mapping[str, Record]) -> list[Record]:
    """Give the passes that have begun or ended, oldest first; both are by id, those that began last first."""
    return [{"kind": "pass", "pass": one} for i, one in reversed(list(now.items())) if known.get(i) != one]
