"""ATR, events, features and alerts once more: plain Python, one candle and one event at a time, straight from design.

Slow and obviously right is the point. Nothing of `spike_assets.core` is imported, nothing is vectorised, and floats are
added oldest first, so the answers can be compared bit for bit. Round numbers are counted in decimals.
"""

import hashlib
import json
import math
import uuid
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
STEPS = {"H1": timedelta(hours=1), "H4": timedelta(hours=4), "D": timedelta(days=1), "W": timedelta(weeks=1)}
NAMESPACE = uuid.UUID("6f1c4f0e-1f4e-5f7a-9d0b-6d1f3a5b8c27")
ALERT_NAMESPACE = uuid.UUID("0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11")

Row = dict[str, Any]
"""A row of a table by its columns, None where it has NULL."""


class Candle(NamedTuple):
    """A candle; `time` is its open, UTC."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


class Atr(NamedTuple):
    """What `atr` says of one candle."""

    true_range: float | None
    atr: float | None
    suspect: bool


def close_of(granularity: str, time: datetime) -> datetime:
    """H1 closes an hour later; the others by New York's clock."""
    if granularity == "H1":
        return time + STEPS["H1"]
    wall = time.astimezone(NEW_YORK).replace(tzinfo=None) + STEPS[granularity]
    return wall.replace(tzinfo=NEW_YORK).astimezone(UTC)


def slot_of(granularity: str, time: datetime) -> int:
    """Which volumes are compared: the New York hour, the New York weekday, all."""
    local = time.astimezone(NEW_YORK)
    return {"H1": local.hour, "H4": local.hour, "D": local.weekday(), "W": 0}[granularity]


def atrs(candles: list[Candle], period: int) -> list[Atr]:
    """Design §6, and *suspect* of §5."""
    rows: list[Atr] = []
    ranges: list[float] = []
    atr: float | None = None
    for i, candle in enumerate(candles):
        above = candle.high - max(candle.open, candle.close)
        below = min(candle.open, candle.close) - candle.low
        suspect = atr is not None and max(above, below) > 10 * atr
        if i == 0:
            rows.append(Atr(None, None, suspect))
            continue
        before = candles[i - 1].close
        true_range = max(candle.high - candle.low, abs(candle.high - before), abs(candle.low - before))
        ranges.append(true_range)
        if atr is not None:
            atr = (atr * (period - 1) + true_range) / period
        elif len(ranges) == period:
            atr = added(ranges) / period
        rows.append(Atr(true_range, atr, suspect))
    return rows


def events(instrument: str, granularity: str, candles: list[Candle], atr: list[Atr]) -> list[Row]:
    """Design §7."""
    found: list[Row] = []
    for i in range(1, len(candles)):
        previous, current, value = candles[i - 1], candles[i], atr[i].atr
        if value is None or not value > 0:
            continue
        if not previous.close > previous.open or not current.close < current.open:
            continue
        if not current.high - current.close > 0.3 * value:
            continue
        closed_at = close_of(granularity, current.time)
        stamp = current.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append(
            {
                "time": current.time,
                "event_id": str(uuid5(f"new_resistance|{instrument}|{granularity}|{stamp}")),
                "closed_at": closed_at,
                "level": max(previous.high, current.high),
                "atr": value,
                "volume": current.volume,
                "rebound": current.close - current.high,
                "rebound_atr": (current.close - current.high) / value,
                "day_of_week": closed_at.weekday(),
                "hour_of_day": closed_at.hour,
                "suspect": atr[i].suspect or atr[i - 1].suspect,
            }
        )
    return found


def uuid5(name: str, namespace: uuid.UUID = NAMESPACE) -> uuid.UUID:
    """RFC 9562 §5.5, by hand: SHA-1 of namespace and name, version and variant written over it."""
    digest = bytearray(hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


class Event(NamedTuple):
    """What features look at in one event; `at` is the place of its candle."""

    at: int
    closed_at: datetime
    level: float
    atr: float
    volume: int


def features(granularity: str, candles: list[Candle], found: list[Row]) -> list[Row]:
    """Design §8, over the events of `events`."""
    place = {candle.time: i for i, candle in enumerate(candles)}
    slots = [slot_of(granularity, candle.time) for candle in candles]
    taken = [Event(place[row["time"]], row["closed_at"], row["level"], row["atr"], row["volume"]) for row in found]
    is_event = [False] * len(candles)
    for event in taken:
        is_event[event.at] = True
    rows: list[Row] = []
    for k, event in enumerate(taken):
        row: Row = {"time": candles[event.at].time}
        row |= _against_previous(taken, rows, k)
        row |= _against_slot(candles, slots, event.at)
        for n in (10, 20, 30, 50):
            row[f"resistances_{n}"] = sum(is_event[max(0, event.at - n + 1) : event.at + 1])
        distances = [r["distance_atr"] for r in [*rows, row] if r["distance_atr"] is not None][-4:]
        row |= sequence(distances)
        rows.append(row)
    return rows


def _against_previous(taken: list[Event], rows: list[Row], k: int) -> Row:
    row: Row = dict.fromkeys(
        (
            *("distance", "distance_atr", "distance_velocity", "pattern", "pattern_run"),
            *("pattern_3", "pattern_4", "pattern_5", "pattern_6", "hours_since_previous", "candles_since_previous"),
            *("frequency", "volume_roc", "volume_roc_change", "volume_trend"),
        )
    )
    if k == 0:
        return row
    event, previous, before = taken[k], taken[k - 1], rows[k - 1]
    distance = event.level - previous.level
    hours = (event.closed_at - previous.closed_at).total_seconds() / 3600
    row["distance"] = distance
    row["distance_atr"] = distance / event.atr
    row["pattern"] = pattern = "HH" if distance > 0 else "LH"
    row["pattern_run"] = before["pattern_run"] + 1 if before["pattern"] == pattern else 1
    patterns = [r["pattern"] for r in rows if r["pattern"] is not None] + [pattern]
    for n in (3, 4, 5, 6):
        if len(patterns) >= n:
            row[f"pattern_{n}"] = "".join("1" if p == "HH" else "0" for p in patterns[-n:])
    row["hours_since_previous"] = hours
    row["candles_since_previous"] = event.at - previous.at
    if isinstance(before["distance"], float) and isinstance(before["hours_since_previous"], float):
        row["distance_velocity"] = distance - before["distance"]
        row["frequency"] = "higher" if hours < before["hours_since_previous"] else "lower"
    if previous.volume != 0:
        row["volume_roc"] = roc = (event.volume - previous.volume) / previous.volume
        if isinstance(before["volume_roc"], float):
            row["volume_roc_change"] = change = roc - before["volume_roc"]
            row["volume_trend"] = "accelerating" if change > 0 else "decelerating"
    return row


def _against_slot(candles: list[Candle], slots: list[int], at: int) -> Row:
    samples: list[int] = []
    i = at - 1
    while i >= 0 and len(samples) < 20:
        if slots[i] == slots[at]:
            samples.append(candles[i].volume)
        i -= 1
    volume = candles[at].volume
    row: Row = {"relative_volume": None, "volume_z": None}
    if len(samples) < 10:
        return row
    middle = median([float(sample) for sample in samples])
    if middle != 0:
        row["relative_volume"] = volume / middle
    logs = [math.log(sample) if sample > 0 else -math.inf for sample in samples]
    log_middle = median(logs)
    if volume == 0 or log_middle == -math.inf:
        return row
    mad = median([abs(log - log_middle) for log in logs])
    if mad not in (0, math.inf):
        row["volume_z"] = two_decimals((math.log(volume) - log_middle) / (1.4826 * mad))
    return row


def sequence(s: list[float]) -> Row:
    """Give the `sequence_*` features of the last (up to) four distances, oldest first."""
    n = len(s)
    row: Row = {"sequence_count": n}
    names = ("last", "mean", "std", "change", "change_rate", "final_velocity", "acceleration", "curvature", "jerk")
    row |= {f"sequence_{name}": None for name in (*names, "is_accelerating", "is_geometric_decay")}
    row |= {"sequence_urgency": None, "sequence_confidence": None}
    if n == 0:
        return row
    mean = added(s) / n
    std = math.sqrt(added([(value - mean) * (value - mean) for value in s]) / n)
    row["sequence_last"] = s[-1]
    row["sequence_mean"] = mean
    row["sequence_std"] = std
    row["sequence_change"] = s[-1] - s[0]
    row["sequence_change_rate"] = (s[-1] - s[0]) / abs(s[0]) if s[0] != 0 else 0.0
    accelerating = False
    if n >= 2:
        row["sequence_final_velocity"] = s[-1] - s[-2]
        row["sequence_is_geometric_decay"] = all(abs(s[i]) < 0.9 * abs(s[i - 1]) for i in range(1, n))
    if n >= 3:
        acceleration = (s[-1] - s[-2]) - (s[-2] - s[-3])
        accelerating = acceleration > 0
        row["sequence_acceleration"] = acceleration
        row["sequence_curvature"] = abs(acceleration) / max(abs(s[-2] - s[-3]), 0.0001)
        row["sequence_is_accelerating"] = accelerating
    if n == 4:
        row["sequence_jerk"] = ((s[3] - s[2]) - (s[2] - s[1])) - ((s[2] - s[1]) - (s[1] - s[0]))
    urgency = min(3, max(1, math.floor(3 * abs(s[-1]))))
    row["sequence_urgency"] = min(3, urgency + 1) if accelerating else urgency
    steady = std < 0.2 * abs(mean)
    row["sequence_confidence"] = min(1.0, n / 4 * 1.2 if steady else n / 4)
    return row


def added(values: list[float]) -> float:
    """Add one after the other, oldest first (`sum` compensates since Python 3.12)."""
    total = 0.0
    for value in values:
        total += value
    return total


def median(values: list[float]) -> float:
    """Give the middle one, or what lies halfway between the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def two_decimals(value: float) -> float:
    """Round to whole hundredths, halves to the even one."""
    return round(value * 100) / 100


class Watched(NamedTuple):
    """What alerts look at in one instrument: its candles, the rows of `events` and `features`, and its round numbers.

    `grid` is how many ticks minor, major and super numbers lie apart; a price has so many `decimals`.
    """

    candles: list[Candle]
    events: list[Row]
    features: list[Row]
    grid: tuple[int, int, int]
    decimals: int


def alerts(granularity: str, watched: dict[str, Watched], share: str = "0.5") -> list[Row]:
    """Design §9: groups first, then instrument by instrument."""
    trading = {name: {candle.time for candle in mine.candles} for name, mine in watched.items()}
    falling = {name: {row["time"] for row in mine.events} for name, mine in watched.items()}
    together = {}
    for time in sorted(set().union(*falling.values())):
        traded = [name for name in watched if time in trading[name]]
        members = sorted(name for name in watched if time in falling[name])
        together[time] = _together(granularity, time, members, len(traded), share)
    rows = [row for row in together.values() if row is not None]
    for name, mine in sorted(watched.items()):
        closes = {candle.time: candle.close for candle in mine.candles}
        for event, feature in zip(mine.events, mine.features, strict=True):
            reasons = {} if event["suspect"] else _reasons(mine, event, feature, closes[event["time"]])
            if not reasons:
                continue
            group = together[event["time"]]
            others = [] if group is None else [other for other in group["members"].split(",") if other != name]
            rows.append(
                {
                    "instrument": name,
                    "time": event["time"],
                    "alert_id": str(uuid5(event["event_id"], ALERT_NAMESPACE)),
                    "event_id": event["event_id"],
                    "closed_at": event["closed_at"],
                    "level": event["level"],
                    "rules": ",".join(reasons),
                    "reasons": written(reasons),
                    "members": ",".join(others) or None,
                }
            )
    return rows


def written(reasons: Row) -> str:
    """JSON, without blanks."""
    return json.dumps(reasons, separators=(",", ":"))


def _reasons(mine: Watched, event: Row, feature: Row, close: float) -> Row:
    found: Row = {}
    number = round_number(mine.grid, mine.decimals, event["level"], close, event["atr"])
    if number is not None:
        found["psychological_level"] = number
    relative, z = feature["relative_volume"], feature["volume_z"]
    if relative is not None and z is not None and relative >= 2 and z >= 3:
        found["volume_spike"] = {"relative_volume": relative, "volume_z": z}
    if feature["pattern_run"] == 3:
        found["pattern_completion"] = {"pattern": "-".join([feature["pattern"]] * 3)}
    return found


def round_number(grid: tuple[int, int, int], decimals: int, level: float, close: float, atr: float) -> Row | None:
    """Try every number near the level, the greatest tier first, in decimals."""
    tick = Decimal(1).scaleb(-decimals)
    minor, major, super_ = grid
    at, closed = (Decimal(repr(price)).quantize(tick) for price in (level, close))
    # What a float says of a tenth of the ATR is right to a millionth of a tick, and not to the last bit.
    tenth = (Decimal(repr(atr)) / 10 / tick).quantize(Decimal("0.000001"))
    reach = min(max(tenth, Decimal(10)), Decimal(minor) / 20).to_integral_value(ROUND_FLOOR)
    for tier, step in (("super", super_ * tick), ("major", major * tick), ("minor", minor * tick)):
        below = at // step * step
        for number in (below, below + step):
            if abs(at - number) > reach * tick:
                continue
            position = None
            if at <= number:
                position = "stalled"
            elif closed <= number:
                position = "swept"
            return {
                "tier": tier,
                "number": str(number.quantize(Decimal(1).scaleb(1 - decimals))),  # whole pips
                "pips": str(((at - number) / tick / 10).quantize(Decimal("0.1"))),
                "position": position,
                "chance": int(2 * reach + 1) / minor,
            }
    return None


def _together(granularity: str, time: datetime, members: list[str], traded: int, share: str) -> Row | None:
    """One candle time: a group, or None."""
    if len(members) < 3 or len(members) < Decimal(share) * traded:
        return None
    currency, sharing = None, 0
    for side in sorted({f"{name[:3]} as base" for name in members} | {f"{name[4:]} as quote" for name in members}):
        code, how = side[:3], side[7:]
        n = sum((name[:3] if how == "base" else name[4:]) == code for name in members)
        if 2 * n > len(members) and n > sharing:
            currency, sharing = side, n
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "instrument": "*",
        "time": time,
        "alert_id": str(uuid5(f"simultaneous|{granularity}|{stamp}", ALERT_NAMESPACE)),
        "event_id": None,
        "closed_at": close_of(granularity, time),
        "level": None,
        "rules": "simultaneous",
        "reasons": written({"simultaneous": {"of": traded, "currency": currency, "sharing": sharing}}),
        "members": ",".join(members),
    }
