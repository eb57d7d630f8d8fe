"""The server itself: connections, faults on their way, and what it has seen."""

import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from spike_assets.instruments import INSTRUMENTS
from spike_assets.sources.base import CandleSource
from spike_assets_tests.oanda_server.api import Api, Request
from spike_assets_tests.oanda_server.faults import (
    DataFault,
    Drip,
    Fault,
    InsteadFault,
    Reply,
    Skew,
    Slow,
    TransportFault,
    Truncated,
)
from spike_assets_tests.oanda_server.market import Market

TOKEN = "0123456789abcdef0123456789abcdef-fedcba9876543210fedcba9876543210"  # noqa: S105 - opens nothing
ACCOUNT = "101-001-1234567-001"
SERVED = tuple(name for name in INSTRUMENTS if name not in {"USD_RON", "USD_PHP"})
"""What the account has: no captured instrument list has the two others."""
DROPPED = 0
"""Status of a request that got no answer."""

_PIECES = 10


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def __call__(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        """Set the clock."""
        self._at = at

    def advance(self, by: timedelta) -> None:
        """Put the clock forward."""
        self._at += by


@dataclass(frozen=True)
class Seen:
    """A request that came: `at` is monotonic, `status` 0 when it got no answer, connections count from 0."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    at: float
    connection: int


@dataclass(frozen=True)
class _Hit:
    """A fault that hits a request, for the nth time (from 0)."""

    fault: TransportFault
    nth: int


class OandaServer:
    """A running server, from entering it to leaving it, once.

    Attributes
    ----------
    faults
        Those in force. A test may change the list at any time. One that has hit its `times` stays in the list
        and does no more; a new one like it counts anew.
    requests, connections
        What has come so far.
    """

    def __init__(
        self,
        source: CandleSource,
        now: Callable[[], datetime],
        *,
        instruments: Sequence[str] = SERVED,
        token: str = TOKEN,
        account: str = ACCOUNT,
        latency: timedelta = timedelta(0),
        port: int = 0,
        friday_stays_open: bool = True,
        log: Callable[[Seen], None] | None = None,
    ) -> None:
        self.faults: list[Fault] = []
        self.requests: list[Seen] = []
        self.connections: list[float] = []
        self.closing = threading.Event()
        self._now = now
        self._latency = latency.total_seconds()
        self._log = log
        self._market = Market(source, friday_stays_open=friday_stays_open)
        self._api = Api(self._market, tuple(instruments), token, account)
        self._hits: dict[int, tuple[TransportFault, int]] = {}
        self._answers = 0
        self._lock = threading.Lock()
        self._http = _Http(self, port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    def forget(self) -> None:
        """Ask the source again from here on: its candles have changed."""
        self._market.forget()

    def most_requests_in_a_second(self) -> int:
        """Give how many requests came in the busiest second."""
        return _most(sorted(seen.at for seen in tuple(self.requests)))

    def most_connections_in_a_second(self) -> int:
        """Give how many connections were made in the busiest second.

        What left a second apart arrives closer together where a busy machine has the first one wait for its turn.
        """
        return _most(sorted(self.connections), 0.75)

    def hits(self, target: str) -> list[_Hit]:
        """Give the transport faults that hit a request, and count them; of those that answer, only the first."""
        found: list[_Hit] = []
        instead = False
        with self._lock:
            for fault in tuple(self.faults):
                if not isinstance(fault, TransportFault) or (instead and isinstance(fault, InsteadFault)):
                    continue
                _, nth = self._hits.get(id(fault), (fault, 0))
                if fault.path in target and (fault.times is None or nth < fault.times):
                    self._hits[id(fault)] = (fault, nth + 1)  # keeps the fault, so that its id stays its own
                    found.append(_Hit(fault, nth))
                    instead = instead or isinstance(fault, InsteadFault)
        return found

    def now(self, hits: Sequence[_Hit]) -> datetime:
        """Give the time by the server's clock."""
        skews = (hit.fault.by for hit in hits if isinstance(hit.fault, Skew))
        return self._now() + sum(skews, timedelta(0))

    def wait(self, hits: Sequence[_Hit]) -> bool:
        """Wait before an answer; false when the server closes meanwhile."""
        seconds = self._latency + sum(hit.fault.seconds for hit in hits if isinstance(hit.fault, Slow))
        return not self.closing.wait(seconds) if seconds else not self.closing.is_set()

    def reply(self, request: Request, hits: Sequence[_Hit]) -> Reply | None:
        """Give the answer; None drops the connection."""
        for hit in hits:
            if isinstance(hit.fault, InsteadFault):
                return hit.fault.reply(hit.nth)
        return self._api.answer(request)

    def data_faults(self) -> list[DataFault]:
        """Give the data faults in force."""
        return [fault for fault in tuple(self.faults) if isinstance(fault, DataFault)]

    def saw(self, seen: Seen) -> None:
        """Note a request."""
        self.requests.append(seen)
        if self._log:
            self._log(seen)

    def next_id(self) -> str:
        """Give the number of the next answer."""
        with self._lock:
            self._answers += 1
            return str(self._answers)


class _Http(ThreadingHTTPServer):
    """Connections, each with a number and a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: OandaServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.owner = owner
        self.numbers: dict[Any, int] = {}
        self._open: dict[threading.Thread, socket] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.numbers[client_address] = len(self.owner.connections)
            self.owner.connections.append(time.monotonic())
            thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
            self._open[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Close all connections and wait for their threads."""
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                continue  # it has just closed itself
        for thread in left:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer, as the faults in force let it."""
        at, owner = time.monotonic(), self.server.owner
        hits = owner.hits(self.path)
        waited = owner.wait(hits)
        request = self._request(owner.now(hits))  # after the wait: the answer is of the moment in which it is given
        reply = owner.reply(request, hits) if waited else None
        status = reply.status if reply else DROPPED
        number = self.server.numbers[self.client_address]
        owner.saw(Seen("GET", request.path, dict(request.query), status, at, number))
        if reply is None:
            self.close_connection = True
        else:
            self._send(reply, request.now, hits)

    def _request(self, now: datetime) -> Request:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Request(url.path, query, headers, now, self.server.owner.data_faults())

    def _send(self, reply: Reply, now: datetime, hits: Sequence[_Hit]) -> None:
        self.send_response_only(reply.status)
        self.send_header("Date", format_datetime(now.astimezone(UTC), usegmt=True))
        self.send_header("RequestID", self.server.owner.next_id())
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if any(isinstance(hit.fault, Drip) and hit.fault.last for hit in hits):
            self.send_header("Connection", "close")
        self.end_headers()
        truncated = any(isinstance(hit.fault, Truncated) for hit in hits)
        self.close_connection = self.close_connection or truncated
        seconds = sum(hit.fault.seconds for hit in hits if isinstance(hit.fault, Drip))
        self._send_body(reply.body[: len(reply.body) // 2] if truncated else reply.body, seconds)

    def _send_body(self, body: bytes, seconds: float) -> None:
        if not seconds:
            self.wfile.write(body)
            return
        self.wfile.flush()  # the head comes at once
        for piece in _pieces(body):
            if self.server.owner.closing.wait(seconds / _PIECES):
                self.close_connection = True
                return
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing; what came is in `OandaServer.requests`."""


def _pieces(body: bytes) -> Iterator[bytes]:
    size = len(body) // _PIECES + 1
    return (body[at : at + size] for at in range(0, len(body), size))


def _most(times: list[float], seconds: float = 1) -> int:
    return max((bisect_left(times, at + seconds) - nth for nth, at in enumerate(times)), default=0)
