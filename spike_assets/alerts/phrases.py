"""What the numbers of an alert are in a trader's words: short, plain, one thing at a time.

Where these go, and what is left out where there is no room, is the business of `body`.
"""

from datetime import UTC, datetime, timedelta

from spike_assets.alerts.digest import Digest, Entry, Group, Missed, PsychologicalLevel
from spike_assets.granularity import GRANULARITIES

_DATE = "%Y-%m-%d"
_CLOCK = "%H:%M"
_MOMENT = f"{_DATE} {_CLOCK}"
_TODAY = timedelta(hours=12)
"""For so long after its close, a candle's time goes without a date in a title."""

_SLOTS = {"hour": " for the hour", "weekday": " for the weekday", "any": ""}
_RULES = {
    "psychological_level": "round numbers",
    "volume_spike": "volume spikes",
    "pattern_completion": "patterns",
    "simultaneous": "many at once",
}
_BUSIEST = 5


def closed(digest: Digest) -> str | None:
    """Give the candle as a title names it: `H1 closed 15:00 UTC`, `D closed 2026-11-20`; None where there is none.

    A candle that closed more than 12 hours before the message was made gets its date.
    """
    if digest.granularity is None or digest.closed_at is None:
        return None
    close = digest.closed_at.astimezone(UTC)
    if GRANULARITIES[digest.granularity].step >= timedelta(days=1):
        return f"{digest.granularity} closed {close.strftime(_DATE)}"
    late = digest.created_at - digest.closed_at > _TODAY
    return f"{digest.granularity} closed {close.strftime(_MOMENT if late else _CLOCK)} UTC"


def candle(digest: Digest) -> str | None:
    """Give the candle from open to close; None where the message is not about one."""
    if digest.granularity is None or digest.time is None or digest.closed_at is None:
        return None
    open_, close = digest.time.astimezone(UTC), digest.closed_at.astimezone(UTC)
    if open_.date() == close.date():
        hours = f"{open_.strftime(_CLOCK)} to {close.strftime(_CLOCK)} UTC"
        return f"{digest.granularity} candle of {open_.strftime(_DATE)}, {hours}"
    return f"{digest.granularity} candle, {open_.strftime(_MOMENT)} to {close.strftime(_MOMENT)} UTC"


def moment(time: datetime) -> str:
    """Give a time: `2026-11-20 15:00 UTC`."""
    return f"{time.astimezone(UTC).strftime(_MOMENT)} UTC"


def lasted(length: timedelta) -> str:
    """Give a length of time, cut to whole minutes: `45 min`, `3 h 05 min`, `2 d 4 h`; none is below 0."""
    minutes = max(0, int(length.total_seconds())) // 60
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60:02} min" if hours else f"{minutes} min"


def at_once(group: Group) -> str:
    """Give what met resistance at once: `14 of 26 instruments, JPY as quote`."""
    shared = f", {group.currency}" if group.currency else ""
    return f"{len(group.members)} of {group.of} instruments{shared}"


def briefly(entry: Entry) -> str:
    """Give the first reason in the few words of a title; empty where there is none."""
    reasons = entry.reasons
    if level := reasons.psychological_level:
        verb = {"swept": "swept", "stalled": "stalled at", None: "near"}[level.position]
        return f" {verb} {level.number}"
    if spike := reasons.volume_spike:
        return f", volume {spike.relative_volume:.1f} × usual"
    return f", {reasons.pattern_completion.pattern}" if reasons.pattern_completion else ""


def reasons(entry: Entry, granularity: str | None) -> list[str]:
    """Give each reason with its numbers."""
    why = entry.reasons
    found = [_at_number(why.psychological_level)] if why.psychological_level else []
    if spike := why.volume_spike:
        slot = _SLOTS[GRANULARITIES[granularity].slot] if granularity else ""
        found.append(f"volume {spike.relative_volume:.1f} × usual{slot} (z {spike.volume_z:.1f})")
    if completed := why.pattern_completion:
        found.append(completed.pattern)
    return found


def _at_number(level: PsychologicalLevel) -> str:
    away, which = level.pips.lstrip("-"), f"{level.number} ({level.tier} round number)"
    if not away.strip("0."):
        return f"stalled right at {which}" if level.position == "stalled" else f"right at {which}"
    if level.position == "swept":
        return f"swept {which}, {away} pips above"
    side = "below" if level.pips.startswith("-") else "above"
    if level.position == "stalled":
        return f"stalled {away} pips {side} {which}"
    return f"{away} pips {side} {which}, not closed back below"


def details(entry: Entry) -> str:
    """Give the other numbers of an alert that the reasons do not say already."""
    why, found = entry.reasons, [f"ATR {entry.atr_pips} pips", f"rebound {abs(entry.rebound_atr):.2f} ATR"]
    pattern = entry.pattern if entry.pattern and not why.pattern_completion else ""
    if pattern and entry.pattern_run is not None and entry.pattern_run > 1:
        pattern = f"{pattern} {entry.pattern_run} in a row"
    if entry.distance_atr is not None:
        side = "above" if entry.distance_atr > 0 else "below"
        distance = f"{abs(entry.distance_atr):.2f} ATR {side} the level before"
        pattern = f"{pattern}, {distance}" if pattern else distance
    if pattern:
        found.append(pattern)
    if entry.relative_volume is not None and not why.volume_spike:
        found.append(f"volume {entry.relative_volume:.1f} × usual")
    if why.psychological_level:
        # Measured, these levels are no more frequent than chance has it; a trader may know how frequent that is.
        found.append(f"{100 * why.psychological_level.chance:.0f} % are this near by chance")
    return " · ".join(found)


def away(what: Missed, granularity: str | None) -> str:
    """Give in a title's words how much came while spike was away."""
    return f"spike was away: {_count(what.alerts, f'{granularity} alert' if granularity else 'alert')}"


def missed(what: Missed, granularity: str | None) -> str:
    """Give how much came while spike was away, and of which candles, by their opens."""
    opened = f"{what.first.astimezone(UTC).strftime(_MOMENT)} and {moment(what.last)}"
    return f"{away(what, granularity)}, for candles that opened between {opened}"


def by_rule(what: Missed) -> str:
    """Give how many alerts each rule gave, the most first; an alert may have several rules."""
    return ", ".join(f"{_RULES.get(rule, rule)} {n}" for rule, n in _ranked(what.rules))


def busiest(what: Missed) -> str:
    """Give the instruments with the most alerts, at most five; empty where there are none."""
    named = [(name, n) for name, n in _ranked(what.instruments) if name != "*"]
    more = f" and {len(named) - _BUSIEST} more" if len(named) > _BUSIEST else ""
    return ", ".join(f"{name} {n}" for name, n in named[:_BUSIEST]) + more


def _ranked(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def resistances(entries: tuple[Entry, ...]) -> str:
    """Give several alerts in the words of a title: how many, how they stand, and the first three."""
    back = sum(entry.status == "withdrawn" for entry in entries)
    if len(entries) == 1:
        (only,) = entries
        return f"{only.instrument} {only.level}" + (" taken back" if back else briefly(only))
    taken = "" if not back else " taken back" if back == len(entries) else f", {back} taken back"
    return f"{_count(len(entries), 'resistance')}{taken} ({names(entries)})"


def names(entries: tuple[Entry, ...]) -> str:
    """Give the first three instruments, and how many more there are."""
    more = f" and {len(entries) - 3} more" if len(entries) > 3 else ""
    return ", ".join(entry.instrument for entry in entries[:3]) + more
