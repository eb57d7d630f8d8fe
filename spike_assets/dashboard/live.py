"""The WebSocket at `/api/live`: one page's end of the feed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from spike_assets.dashboard.feed import Client, Hub

_MOST_DIGITS = 15
_TRY_LATER = 1013
_NOT_UNDERSTOOD = 1008


def live(hub: Hub) -> Callable[[WebSocket], Awaitable[None]]:
    """Give the endpoint that serves a hub's feed."""

    async def handle(websocket: WebSocket) -> None:
        await websocket.accept()
        if hub.full:
            await websocket.close(_TRY_LATER, "too many pages are open; close one")
            return
        listening = asyncio.create_task(_listen(websocket))
        telling = asyncio.create_task(_tell(websocket, hub, since(websocket.query_params.get("since"))))
        try:
            await asyncio.wait({listening, telling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, telling):
                task.cancel()
                with suppress(asyncio.CancelledError, WebSocketDisconnect):
                    await task

    return handle


def since(text: str | None) -> int | None:
    """Give the number that a page knows last; None where it is none, which asks for a snapshot."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


async def _tell(websocket: WebSocket, hub: Hub, known: int | None) -> None:
    await hub.ready()
    with hub.joined(known) as client:
        await _forward(websocket, client)


async def _forward(websocket: WebSocket, client: Client) -> None:
    while True:
        await websocket.send_text(await client.next())


async def _listen(websocket: WebSocket) -> None:
    """Read what a page says until it goes; it may say that it is there, and nothing else."""
    while True:
        try:
            said = json.loads(await websocket.receive_text())
        except (ValueError, KeyError):  # no JSON; no text
            said = None
        if said != {"type": "ping"}:
            await websocket.close(_NOT_UNDERSTOOD, 'this feed takes {"type":"ping"} and nothing else')
            return
