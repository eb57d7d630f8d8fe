"""Asking OANDA over HTTP: one pooled session, within its limits, again where that helps, in plain words where not.

Nothing here knows what a candle is. The token goes into one header, and nowhere else.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests

from spike_assets.deadline import Deadline
from spike_assets.errors import SourceError, TransientError
from spike_assets.sources.oanda.limits import CONNECTIONS_PER_SECOND, REQUESTS_PER_SECOND, RateLimit
from spike_assets.sources.oanda.transport import open_session

T = TypeVar("T")

CONNECTIONS = CONNECTIONS_PER_SECOND
"""How many connections are kept open, and so how many requests may be under way at once: as many as may be opened
without waiting. More would wait for their turn to be opened while the first ones are long free again."""

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
"""How long an answer may say nothing before the question is asked again."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0

_OK, _TOO_MANY = 200, 429
_AT_FAULT = 500
"""From this status on the fault is theirs, and may pass."""

_LONGEST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back: the body, when it was sent by the broker's clock (UTC), and what to quote to their support."""

    body: dict[str, Any]
    sent_at: datetime
    request_id: str


class RefusedError(SourceError):
    """OANDA will not answer this question, however often it is asked.

    `status` and `says` are its own words.
    """

    def __init__(self, text: str, status: int, says: str) -> None:
        super().__init__(text)
        self.status = status
        self.says = says

    @property
    def unknown_instrument(self) -> bool:
        """Whether the question named an instrument that they do not know."""
        return self.status == requests.codes.bad_request and "instrument" in self.says.lower()


class SenselessError(Exception):
    """An answer is not what was asked for. Raised by whoever reads it; the question is asked again."""


class _FaultError(Exception):
    """Something that may pass; `wait` is what the broker asked for, in seconds."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass
class Client:
    """A connection to OANDA's REST API, for any number of threads.

    Attributes
    ----------
    url
        Scheme and host.
    first_wait
        How long is waited before a question is asked for the second time, in seconds; then twice as long, and so on.
    """

    url: str
    token: str = field(repr=False)
    first_wait: float = _FIRST_WAIT
    silence: float = _SILENCE_SECONDS
    requests_limit: RateLimit = field(default_factory=lambda: RateLimit.shared("oanda-requests", REQUESTS_PER_SECOND))
    connections_limit: RateLimit = field(
        default_factory=lambda: RateLimit.shared("oanda-connections", CONNECTIONS_PER_SECOND)
    )

    def __post_init__(self) -> None:
        self._thread = threading.local()
        self._session = open_session(self.token, CONNECTIONS, self._before_connecting)
        self._session.headers["Accept-Datetime-Format"] = "RFC3339"

    def close(self) -> None:
        """Close the connections; a later question opens new ones."""
        self._session.close()

    def get(self, path: str, parameters: Mapping[str, str | int], read: Callable[[Answer], T], deadline: Deadline) -> T:
        """Ask until there is an answer that can be read, or no time left for one.

        Raises
        ------
        RefusedError
            The question is wrong, or we may not ask it.
        TransientError
            No answer in time; the text says what came instead.
        """
        wait = self.first_wait
        while True:
            deadline.check(f"asking OANDA for {path}")
            self.requests_limit.take(deadline)
            try:
                return _sensible(path, self._ask(path, parameters, deadline), read)
            except _FaultError as fault:
                # The longer one: nobody is asked sooner than they said, or all at once.
                pause = max(fault.wait or 0.0, wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                if pause >= deadline.remaining():
                    raise TransientError(f"{fault}; there is no time left to ask again, the next pass does") from fault
            time.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _ask(self, path: str, parameters: Mapping[str, str | int], deadline: Deadline) -> Answer:
        self._thread.deadline = deadline
        left = max(deadline.remaining(), 0.001)
        try:
            with self._session.get(
                self.url + path,
                params=dict(parameters),
                timeout=(min(_CONNECT_SECONDS, left), min(self.silence, left)),
                allow_redirects=False,
                stream=True,
            ) as response:
                text = _read(response, deadline)
        except requests.RequestException as error:
            raise _FaultError(f"{self.url} does not answer GET {path} ({_why(error)})") from error
        return self._judged(path, response, text)

    def _judged(self, path: str, response: requests.Response, text: bytes) -> Answer:
        request_id = response.headers.get("RequestID", "none")
        if response.status_code == _OK:
            return Answer(_json(path, text, request_id), _sent_at(response), request_id)
        says = _message(text) or response.reason
        told = f"OANDA answered {response.status_code} ({says}) to GET {path} (RequestID {request_id})"
        if response.status_code == _TOO_MANY or response.status_code >= _AT_FAULT:
            raise _FaultError(told, _retry_after(response))
        raise RefusedError(f"{told}; {_advice(response.status_code, says)}", response.status_code, says)

    def _before_connecting(self) -> None:
        self.connections_limit.take(self._thread.deadline)


def _sensible(path: str, answer: Answer, read: Callable[[Answer], T]) -> T:
    try:
        return read(answer)
    except SenselessError as error:
        raise _FaultError(
            f"OANDA's answer to GET {path} makes no sense: {error} (RequestID {answer.request_id})"
        ) from error


def _read(response: requests.Response, deadline: Deadline) -> bytes:
    """Read the body, however slowly it drips, until the deadline."""
    parts, length = [], 0
    for part in response.iter_content(256 * 1024):
        parts.append(part)
        length += len(part)
        if deadline.remaining() <= 0:
            raise _FaultError("OANDA's answer came too slowly")
        if length > _LONGEST_ANSWER:
            raise _FaultError("OANDA's answer has no end")
    return b"".join(parts)


def _json(path: str, text: bytes, request_id: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _FaultError(f"OANDA's answer to GET {path} is no JSON (RequestID {request_id})") from error
    if not isinstance(body, dict):
        raise _FaultError(f"OANDA's answer to GET {path} is no object (RequestID {request_id})")
    return body


def _message(text: bytes) -> str | None:
    """Give the broker's words; None where it speaks HTML, as its gateways do."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return str(body["errorMessage"]) if isinstance(body, dict) and "errorMessage" in body else None


def _sent_at(response: requests.Response) -> datetime:
    """Give the broker's time of day, to the second."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError) as error:
        raise _FaultError("OANDA's answer does not say when it was sent") from error


def _retry_after(response: requests.Response) -> float | None:
    """Give how long we are asked to wait: seconds, or until a date by the broker's own clock."""
    says = response.headers.get("Retry-After")
    if says is None:
        return None
    if says.strip().isdigit():
        return float(says)
    try:
        until = parsedate_to_datetime(says)
    except (ValueError, TypeError):
        return None  # not a wait that anybody could keep
    return max(0.0, (until.astimezone(UTC) - _sent_at(response)).total_seconds())


def _why(error: requests.RequestException) -> str:
    """Say in a word what happened to the connection; the library's own text has addresses of objects in it."""
    names = {
        requests.exceptions.SSLError: "its certificate is not trusted",
        requests.exceptions.ProxyError: "the proxy refuses",
        requests.exceptions.ConnectTimeout: "connecting took too long",
        requests.exceptions.ReadTimeout: "it fell silent",
        requests.exceptions.ChunkedEncodingError: "the answer broke off",
        requests.exceptions.ContentDecodingError: "the answer is damaged",
    }
    for kind, words in names.items():
        if isinstance(error, kind):
            return words
    if "NameResolutionError" in repr(error):
        return "there is no such host, or no network; OANDA_URL and OANDA_ENVIRONMENT say which one is asked"
    if "Connection refused" in str(error):
        return "nobody listens there; OANDA_URL and OANDA_ENVIRONMENT say who is asked"
    return "the connection broke"


def _advice(status: int, says: str) -> str:
    """Say what to do about a refusal."""
    if status == requests.codes.unauthorized:
        return "set OANDA_API_TOKEN to a token of this account, and OANDA_ENVIRONMENT to the host it is for"
    if status in (requests.codes.forbidden, requests.codes.not_found) or "accountID" in says:
        return "set OANDA_ACCOUNT_ID to an account that the token may see"
    if "in the future" in says:
        return "set this machine's clock"
    if 300 <= status < 400:
        return "set OANDA_URL to the host itself; a token is not carried on to another"
    return "report this"
