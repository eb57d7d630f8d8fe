"""What goes wrong at a broker, each fault a value; what a person would see is its docstring.

Transport faults hit requests, data faults change what the broker has. Any list of them can be in force.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from spike_assets_tests.oanda_server.candle import Candle, micros

_HTML = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
_MESSAGES = {
    401: "Insufficient authorization to perform request.",
    403: "The provided request was forbidden.",  # not captured
    429: "Too Many Requests",  # not captured
}
_REASONS = {
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}


@dataclass(frozen=True)
class Reply:
    """An answer before it is sent."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(status: int, content: object) -> Reply:
    """Give an answer of JSON."""
    return Reply(status, json.dumps(content, separators=(",", ":")).encode())


@dataclass(frozen=True, kw_only=True)
class TransportFault:
    """Something between the client and the broker.

    Attributes
    ----------
    times
        How many requests it hits; None is: until it is taken out of the list.
    path
        It hits only requests with this text in their path and query.
    """

    times: int | None = None
    path: str = ""


class InsteadFault(TransportFault):
    """A fault that answers in the broker's stead; of several in force the first hits."""

    def reply(self, hit: int) -> Reply | None:
        """Give the answer to the hit of that number, counted from 0; None drops the connection."""
        raise NotImplementedError


@dataclass(frozen=True)
class Status(InsteadFault):
    """An error status: JSON for 4xx, a proxy's HTML page for 5xx."""

    code: int
    retry_after: str | None = None

    def reply(self, hit: int) -> Reply:  # noqa: ARG002
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        if self.code < 500:
            content = {"errorMessage": _MESSAGES.get(self.code, f"Status {self.code}")}
            return replace(json_reply(self.code, content), headers=headers)
        page = _HTML.format(_REASONS.get(self.code, str(self.code)))
        return Reply(self.code, page.encode(), "text/html", headers)


@dataclass(frozen=True)
class Dropped(InsteadFault):
    """The connection closes without an answer."""

    def reply(self, hit: int) -> None:
        """Give no answer."""


@dataclass(frozen=True)
class Outage(InsteadFault):
    """Maintenance: an HTML page with 503 and a dropped connection by turns."""

    def reply(self, hit: int) -> Reply | None:
        return Status(503).reply(hit) if hit % 2 == 0 else None


@dataclass(frozen=True)
class Garbage(InsteadFault):
    """200, and a body that is no JSON."""

    def reply(self, hit: int) -> Reply:  # noqa: ARG002
        return Reply(200, b'{"candles": [{"complete": tr\xff\xfe')


@dataclass(frozen=True)
class WrongShape(InsteadFault):
    """200, and JSON that is not what was asked for."""

    def reply(self, hit: int) -> Reply:  # noqa: ARG002
        return json_reply(200, {})


@dataclass(frozen=True)
class Slow(TransportFault):
    """Nothing for so many seconds, then the answer."""

    seconds: float


@dataclass(frozen=True)
class Drip(TransportFault):
    """The body comes in small pieces, over so many seconds in all; perhaps the last on this connection."""

    seconds: float
    last: bool = False


@dataclass(frozen=True)
class Truncated(TransportFault):
    """Half of the body that was promised, then the connection closes."""


@dataclass(frozen=True)
class Skew(TransportFault):
    """The broker's clock is off, in `Date` and in all that it decides."""

    by: timedelta


class DataFault:
    """Something with the broker's data; each fault overrides what it is about."""

    def lacks(self, instrument: str) -> bool:  # noqa: ARG002
        """Tell whether the account has no such instrument."""
        return False

    def delay(self, instrument: str, candle: Candle) -> int:  # noqa: ARG002
        """Give how many microseconds later than due the candle becomes complete."""
        return 0

    def held(self, instrument: str, candles: list[Candle]) -> list[Candle]:  # noqa: ARG002
        """Give the candles that the broker has, of those that it should have."""
        return candles

    def sent(self, candles: list[Candle]) -> list[Candle]:
        """Give the list as it is sent, after candles have been counted."""
        return candles


@dataclass(frozen=True)
class LateComplete(DataFault):
    """A candle stays incomplete for some seconds after its close, and the next one's first tick waits for it."""

    seconds_min: float = 1
    seconds_max: float = 45

    def delay(self, instrument: str, candle: Candle) -> int:
        share = zlib.crc32(f"{instrument} {candle.time}".encode()) / 0xFFFFFFFF
        return round((self.seconds_min + share * (self.seconds_max - self.seconds_min)) * 1_000_000)


@dataclass(frozen=True)
class Missing(DataFault):
    """Candles of these opens are not there, as if nothing had ticked."""

    times: frozenset[datetime]
    instruments: frozenset[str] | None = None

    def held(self, instrument: str, candles: list[Candle]) -> list[Candle]:
        hit = _hit(self.times, self.instruments, instrument)
        return [candle for candle in candles if candle.time not in hit]


@dataclass(frozen=True)
class Corrected(DataFault):
    """Candles of these opens have another volume than before: `volume` more."""

    times: frozenset[datetime]
    instruments: frozenset[str] | None = None
    volume: int = 1

    def held(self, instrument: str, candles: list[Candle]) -> list[Candle]:
        hit = _hit(self.times, self.instruments, instrument)
        return [
            replace(candle, volume=candle.volume + self.volume) if candle.time in hit else candle for candle in candles
        ]


@dataclass(frozen=True)
class Doubled(DataFault):
    """Every third candle, from the first on, comes twice: with a wrong close, then right; beyond `count`, too."""

    def sent(self, candles: list[Candle]) -> list[Candle]:
        doubled: list[Candle] = []
        for nth, candle in enumerate(candles):
            doubled += [_wrong(candle), candle] if nth % 3 == 0 else [candle]
        return doubled


@dataclass(frozen=True)
class Unknown(DataFault):
    """The account lacks these instruments."""

    instruments: frozenset[str]

    def lacks(self, instrument: str) -> bool:
        return instrument in self.instruments


Fault = TransportFault | DataFault


def _hit(times: frozenset[datetime], instruments: frozenset[str] | None, instrument: str) -> set[int]:
    return {micros(time) for time in times} if instruments is None or instrument in instruments else set()


def _wrong(candle: Candle) -> Candle:
    """Give the candle with another close inside its range; a flat one has no other."""
    opening, high, low, close = candle.prices
    return replace(candle, prices=(opening, high, low, high if close == low else low))


def lacking(faults: Sequence[DataFault], instrument: str) -> bool:
    """Tell whether any fault takes the instrument away."""
    return any(fault.lacks(instrument) for fault in faults)
