"""The dashboard as an ASGI application: routes, guard, and what runs beside them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from spike_assets.dashboard import metrics, pages
from spike_assets.dashboard.api import Api
from spike_assets.dashboard.asked import AskedError
from spike_assets.dashboard.feed import Hub
from spike_assets.dashboard.health import Health
from spike_assets.dashboard.live import live
from spike_assets.dashboard.metrics import Metrics
from spike_assets.dashboard.openapi import openapi
from spike_assets.dashboard.reader import Reader
from spike_assets.dashboard.security import NOT_KEPT, Doors, Guard, Sessions, require_safe
from spike_assets.dashboard.site import Question, Site
from spike_assets.dashboard.watcher import Pace, Watcher
from spike_assets.errors import SpikeError, TransientError
from spike_assets.pipeline.context import Pipeline
from spike_assets.settings import Settings

_log = logging.getLogger(__name__)


def create_app(
    pipeline: Pipeline, settings: Settings, *, pace: Pace | None = None, queued: int | None = None
) -> Starlette:
    """Give the dashboard of a pipeline's store.

    Parameters
    ----------
    pipeline
        Whose store is looked at, by whose clock; nothing is fetched with it.
    settings
        Who may come in, and where people reach what.
    pace, queued
        How often is looked, and how many frames may wait for a slow page; as usual unless given.

    Raises
    ------
    SettingsError
        Anybody on the network could come in without a token.
    """
    require_safe(settings)
    site = Site.of(pipeline, settings)
    token = settings.dashboard_token
    sessions = Sessions(None if token is None else token.get_secret_value())
    reader = Reader(pipeline.store)
    hub = Hub(int(site.now().timestamp() * 1000), site.now, **({} if queued is None else {"queued": queued}))
    watcher = Watcher(site, hub, pace or Pace())
    health = Health(watcher)
    app = Starlette(
        routes=_routes(Api(site, reader), hub, health, sessions, _metrics(site, reader, hub, watcher)),
        middleware=[Middleware(Guard, doors=Doors.of(settings), sessions=sessions)],
        exception_handlers={
            AskedError: _asked_wrongly,
            HTTPException: _http,
            SpikeError: _store_trouble,
            Exception: _fault,
        },
        lifespan=_beside(watcher, reader, health),
    )
    app.state.hub, app.state.reader, app.state.watcher = hub, reader, watcher
    return app


def _routes(
    api: Api, hub: Hub, health: Health, sessions: Sessions, scrape: Callable[[Request], object]
) -> list[Route | Mount | WebSocketRoute]:
    login = pages.Login(sessions)
    return [
        Route("/", pages.page),
        Route("/favicon.ico", pages.favicon),
        Route("/plain.css", pages.plain_css),
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.take, methods=["POST"]),
        Route("/logout", login.leave, methods=["POST"]),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", scrape),
        Route("/api/openapi.json", openapi),
        Route("/api/docs", pages.docs),
        *api.routes(),
        WebSocketRoute("/api/live", live(hub, sessions)),
        Mount("/static", _Static(directory=pages.STATIC, check_dir=False)),
    ]


class _Static(StaticFiles):
    """The page's own files: a browser asks each time whether they have changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Give a file."""
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "no-cache"
        return answer


def _metrics(site: Site, reader: Reader, hub: Hub, watcher: Watcher) -> Callable[[Request], object]:
    collected = Metrics(hub, lambda: watcher.seconds)

    async def scrape(_: Request) -> Response:
        now = site.now()
        asked = metrics.facts(site, now)
        text = Question(asked.steps, lambda found: collected.text(asked.finish(found)))  # made in the reader's thread
        body = await reader.ask("the dashboard (metrics)", text)
        return Response(body, headers={"content-type": metrics.MEDIA})

    return scrape


def _beside(
    watcher: Watcher, reader: Reader, health: Health
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Give what starts and stops the watcher with the application."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            health.fault = why = f"nothing new is noticed any more ({task.exception()!r}); start the dashboard again"
            _log.error("the watcher ended", exc_info=task.exception())
            watcher.despair(why)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(watcher.beat())]
        for task in tasks:
            task.add_done_callback(ended)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # what went wrong has been told
            await watcher.close()
            await reader.close()

    return lifespan


async def _asked_wrongly(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    said = {404: "there is nothing here; /api/docs says what there is", 405: "this cannot be done here"}
    plain = error.detail if error.detail not in ("Not Found", "Method Not Allowed") else said[error.status_code]
    return JSONResponse({"error": plain}, error.status_code, headers=error.headers)


async def _store_trouble(_: Request, error: Exception) -> Response:
    if isinstance(error, TransientError):
        return JSONResponse({"error": str(error)}, 503, headers={"retry-after": "1"})
    return JSONResponse({"error": str(error)}, 500)


async def _fault(_: Request, __: Exception) -> Response:
    """Answer for what nobody thought of; Starlette hands it on to the log, and asks for this beyond the guard."""
    return JSONResponse({"error": "the dashboard has a fault; its log says which, report that"}, 500, headers=NOT_KEPT)
