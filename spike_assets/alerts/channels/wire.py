"""One POST over a connection of its own: no redirect, no proxy, no retry, to no address that is not allowed.

The address that was checked is the one that is connected to, so that a name which is resolved anew in between (DNS
rebinding) leads nowhere else; and nothing outlives the deadline.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from spike_assets.alerts.channels.addresses import is_loopback, is_public, resolved
from spike_assets.alerts.channels.limited import within
from spike_assets.deadline import Deadline

_SILENCE_SECONDS = 10.0
"""How long connecting may take, and how long the receiver may say nothing."""

_LONGEST_ANSWER = 4096
_REFUSED_FROM = 300


class WireError(Exception):
    """No answer; the text says in a few words why, and has nothing of the URL beyond its host in it."""


class ForbiddenAddressError(WireError):
    """The name leads to an address that may not be connected to; nothing was sent."""


@dataclass(frozen=True)
class Answer:
    """What came back: header names in lower-case letters; of the body at most 4 kB, and nothing on success."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Wire:
    """Where to send, and whether that may be a private address. `ValueError` when it may not be."""

    url: str = field(repr=False)
    allow_private: bool

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError("use https://; plain http is for this machine only, with allow_private")
        if parts.scheme == "http" and not _this_machine(parts.hostname or ""):
            raise ValueError("use https://; plain http is for this machine only (127.0.0.1, ::1, localhost)")
        if _literal(parts.hostname or "") and not self.allow_private and not is_public(parts.hostname or ""):
            raise ValueError("it is no public address; set allow_private if it is meant")

    @property
    def where(self) -> str:
        """Scheme and host. The rest of a webhook's URL often is a password."""
        parts = _parts(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def post(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        """Send, and give the answer.

        Raises
        ------
        WireError
            There is none. The request may have arrived all the same.
        """
        parts = _parts(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        cut = _Cut()
        try:
            addresses = within(deadline, lambda: resolved(host, port))
            self._allowed(addresses)
            with cut.at(deadline), self._connected(addresses, port, deadline, cut) as wire:
                return _exchange(wire, parts, body, headers)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise WireError("there was no answer in time" if deadline.remaining() <= 0 else _why(error)) from None

    def _allowed(self, addresses: tuple[str, ...]) -> None:
        plain = _parts(self.url).scheme == "http"
        for address in addresses:
            if not (self.allow_private or is_public(address)) or (plain and not is_loopback(address)):
                raise ForbiddenAddressError(f"its name leads to {address}, which is not allowed")

    @contextmanager
    def _connected(
        self, addresses: tuple[str, ...], port: int, deadline: Deadline, cut: "_Cut"
    ) -> Iterator[socket.socket]:
        with _first(addresses, port, deadline) as raw:
            raw.settimeout(_seconds(deadline))
            self._allowed((str(raw.getpeername()[0]),))
            cut.watch(raw)
            parts = _parts(self.url)
            if parts.scheme == "http":
                yield raw
                return
            with _trust().wrap_socket(raw, server_hostname=parts.hostname) as wire:
                yield wire


class _Cut:
    """Cuts a connection at the deadline: a socket's timeout starts anew with every byte that drips in."""

    def __init__(self) -> None:
        self._wire: socket.socket | None = None
        self._lock = threading.Lock()
        self._due = False

    @contextmanager
    def at(self, deadline: Deadline) -> Iterator[None]:
        """Cut what is watched when the deadline comes inside the block."""
        timer = threading.Timer(deadline.remaining(), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                if self._wire is not None:
                    self._wire.close()
                    self._wire = None

    def watch(self, wire: socket.socket) -> None:
        """Watch this one. A handle of our own stays valid whoever wraps or closes the other."""
        with self._lock:
            self._wire = wire.dup()
        if self._due:
            self._cut()

    def _cut(self) -> None:
        with self._lock, suppress(OSError):  # it was closed just now
            self._due = True
            if self._wire is not None:
                self._wire.shutdown(socket.SHUT_RDWR)


def _exchange(wire: socket.socket, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = wire
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("POST", path, body, {"Host": parts.netloc, "Connection": "close", **headers})
    with connection.getresponse() as response:
        text = b""
        if response.status >= _REFUSED_FROM:
            with suppress(OSError, http.client.HTTPException):  # the status says it all
                text = response.read1(_LONGEST_ANSWER)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)


def _first(addresses: tuple[str, ...], port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address that can be."""
    problem = OSError("the name has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), _seconds(deadline))
        except OSError as error:
            problem = error
    raise problem


def _seconds(deadline: Deadline) -> float:
    return max(0.001, min(_SILENCE_SECONDS, deadline.remaining()))


def _trust() -> ssl.SSLContext:
    """Give whom we trust: the machine's authorities (and `SSL_CERT_FILE`), and those that the other requests trust."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - only where something is sent, and encrypted

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


def _parts(url: str) -> SplitResult:
    """Give the parts of a URL; `ValueError` when it is none that a webhook can have."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("write it in plain ASCII letters without blanks, a host as xn--…")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError("write it like https://example.com/hooks/spike")
    if "@" in parts.netloc:
        raise ValueError("leave the name and password out of it; the signature says who we are")
    if not has_port_or_none(parts):
        raise ValueError("what stands behind the colon of the host is no port")
    return parts


def has_port_or_none(parts: SplitResult) -> bool:
    """Whether a URL's port is one, or left out. The library's own error would quote it, and it may be a password."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _literal(host: str) -> bool:
    try:
        is_public(host)
    except ValueError:
        return False
    return True


def _this_machine(host: str) -> bool:
    return host == "localhost" or (_literal(host) and is_loopback(host))


def _why(error: Exception) -> str:
    names: dict[type[Exception], str] = {
        ssl.SSLCertVerificationError: "its certificate is not trusted",
        ssl.SSLError: "it does not speak TLS as we do",
        socket.gaierror: "its name is not known",
        TimeoutError: "it fell silent",
        ConnectionRefusedError: "it refuses the connection",
        http.client.RemoteDisconnected: "it hung up without an answer",
        ConnectionError: "the connection broke",
        OSError: "it cannot be reached",
        UnicodeError: "its name is none",
    }
    return next((words for kind, words in names.items() if isinstance(error, kind)), "its answer is no HTTP")
