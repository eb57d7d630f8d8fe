"""A loopback receiver of webhooks: notes all that comes, and does what receivers do at their worst."""

import ssl
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from types import TracebackType
from typing import Any, Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

NO_ANSWER = 0
"""Status of a request that was read, and got no answer."""


@dataclass(frozen=True)
class Status:
    """An answer with this status."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reset:
    """The connection is reset: before a byte of the request was read, or after all of it was."""

    after_reading: bool = False


@dataclass(frozen=True)
class Hang:
    """No answer until `Receiver.release`, then the usual one; none at all if the receiver closes first."""


@dataclass(frozen=True)
class Drip:
    """An answer that goes on for as long as anybody listens, a byte at a time, seconds apart; no status, unless
    `begin` has it."""

    seconds: float = 0.02
    begin: bytes = b"HTTP/1.1 "


def redirect(to: str, code: int = 302) -> Status:
    """Give the answer that sends a client elsewhere."""
    return Status(code, {"Location": to})


Fault = Status | Reset | Hang | Drip
OK = Status(200)


@dataclass(frozen=True)
class Received:
    """A request that was read to its end.

    Attributes
    ----------
    headers
        Names in lower-case letters.
    status
        What it was answered; `NO_ANSWER` where it was not.
    verified
        Whether the public library takes its signature; None where the receiver has no secret.
    at
        When it was read, seconds since 1970.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    verified: bool | None
    at: float = field(default_factory=time.time, compare=False)


class Receiver:
    """A running receiver, from entering it to leaving it, once.

    Attributes
    ----------
    faults
        What happens to the next requests, one each, the first first; later ones are answered 200.
    outage
        What happens to every request as long as it is set; faults wait until it is over.
    received
        What has come so far, in the order of arrival: noted before it is answered.
    connections
        How many were made.
    broken
        How many requests broke off in their body.
    """

    def __init__(
        self,
        secret: str | None = None,
        *,
        faults: Sequence[Fault] = (),
        port: int = 0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.faults: list[Fault] = list(faults)
        self.outage: Status | Reset | None = None
        self.received: list[Received] = []
        self.connections = 0
        self.broken = 0
        self.closing = threading.Event()
        self._secret = secret
        self._released = threading.Event()
        self._changed = threading.Condition()
        self._tls = tls
        self._http = _Http(self, host, port, tls)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.server_port

    @property
    def url(self) -> str:
        """Where it listens, as an address."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[Received]:
        """What it said yes to."""
        with self._changed:
            return [one for one in self.received if 200 <= one.status < 300]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    def release(self) -> None:
        """Let those that hang have their answer."""
        self._released.set()

    def wait_for(self, count: int, seconds: float = 30.0) -> bool:
        """Wait until so many requests have come; false when they have not in that time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.received) >= count, seconds)

    def before_reading(self) -> bool:
        """Note a connection, and say whether it is to be reset at once."""
        with self._changed:
            self.connections += 1
            if self.outage is not None:
                return self.outage == Reset()
            if self.faults and self.faults[0] == Reset():
                self.faults.pop(0)
                return True
            return False

    def note(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Fault, int]:
        """Note a request, and give what happens to it, and its place."""
        verified = None if self._secret is None else _verified(self._secret, headers, body)
        with self._changed:
            fault: Fault = OK
            if self.outage is not None:
                fault = self.outage
            elif self.faults:
                fault = self.faults.pop(0)
            status = fault.code if isinstance(fault, Status) else NO_ANSWER
            self.received.append(Received(method, path, headers, body, status, verified))
            place = len(self.received) - 1
            self._changed.notify_all()
        return fault, place

    def note_broken(self) -> None:
        """Note a request that broke off."""
        with self._changed:
            self.broken += 1

    def hold(self, place: int) -> bool:
        """Wait until released, and note that it is answered then; false when the receiver closes instead."""
        self._released.wait()
        if self.closing.is_set():
            return False
        with self._changed:
            self.received[place] = replace(self.received[place], status=OK.code)
        return True


class _Http(ThreadingHTTPServer):
    """Connections, each with a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: Receiver, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__((host, port), _Handler)
        self.owner = owner
        self._tls = tls
        self._open: dict[threading.Thread, socket] = {}
        self._lock = threading.Lock()

    def get_request(self) -> tuple[Any, Any]:
        wire, address = super().get_request()
        if self._tls is not None:  # the handshake comes with the first byte that is read, in its own thread
            wire = self._tls.wrap_socket(wire, server_side=True, do_handshake_on_connect=False)
        return wire, address

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away, or do not trust us."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Close all connections and wait for their threads."""
        with self._lock:
            left = dict(self._open)
        for wire in left.values():
            try:
                wire.shutdown(SHUT_RDWR)
            except OSError:
                continue  # it has just closed itself
        for thread in left:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    server: _Http
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """Read a request and answer it, as the faults let it."""
        if self.server.owner.before_reading():
            self._reset()
            return
        self.close_connection = True
        self.handle_one_request()

    def do_POST(self) -> None:
        """Take a message."""
        owner = self.server.owner
        length = int(self.headers.get("Content-Length", "0"))
        try:
            body = self.rfile.read(length)
        except OSError:
            body = b""
        if len(body) < length:
            owner.note_broken()
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault, place = owner.note(self.command, self.path, headers, body)
        match fault:
            case Status() as status:
                self._answer(status)
            case Reset():
                self._reset()
            case Hang():
                if owner.hold(place):
                    self._answer(OK)
            case Drip() as drip:
                self._drip(drip)

    def _answer(self, status: Status) -> None:
        self.send_response(status.code)
        for name, value in status.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(status.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(status.body)

    def _drip(self, drip: Drip) -> None:
        self.wfile.write(drip.begin)
        while not self.server.owner.closing.wait(drip.seconds):
            self.wfile.write(b"x")

    def _reset(self) -> None:
        # Closed without lingering, what is still to be sent is thrown away, and the other side hears of it.
        self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing; what came is in `Receiver.received`."""


def _verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True
