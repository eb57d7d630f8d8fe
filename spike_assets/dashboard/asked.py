"""What a visitor may ask: parameters declared as data, parsed into typed values, or refused with a sentence."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from spike_assets.granularity import EARLIEST, GRANULARITIES, LATEST, Granularity
from spike_assets.instruments import instrument
from spike_assets.store.queries import EVENT_SORTS

RULES = ("psychological_level", "volume_spike", "pattern_completion")
"""Rules that an event is significant by."""
ALERT_RULES = (*RULES, "simultaneous")
"""Rules that give alerts."""

_LENGTH = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST = timedelta(days=365)
_MOST_PAGES = 1_000_000
_MOST_INSTRUMENTS = 200


class AskedError(ValueError):
    """What was asked makes no sense; the text says what to ask instead."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query.

    Attributes
    ----------
    parse
        Gives the value of a text, or raises `ValueError` with a sentence.
    schema
        Its JSON schema, for the document.
    many
        It may be repeated, and its value is a tuple.
    """

    name: str
    meaning: str
    parse: Callable[[str], Any]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    default: Any = None
    required: bool = False
    many: bool = False


def parsed(parameters: Sequence[Parameter], given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Give the value of every parameter; `AskedError` where one is unknown, missing, repeated or wrong."""
    known = {parameter.name: parameter for parameter in parameters}
    texts: dict[str, list[str]] = {}
    for name, text in given:
        if name not in known:
            raise AskedError(f"there is no parameter {name[:40]!r}; there is {', '.join(known) or 'none'}")
        if text:  # a form sends what was left empty, too
            texts.setdefault(name, []).append(text)
    return {parameter.name: _value(parameter, texts.get(parameter.name, [])) for parameter in parameters}


def _value(parameter: Parameter, texts: list[str]) -> Any:
    if not texts:
        if parameter.required:
            raise AskedError(f"{parameter.name} is missing: {parameter.meaning}")
        return () if parameter.many else parameter.default
    if len(texts) > (_MOST_INSTRUMENTS if parameter.many else 1):
        raise AskedError(f"{parameter.name} is given {len(texts)} times; give it once")
    try:
        values = tuple(parameter.parse(text) for text in texts)
    except ValueError as error:
        raise AskedError(f"{parameter.name}: {error}") from error
    return tuple(sorted(set(values))) if parameter.many else values[0]


# --- kinds of values --------------------------------------------------------------------------------------------------


def one_of(*names: str) -> Callable[[str], str]:
    """Give a parser that takes one of these."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text[:40]!r} is none of {', '.join(names)}")
        return text

    return parse


def a_granularity(text: str) -> Granularity:
    """Give the granularity of that name, in any case."""
    return GRANULARITIES[one_of(*GRANULARITIES)(text.upper())]


def an_instrument(text: str) -> str:
    """Give an instrument, like EUR_USD."""
    return instrument(text[:40].upper()).name


def a_time(text: str) -> datetime:
    """Give a time, UTC unless it has an offset."""
    try:
        # A plus that was not escaped came as a blank.
        time = datetime.fromisoformat(text[:40].strip().replace(" ", "+") if "T" in text else text[:40])
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time; write a date or an ISO time, like 2025-03-10T05:00Z") from None
    if not EARLIEST.year <= time.year < LATEST.year:
        raise ValueError(f"{text[:40]!r} lies outside {EARLIEST.year} to {LATEST.year}")
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def a_length(text: str) -> timedelta:
    """Give a length of time, like 30m, 2h, 3d or 1w."""
    found = _LENGTH.fullmatch(text)
    length = int(found[1]) * _UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < length <= _LONGEST:
        raise ValueError(f"{text[:40]!r} is no length of time; write one like 30m, 2h, 3d or 1w, of 365d at most")
    return length


def a_time_or_ago(text: str) -> datetime | timedelta:
    """Give a time, or how long ago: 24h, 7d, 2w."""
    return a_length(text) if _LENGTH.fullmatch(text) else a_time(text)


def since(value: datetime | timedelta | None, now: datetime) -> datetime | None:
    """Give the time that `a_time_or_ago` means, to the minute where it said how long ago."""
    return now.replace(second=0, microsecond=0) - value if isinstance(value, timedelta) else value


def a_number(least: int, most: int) -> Callable[[str], int]:
    """Give a parser of whole numbers."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text[:40]!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


def yes_or_no(text: str) -> bool:
    """Give a truth."""
    return one_of("true", "false")(text) == "true"


def an_id(text: str) -> str:
    """Give a UUID in lower case."""
    try:
        return str(UUID(text[:40]))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no id; write it as it is in a list") from None


# --- the parameters ---------------------------------------------------------------------------------------------------

_NAMES: Mapping[str, Any] = {"type": "string", "enum": list(GRANULARITIES)}
_MOMENT: Mapping[str, Any] = {"type": "string", "format": "date-time"}


def _whole(least: int, most: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


GRANULARITY = Parameter("granularity", "which candles: H1, H4, D or W", a_granularity, _NAMES, GRANULARITIES["H1"])
ANY_GRANULARITY = Parameter("granularity", "only these candles", a_granularity, _NAMES)
INSTRUMENT = Parameter("instrument", "an instrument, like EUR_USD", an_instrument, required=True)
INSTRUMENTS = Parameter("instrument", "only this instrument, like EUR_USD; may be repeated", an_instrument, many=True)
CANDLES = Parameter("limit", "how many candles at most", a_number(1, 2000), _whole(1, 2000), 500)
BEFORE = Parameter("before", "only candles that open before this time", a_time, _MOMENT)
FROM = Parameter("from", "events whose candle opens at or after this time", a_time, _MOMENT, required=True)
TO = Parameter("to", "events whose candle opens before this time", a_time, _MOMENT)
PATTERN = Parameter("pattern", "only this pattern", one_of("HH", "LH"), {"type": "string", "enum": ["HH", "LH"]})
RULE = Parameter(
    "rule", "only what is significant by this rule", one_of(*RULES), {"type": "string", "enum": list(RULES)}
)
ALERT_RULE = Parameter(
    "rule", "only what this rule gave", one_of(*ALERT_RULES), {"type": "string", "enum": list(ALERT_RULES)}
)
SINCE = Parameter("since", "only what closed since: a date, an ISO time, 24h, 7d, 2w", a_time_or_ago)
STATE = Parameter(
    "state",
    "only recent ones that nobody has acknowledged, or only acknowledged ones",
    one_of("unread", "acknowledged"),
    {"type": "string", "enum": ["unread", "acknowledged"]},
)
SUSPECT = Parameter("suspect", "only suspect events, or only others", yes_or_no, {"type": "boolean"})
SORTS = tuple(sign + name for name in EVENT_SORTS for sign in ("-", ""))
SORT = Parameter(
    "sort",
    "by what, with a minus greatest first; missing values come last",
    one_of(*SORTS),
    {"type": "string", "enum": list(SORTS)},
    "-closed_at",
)
PAGE = Parameter("page", "which page, from 1", a_number(1, _MOST_PAGES), _whole(1, _MOST_PAGES), 1)
ROWS = Parameter("limit", "how many rows of a page, 50 unless given", a_number(1, 1000), _whole(1, 1000))
PASSES = Parameter("limit", "how many passes a page has", a_number(1, 1000), _whole(1, 1000), 100)
