"""Who may come in: host and origin allow-lists, the token, sessions, and what a browser is told not to do.

A token guards everything but the empty page, its modules, the login form and the health checks. Where none is set,
only this machine can reach the dashboard, and everything is open.
"""

import asyncio
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spike_assets.errors import SettingsError
from spike_assets.settings import Settings

COOKIE = "spike_session"
WRITES = "X-Spike"
"""A header that no other site's page can send without being asked first."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE = frozenset({"GET", "HEAD"})
_OPEN = ("/", "/login", "/plain.css", "/healthz", "/readyz", "/favicon.ico")
_ANYWHERE = ("/healthz", "/readyz")
"""Asked by machines that know an address only; they tell nothing but yes or no."""
_MOST_SESSIONS = 1000

CHART_STYLE = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
"""The one style sheet that lightweight-charts adds by itself, for its logo."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        f"default-src 'self'; script-src 'self'; style-src 'self' {CHART_STYLE}; img-src 'self' data:;"
        " connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer the login form would come from the origin "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

NOT_KEPT: Mapping[str, str] = {**HEADERS, "cache-control": "no-store"}
"""The headers of an answer that nobody keeps."""


def require_safe(settings: Settings) -> None:
    """Raise `SettingsError` where anybody on the network could come in without a token."""
    if settings.dashboard_token is None and not is_loopback(settings.dashboard_host):
        raise SettingsError(
            f"SPIKE_DASHBOARD_TOKEN: set it, others can reach {settings.dashboard_host};"
            " or leave SPIKE_DASHBOARD_HOST at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine's own, and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True)
class Doors:
    """By which names and from which pages the dashboard is reached.

    Attributes
    ----------
    hosts
        Host names, without ports.
    origins
        Origins besides the one that a request is sent to.
    """

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> "Doors":
        """Give the doors that settings ask for."""
        hosts = set(_LOOPBACK) | set(settings.dashboard_hosts)
        if settings.dashboard_host not in _ANY:
            hosts.add(settings.dashboard_host.lower())
        origins = set()
        if settings.public_url:
            parts = urlsplit(settings.public_url)
            hosts.add(parts.hostname or "")
            origins.add(_origin(settings.public_url) or "")
        return cls(frozenset(hosts), frozenset(origins))

    def knows(self, host: str) -> bool:
        """Tell whether a Host header names this dashboard."""
        return (_hostname(host) or "") in self.hosts

    def from_here(self, origin: str, host: str) -> bool:
        """Tell whether an Origin header is of this dashboard's own page, as the Host header names it."""
        normal = _origin(origin)
        return normal is not None and (
            normal in self.origins or normal in {_origin(f"{scheme}://{host}") for scheme in _DEFAULT_PORTS}
        )


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port or _DEFAULT_PORTS[parts.scheme]}"


class Sessions:
    """Who has shown the token: random ids, kept in memory, gone with the process."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()
        self._open: OrderedDict[str, set[asyncio.Event]] = OrderedDict()

    @property
    def needed(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    def fits(self, given: str) -> bool:
        """Compare a token in constant time."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token)

    def begin(self) -> str:
        """Give the id of a new session; of too many the oldest ends."""
        session = secrets.token_urlsafe(32)
        self._open[session] = set()
        if len(self._open) > _MOST_SESSIONS:
            self.end(next(iter(self._open)))
        return session

    def end(self, session: str) -> None:
        """Forget a session, and tell whoever goes by it."""
        for ended in self._open.pop(session, ()):
            ended.set()

    @contextmanager
    def followed(self, connection: HTTPConnection) -> Iterator[asyncio.Event]:
        """Give what is set when the session ends by which a connection came in; never for one that needs none."""
        ended = asyncio.Event()
        if not self.needed or self.bears(connection.headers):
            yield ended
            return
        following = self._open.get(connection.cookies.get(COOKIE, ""))
        if following is None:  # it has ended since the guard looked
            ended.set()
            yield ended
            return
        following.add(ended)
        try:
            yield ended
        finally:
            following.discard(ended)

    def admits(self, connection: HTTPConnection) -> bool:
        """Tell whether a request comes with the token, or from a session that had it."""
        return not self.needed or self.bears(connection.headers) or connection.cookies.get(COOKIE, "") in self._open

    def bears(self, headers: Headers) -> bool:
        """Tell whether a request has the token in its header."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.fits(given.strip())


class Guard:
    """Refuses who may not come in, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, doors: Doors, sessions: Sessions) -> None:
        self._app = app
        self._doors = doors
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refused(HTTPConnection(scope))
        if scope["type"] == "websocket":
            if refused is None:
                await self._app(scope, receive, send)
            else:
                await refused(scope, receive, send)  # as a plain HTTP answer to the handshake
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._app if refused is None else refused)(scope, receive, with_headers)

    def _refused(self, connection: HTTPConnection) -> Response | None:
        """Give the answer to who may not come in; None to who may."""
        scope, headers = connection.scope, connection.headers
        scope["stranger"] = True
        why = self._wrong_door(headers)
        if why is not None:
            return None if scope["path"] in _ANYWHERE else _no(403, why)
        scope["stranger"] = not self._sessions.admits(connection)
        if scope["stranger"] and scope["path"] not in _OPEN and not scope["path"].startswith("/static/"):
            return _no(401, "log in, or send the token as Authorization: Bearer …")
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            return self._refused_write(scope["path"], headers)
        return None

    def _wrong_door(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._doors.knows(host):
            return f"{host[:80]!r} is not a name of this dashboard; add it to SPIKE_DASHBOARD_HOSTS"
        if origin is not None and not self._doors.from_here(origin, host):
            return f"{origin[:80]!r} is another site; open the dashboard itself"
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "this was sent by another site; open the dashboard itself"
        return None

    def _refused_write(self, path: str, headers: Headers) -> Response | None:
        if "origin" not in headers and not self._sessions.bears(headers):
            return _no(403, "say where this comes from: send the header Origin")
        if path.startswith("/api/") and headers.get(WRITES) != "1":
            return _no(403, f"send the header {WRITES}: 1")
        return None


def is_stranger(connection: HTTPConnection) -> bool:
    """Tell whether a request that was let in may be told nothing but yes or no."""
    return bool(connection.scope.get("stranger", True))


def _no(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
