"""Asking OANDA over HTTP: one pooled session, within its limits, again where that helps, in plain words where not.

Nothing here knows what a candle is. The token goes into one header, and nowhere else.
"""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
from urllib3.connection import HTTPConnection

from spike_assets.deadline import Deadline
from spike_assets.errors import SourceError, TransientError
from spike_assets.sources.oanda.limits import CONNECTIONS_PER_SECOND, REQUESTS_PER_SECOND, RateLimit
from spike_assets.sources.oanda.transport import Guard, open_session

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
    """What came back.

    Attributes
    ----------
    sent_at
        When it was sent, by the broker's clock, UTC.
    request_id
        What to quote to their support.
    came_at
        When it was here, on the monotonic clock, seconds.
    """

    body: dict[str, Any]
    sent_at: datetime
    request_id: str
    came_at: float = field(default_factory=time.monotonic)


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
    requests_limit: RateLimit = field(default_factory=lambda: RateLimit.shared("requests", REQUESTS_PER_SECOND))
    connections_limit: RateLimit = field(
        default_factory=lambda: RateLimit.shared("new connections", CONNECTIONS_PER_SECOND)
    )

    def __post_init__(self) -> None:
        self._thread = threading.local()
        self._not_before = -math.inf
        self._session = open_session(self.token, CONNECTIONS, self)
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
        deadline.check(f"asking OANDA for {path}")
        wait = self.first_wait
        while True:
            self._wait_until_welcome(deadline)
            self.requests_limit.take(deadline)
            try:
                return _sensible(path, self._ask(path, parameters, deadline), read)
            except _FaultError as fault:
                # The longer one: nobody is asked sooner than they said, or all at once.
                asked_for = fault.wait or 0.0
                self._not_before = max(self._not_before, time.monotonic() + asked_for)
                pause = max(asked_for, wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                if pause >= deadline.remaining():
                    text = f"{fault}; there is no time left to ask again, the next pass does"
                    raise TransientError(text, retry_after=asked_for) from fault
            time.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _wait_until_welcome(self, deadline: Deadline) -> None:
        """Wait as long as the broker asked us to, whichever thread it said so."""
        wait = self._not_before - time.monotonic()
        if wait >= deadline.remaining():
            text = f"OANDA asked not to be asked for {wait:.0f} s; the next pass asks again"
            raise TransientError(text, retry_after=wait)
        if wait > 0:
            time.sleep(wait)

    def _ask(self, path: str, parameters: Mapping[str, str | int], deadline: Deadline) -> Answer:
        self._thread.deadline, self._thread.guard = deadline, Guard()
        left = max(deadline.remaining(), 0.001)
        request_id = "none"
        try:
            with (
                self._thread.guard.until(deadline),
                self._session.get(
                    self.url + path,
                    params=dict(parameters),
                    timeout=(min(_CONNECT_SECONDS, left), min(self.silence, left)),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                request_id = _request_id(response)
                text = _read(response)
        except requests.RequestException as error:
            why = "it answers too slowly" if deadline.remaining() <= 0 else _why(error)
            raise _FaultError(f"{self.url} does not answer GET {path} ({why}, RequestID {request_id})") from error
        return self._judged(path, response, text)

    def _judged(self, path: str, response: requests.Response, text: bytes) -> Answer:
        request_id = _request_id(response)
        if response.status_code == _OK:
            return Answer(_json(path, text, request_id), _sent_at(path, response), request_id)
        says = _message(text) or response.reason
        told = f"OANDA answered {response.status_code} ({says}) to GET {path} (RequestID {request_id})"
        if response.status_code == _TOO_MANY or response.status_code >= _AT_FAULT:
            raise _FaultError(told, _retry_after(path, response))
        raise RefusedError(f"{told}; {_advice(response.status_code, says)}", response.status_code, says)

    def before_connecting(self) -> None:
        """Wait until another connection may be opened. Called by the session, in the thread that asks."""
        self.connections_limit.take(self._thread.deadline)

    def in_use(self, connection: HTTPConnection) -> None:
        """Have this connection cut when the time is up. Called by the session, in the thread that asks."""
        self._thread.guard.watch(connection)


def _sensible(path: str, answer: Answer, read: Callable[[Answer], T]) -> T:
    try:
        return read(answer)
    except SenselessError as error:
        raise _FaultError(
            f"OANDA's answer to GET {path} makes no sense: {error} (RequestID {answer.request_id})"
        ) from error


def _request_id(response: requests.Response) -> str:
    return str(response.headers.get("RequestID", "none"))


def _read(response: requests.Response) -> bytes:
    """Read the body."""
    parts, length = [], 0
    for part in response.iter_content(256 * 1024):
        parts.append(part)
        length += len(part)
        if length > _LONGEST_ANSWER:
            raise _FaultError(f"OANDA's answer has no end (RequestID {_request_id(response)})")
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


def _sent_at(path: str, response: requests.Response) -> datetime:
    """Give the broker's time of day, to the second."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError) as error:
        text = f"OANDA's answer to GET {path} does not say when it was sent (RequestID {_request_id(response)})"
        raise _FaultError(text) from error


def _retry_after(path: str, response: requests.Response) -> float | None:
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
    return max(0.0, (until.astimezone(UTC) - _sent_at(path, response)).total_seconds())


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
