"""What a caller asks for, out of whatever envelope it comes in; and how long it will wait.

Known are Pub/Sub (a legacy event, a CloudEvent's data, a push body), EventBridge, and the plain JSON itself.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spike_assets.errors import PermanentError
from spike_assets.granularity import GRANULARITIES, Granularity

_TIMES = ("time", "publishTime", "publish_time")
"""Where envelopes say when they were sent: EventBridge and CloudEvents, then Pub/Sub."""

_INNER = ("detail", "message", "data")
"""Where envelopes keep what is inside: EventBridge, Pub/Sub around its message, a message or a CloudEvent."""

_DEEPEST = 6
"""No known envelope has as many layers: CloudEvent, push body, message, base64, JSON."""

_SEND = 'send {"granularity": "H1"}'


class BadEventError(PermanentError):
    """An event that no pass can be made of; the text says what to send."""


@dataclass(frozen=True)
class Asked:
    """What a caller wants.

    Attributes
    ----------
    at
        When it was asked for, UTC: the oldest of the times that the event and its context carry; None without any.
    """

    granularity: Granularity
    at: datetime | None = None


def read(event: object, context: object = None) -> Asked:
    """Read an event.

    Raises
    ------
    BadEventError
        It cannot be read, or names no granularity.
    """
    said = [getattr(context, "timestamp", None)]
    asked = _opened(event, said)
    name = asked["granularity"]
    granularity = GRANULARITIES.get(name.upper()) if isinstance(name, str) else None
    if granularity is None:
        raise BadEventError(f"granularity: {name!r:.80} is none of {', '.join(GRANULARITIES)}")
    return Asked(granularity, min((_time(time) for time in said if time), default=None))


def time_left(context: object) -> timedelta | None:
    """Give how long the platform still lets the call run; None where it does not say. Lambda does."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return None if left is None else timedelta(milliseconds=left())


def _opened(content: object, said: list[object]) -> Mapping[str, object]:
    """Open envelope after envelope; note on the way when each was sent."""
    for _ in range(_DEEPEST):
        if isinstance(content, bytes | bytearray | str):
            content = _parsed(content)
        if not isinstance(content, Mapping):
            raise BadEventError(f"the event is no JSON object but {type(content).__name__}; {_SEND}")
        said += [content.get(name) for name in _TIMES]
        if "granularity" in content:
            return content
        inner = next((name for name in _INNER if content.get(name)), None)
        if inner is None:
            raise BadEventError(f"the event names no granularity; {_SEND}")
        content = content[inner]
        if inner == "data" and isinstance(content, str):
            content = _decoded(content)
    raise BadEventError(f"the event has more envelopes than any that is known; {_SEND}")


def _parsed(text: bytes | bytearray | str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:  # text that is not UTF-8, too
        raise BadEventError(f"the event is no JSON ({error!s:.80}); {_SEND}") from error


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadEventError(
            f"the event's data is not base64 ({error}); publish {_SEND.removeprefix('send ')}"
        ) from error


def _time(value: object) -> datetime:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise BadEventError(f"the event's time {value!r:.80} is no time; write it like 2026-01-15T22:05:00Z") from error
    if time.tzinfo is None:
        raise BadEventError(f"the event's time {value!r:.80} has no zone; write it like 2026-01-15T22:05:00Z")
    return time.astimezone(UTC)
