"""Serves the page with made-up data, as the dashboard's server would: for tests of the page and for work on it.

By hand: `python -m spike_assets_tests.dashboard.page_server [--port 8010] [--every SECONDS]`.
"""

import argparse
import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

import spike_assets
from spike_assets_tests.dashboard.page_market import Json, Market, iso, paged

STATIC = Path(spike_assets.__file__).parent / "dashboard" / "static"

LOGO_STYLE = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
"""The one style element that lightweight-charts 5.2.1 makes, for its attribution logo; nothing else is inline."""
POLICY = f"default-src 'self'; style-src 'self' {LOGO_STYLE}; frame-ancestors 'none'; base-uri 'none'"

HEARTBEAT = 2.0
_WRITES = {"POST", "DELETE"}


class Feed:
    """The numbered changes, and who listens; it outlives a server, as the real one's outlives a connection."""

    def __init__(self) -> None:
        self.seq = 0
        self.log: list[Json] = []
        self.listeners: set[asyncio.Queue[Json]] = set()

    def push(self, changes: Iterable[Json]) -> None:
        """Number a batch of changes and tell everybody."""
        self.seq += 1
        self.tell({"type": "delta", "seq": self.seq, "changes": list(changes)})

    def tell(self, frame: Json) -> None:
        """Send a frame to everybody, and keep it for those who come back if it is numbered."""
        if frame["type"] == "delta":
            self.log.append(frame)
        self.say(frame)

    def say(self, frame: Json) -> None:
        """Send a frame to everybody, and forget it."""
        for queue in self.listeners:
            queue.put_nowait(frame)


class Page:
    """The page's application over a market."""

    def __init__(self, market: Market, feed: Feed) -> None:
        self.market, self.feed = market, feed

    def application(self) -> Starlette:
        """Give the application."""
        get = {
            "/api/status": lambda _: self.market.status(),
            "/api/candles": self._candles,
            "/api/levels": self._levels,
            "/api/events": self._events,
            "/api/alerts": self._alerts,
            "/api/passes": lambda _: {"passes": self.market.passes[:100]},
            "/api/operations": lambda _: self.market.operations(),
        }
        return Starlette(
            routes=[
                Route("/", lambda _: FileResponse(STATIC / "index.html")),
                Route("/login", lambda _: RedirectResponse("./", 303)),  # nobody has to log in
                Route("/api/events.csv", self._csv),
                Route("/api/events/{event_id}", self._event),
                Route("/api/alerts/acknowledge", self._acknowledge_all, methods=["POST"]),
                Route("/api/alerts/{alert_id}/acknowledge", self._acknowledge, methods=["POST"]),
                Route("/api/silences", self._silence, methods=["POST"]),
                Route("/api/silences/{instrument}", self._end_silence, methods=["DELETE"]),
                *(Route(path, _answering(answer)) for path, answer in get.items()),
                WebSocketRoute("/api/live", self._live),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[Middleware(Strict)],
        )

    def _candles(self, request: Request) -> Json:
        ask = request.query_params
        rows = self.market.candles_of(ask["granularity"], ask["instrument"])
        rows = [row for row in rows if row["time"] < ask.get("before", "9")]
        limit = int(ask.get("limit", "500"))
        kept = rows[-limit:]
        return {
            "instrument": ask["instrument"],
            "granularity": ask["granularity"],
            "decimals": {i["name"]: i["decimals"] for i in self.market.status()["instruments"]}[ask["instrument"]],
            "candles": kept,
            "more": len(rows) > len(kept),
        }

    def _levels(self, request: Request) -> Json:
        ask = request.query_params
        return {"levels": self.market.levels(ask["granularity"], ask["instrument"], ask["from"])}

    def _wanted(self, request: Request) -> list[Json]:
        ask = dict(request.query_params)
        ask.pop("page", None)
        return self.market.events(**{**ask, "instrument": request.query_params.getlist("instrument")})

    def _events(self, request: Request) -> Json:
        return paged("events", self._wanted(request), int(request.query_params.get("page", "1")))

    async def _csv(self, request: Request) -> Response:
        rows = self._wanted(request)
        lines = [",".join(("instrument", "time", "level"))]
        lines += [f"{row['instrument']},{row['time']},{row['level']}" for row in rows]
        return PlainTextResponse("\n".join(lines), media_type="text/csv")

    async def _event(self, request: Request) -> Response:
        found = self.market.event(request.path_params["event_id"])
        if found is None:
            return JSONResponse({"error": "There is no such event; it may have been corrected away."}, 404)
        return JSONResponse(found)

    def _alerts(self, request: Request) -> Json:
        ask = dict(request.query_params)
        page = int(ask.pop("page", "1"))
        return self.market.alerts_page(page, self.market.alerts_of(**ask))

    async def _acknowledge(self, request: Request) -> Response:
        self.feed.push(self.market.acknowledge([request.path_params["alert_id"]]))
        return Response(status_code=204)

    async def _acknowledge_all(self, request: Request) -> Response:
        asked = (await request.json())["alert_ids"]
        self.feed.push(self.market.acknowledge(set(asked) & set(self.market.unread_ids())))
        return Response(status_code=204)

    async def _silence(self, request: Request) -> Response:
        asked = await request.json()
        self.market.silences[asked["instrument"]] = iso(self.market.at + timedelta(hours=2))
        self.feed.push([{"kind": "status", "status": self.market.status()}])
        return Response(status_code=204)

    async def _end_silence(self, request: Request) -> Response:
        self.market.silences.pop(request.path_params["instrument"], None)
        self.feed.push([{"kind": "status", "status": self.market.status()}])
        return Response(status_code=204)

    async def _live(self, socket: WebSocket) -> None:
        await socket.accept()
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self.feed.listeners.add(queue)
        try:
            since = socket.query_params.get("since")
            for frame in self._first(None if since is None else int(since)):
                await socket.send_json(frame)
            await asyncio.gather(self._send(socket, queue), _drain(socket))
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.feed.listeners.discard(queue)

    def _first(self, since: int | None) -> list[Json]:
        if since is None or since > self.feed.seq or self.feed.seq - since > len(self.feed.log):
            return [self.snapshot()]
        return [frame for frame in self.feed.log if frame["seq"] > since]

    def snapshot(self) -> Json:
        """Give the frame that says everything."""
        status, rung = self.market.status(), self.market.alerts_page()
        return {"type": "snapshot", "seq": self.feed.seq, "status": status, "alerts": rung}

    def heartbeat(self) -> Json:
        """Give the frame that says no more than that the server is there, and when it last looked."""
        market = self.market
        return {
            "type": "heartbeat",
            "seq": self.feed.seq,
            "now": iso(market.at),
            "looked_at": iso(market.at - market.unseen),
        }

    async def _send(self, socket: WebSocket, queue: asyncio.Queue[Json]) -> None:
        while True:
            try:
                frame = await asyncio.wait_for(queue.get(), HEARTBEAT)
            except TimeoutError:
                frame = self.heartbeat()
            await socket.send_json(frame)


async def _drain(socket: WebSocket) -> None:
    while True:
        await socket.receive_text()


def _answering(answer: Callable[[Request], Json]) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        return JSONResponse(answer(request))

    return respond


class Strict:
    """The headers that the real server sends, and its one rule for writes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The real server has files asked for each time; here they are the same for a whole test.
                lasting = b"max-age=600" if scope["path"].startswith("/static/") else b"no-cache"
                message["headers"] += [
                    (b"content-security-policy", POLICY.encode()),
                    (b"cache-control", lasting),
                ]
            await send(message)

        if scope["type"] == "http" and scope["method"] in _WRITES and (b"x-spike", b"1") not in scope["headers"]:
            await JSONResponse({"error": "Send X-Spike: 1."}, 403)(scope, receive, send)
            return
        await self.app(scope, receive, with_policy)


class Server:
    """A server of the page in a thread of its own, which can be killed and started again on its port.

    Examples
    --------
    >>> with Server(Market()) as server:
    ...     server.advance()
    """

    def __init__(self, market: Market, port: int = 0) -> None:
        self.market, self.feed = market, Feed()
        self.port = port or _free_port()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start serving; the page is there when this returns."""
        up = threading.Event()

        page = Page(self.market, self.feed)
        self.page = page
        app = page.application()

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            self._loop = asyncio.get_running_loop()
            await app(scope, receive, send)

        # websockets-sansio: uvicorn's other adapter warns of its own deprecated parts.
        config = uvicorn.Config(
            served, log_level="error", lifespan="off", ws="websockets-sansio", timeout_graceful_shutdown=1
        )
        self._server = server = uvicorn.Server(config)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        sock.listen(64)

        def run() -> None:
            with sock:
                up.set()
                server.run(sockets=[sock])

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        up.wait()

    def stop(self) -> None:
        """Kill the server: connections end without a word."""
        if self._server and self._thread:
            self._server.force_exit = self._server.should_exit = True
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tell(self, what: Callable[[], None]) -> None:
        """Do something between two requests, in the server's own thread; at once where none runs."""
        if self._thread is None or not self._thread.is_alive() or self._loop is None:
            what()
            return
        done = threading.Event()

        def do() -> None:
            try:
                what()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(do)
        done.wait(10)

    def advance(self, n: int = 1) -> None:
        """Reveal the next H1 candles, one batch of changes each."""
        for _ in range(n):
            self.tell(lambda: self.feed.push(self.market.advance()))

    def beat(self) -> None:
        """Send a heartbeat, now."""
        self.tell(lambda: self.feed.say(self.page.heartbeat()))

    def push(self, *changes: Json) -> None:
        """Send changes."""
        self.tell(lambda: self.feed.push(changes))

    def reset(self) -> None:
        """Tell every client that it was too slow."""

        def do() -> None:
            self.feed.tell({"type": "reset"})
            self.feed.tell(self.page.snapshot())

        self.tell(do)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--every", type=float, default=0, help="seconds between two candles; none come at 0")
    chosen = parser.parse_args(arguments)
    with Server(Market(), chosen.port) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        pause = threading.Event()
        while True:
            pause.wait(chosen.every or 3600)
            if chosen.every:
                server.advance()


if __name__ == "__main__":
    main()
