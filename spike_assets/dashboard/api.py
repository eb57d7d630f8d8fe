"""Answers what `endpoints` declares, from the store."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from spike_assets.dashboard import alerts, asked, charts, events, levels, operations
from spike_assets.dashboard.asked import AskedError
from spike_assets.dashboard.endpoints import ENDPOINTS, Endpoint
from spike_assets.dashboard.reader import Reader
from spike_assets.dashboard.site import Finish, Query, Question, Site
from spike_assets.dashboard.standing import standing
from spike_assets.dashboard.views import iso
from spike_assets.pipeline.status import opened_since
from spike_assets.store.outbox import EVERYTHING
from spike_assets.store.queries import AlertFilter, EventFilter, Key
from spike_assets.store.store import Session

MOST_BODY = 4096
"""Bytes of a request's body."""

MOST_IDS = 500
"""Alerts that are acknowledged at once."""

Handler = Callable[[Request, Mapping[str, Any]], Awaitable[Response]]


class Api:
    """The HTTP API over a site."""

    def __init__(self, site: Site, reader: Reader) -> None:
        self._site = site
        self._reader = reader

    def routes(self) -> list[Route]:
        """Give a route per endpoint."""
        return [
            Route(endpoint.path, self._answering(endpoint), methods=[endpoint.method], name=endpoint.name)
            for endpoint in sorted(ENDPOINTS, key=lambda one: "{" in one.path)
        ]

    def _answering(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        answer: Handler = getattr(self, f"_{endpoint.name}")

        async def handle(request: Request) -> Response:
            return await answer(request, asked.parsed(endpoint.parameters, request.query_params.multi_items()))

        return handle

    async def _ask(self, request: Request, key: Hashable, question: Question) -> Response:
        """Answer a question, in JSON that is kept for whoever asks the same."""
        name = request.scope["route"].name
        body = await self._reader.answer((name, key), f"the dashboard ({name})", question)
        return Response(body, media_type="application/json")

    async def _fresh(self, request: Request, question: Question) -> Response:
        """Answer a question that goes by the time of day: nobody asks the same again."""
        body = await self._reader.fresh(f"the dashboard ({request.scope['route'].name})", question)
        return Response(body, media_type="application/json")

    async def _read(self, request: Request, key: Hashable, query: Query) -> Response:
        return await self._ask(request, key, Question.of(query))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _status(self, request: Request, _: Mapping[str, Any]) -> Response:
        now = self._site.now()
        return await self._fresh(request, standing(self._site, now))

    async def _candles(self, request: Request, given: Mapping[str, Any]) -> Response:
        what = (given["granularity"], given["instrument"])
        limit, before = given["limit"], given["before"]
        return await self._read(
            request, (what, limit, before), lambda session: charts.candles(session, *what, limit=limit, before=before)
        )

    async def _levels(self, request: Request, given: Mapping[str, Any]) -> Response:
        what = (given["granularity"], given["instrument"], given["from"], given["to"])
        return await self._ask(request, what, levels.levels(*what))

    async def _events(self, request: Request, given: Mapping[str, Any]) -> Response:
        what, rest = self._events_asked(given), (given["sort"], given["page"], given["limit"])
        return await self._ask(request, (what, *rest), events.page(what, *rest))

    async def _features(self, request: Request, given: Mapping[str, Any]) -> Response:
        what, rest = self._events_asked(given), (given["sort"], given["page"], given["limit"])
        return await self._ask(request, (what, *rest), events.feature_page(what, *rest))

    async def _events_csv(self, _: Request, given: Mapping[str, Any]) -> Response:
        what = self._events_asked(given)
        name = f"spike-{what.granularity.name}-events.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(self._pieces(what), media_type="text/csv; charset=utf-8", headers=headers)

    async def _pieces(self, what: EventFilter) -> AsyncIterator[bytes]:
        yield events.csv_head()
        behind: Key | None = None
        while True:
            question = Question.of(partial(events.csv_piece, asked=what, behind=behind))
            piece, behind = await self._reader.ask("the dashboard (events.csv)", question)
            yield piece
            if behind is None:
                return

    async def _event(self, request: Request, _: Mapping[str, Any]) -> Response:
        event_id = _of_path(request, "event_id", asked.an_id)
        none = HTTPException(404, f"there is no event {event_id}; perhaps a correction took it back")
        return await self._ask(request, event_id, events.detail(event_id, none))

    async def _alerts(self, request: Request, given: Mapping[str, Any]) -> Response:
        now = self._site.now()
        chosen = () if given["granularity"] is None else (given["granularity"],)
        since = asked.since(given["since"], now)
        what = alerts.in_state(AlertFilter(chosen, given["instrument"], given["rule"], since), given["state"], now)
        page = given["page"]
        key = (what, page, now.replace(second=0, microsecond=0))  # what is unread goes by the time of day
        return await self._read(request, key, lambda session: alerts.page(session, what, page, now))

    async def _silences(self, request: Request, _: Mapping[str, Any]) -> Response:
        now = self._site.now()

        def read(session: Session) -> Finish:
            found = session.outbox.silences(now)
            return lambda: {"silences": [{"instrument": name, "until": iso(until)} for name, until in found.items()]}

        return await self._fresh(request, Question.of(read))

    async def _passes(self, request: Request, given: Mapping[str, Any]) -> Response:
        what = (given["granularity"], given["limit"], given["page"])
        return await self._read(request, what, lambda session: operations.passes(session, self._site, *what))

    async def _operations(self, request: Request, _: Mapping[str, Any]) -> Response:
        key = self._site.now().replace(second=0, microsecond=0)
        return await self._ask(request, key, operations.operations(self._site))

    def _events_asked(self, given: Mapping[str, Any]) -> EventFilter:
        closed_since = asked.since(given["since"], self._site.now())
        return EventFilter(
            granularity=given["granularity"],
            instruments=given["instrument"],
            pattern=given["pattern"],
            rule=given["rule"],
            opened_since=closed_since and opened_since(given["granularity"], closed_since),
            suspect=given["suspect"],
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _acknowledge(self, request: Request, _: Mapping[str, Any]) -> Response:
        alert_id, now = _of_path(request, "alert_id", asked.an_id), self._site.now()

        def write(session: Session) -> None:
            if not session.queries.has_alert(alert_id):
                raise HTTPException(404, f"there is no alert {alert_id}; perhaps a correction took it back")
            session.queries.acknowledge([alert_id], now)

        return await self._write("an acknowledgement", write)

    async def _acknowledge_all(self, request: Request, _: Mapping[str, Any]) -> Response:
        """Those alone that are named: what has come since the page was drawn, nobody has seen."""
        seen, now = _ids(await _body(request, MOST_IDS * 50)), self._site.now()

        def write(session: Session) -> None:
            session.queries.acknowledge([one for one in alerts.unread(session, now) if one in seen], now)

        return await self._write("an acknowledgement", write)

    async def _silence(self, request: Request, _: Mapping[str, Any]) -> Response:
        said = await _body(request)
        if said.keys() != {"instrument", "for"}:
            raise AskedError('send {"instrument": "EUR_USD", "for": "2h"}, with * for everything')
        try:
            name, length = _quiet(str(said["instrument"])), asked.a_length(str(said["for"]))
        except ValueError as error:
            raise AskedError(str(error)) from error
        now = self._site.now()
        return await self._write("a silence", lambda session: session.outbox.silence(name, now, now + length))

    async def _end_silence(self, request: Request, _: Mapping[str, Any]) -> Response:
        name, now = _of_path(request, "instrument", _quiet), self._site.now()
        return await self._write("the end of a silence", lambda session: session.outbox.silence(name, now, now))

    async def _write(self, purpose: str, change: Callable[[Session], None]) -> Response:
        await self._reader.change(purpose, change)
        return Response(status_code=204)


def _quiet(text: str) -> str:
    return EVERYTHING if text == EVERYTHING else asked.an_instrument(text)


def _of_path(request: Request, name: str, parse: Callable[[str], str]) -> str:
    try:
        return parse(request.path_params[name])
    except ValueError as error:
        raise AskedError(f"{name}: {error}") from error


def _ids(said: Mapping[str, Any]) -> set[str]:
    given = said.get("alert_ids")
    if said.keys() != {"alert_ids"} or not isinstance(given, list) or not 1 <= len(given) <= MOST_IDS:
        raise AskedError(f'send {{"alert_ids": ["…"]}}, 1 to {MOST_IDS} ids of alerts')
    try:
        return {asked.an_id(str(one)) for one in given}
    except ValueError as error:
        raise AskedError(f"alert_ids: {error}") from error


async def _body(request: Request, most: int = MOST_BODY) -> dict[str, Any]:
    try:
        found = json.loads(await small_body(request, most))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AskedError("send a JSON object")
    return found


async def small_body(request: Request, most: int = MOST_BODY) -> bytes:
    """Give the body of a request; one that is too long is refused before it is read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"send {most} bytes at most")
    return body
