"""The WebSocket at `/api/live`: one page's end of the feed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from spike_assets.dashboard.feed import Client, Hub
from spike_assets.dashboard.security import Sessions

_MOST_DIGITS = 15
_TRY_LATER = 1013
_REFUSED = 1008


def live(hub: Hub, sessions: Sessions) -> Callable[[WebSocket], Awaitable[None]]:
    """Give the endpoint that serves a hub's feed to a page for as long as its session lasts."""

    async def handle(websocket: WebSocket) -> None:
        await websocket.accept()
        if hub.full:
            await websocket.close(_TRY_LATER, "too many pages are open; close one")
            return
        with sessions.followed(websocket) as ended:
            known = since(websocket.query_params.get("since"))
            await _first_of(_listen(websocket), _tell(websocket, hub, known), ended.wait())
            if ended.is_set():
                await _refuse(websocket, "this session has ended; log in again")

    return handle


async def _refuse(websocket: WebSocket, why: str) -> None:
    """Close a page's end, unless it is closed already."""
    if {websocket.client_state, websocket.application_state} == {WebSocketState.CONNECTED}:
        with suppress(WebSocketDisconnect):
            await websocket.close(_REFUSED, why)


async def _first_of(*each: Coroutine[Any, Any, object]) -> None:
    """Do these until one of them has ended, and stop the others."""
    tasks = [asyncio.create_task(one) for one in each]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect):
                await task


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
            await websocket.close(_REFUSED, 'this feed takes {"type":"ping"} and nothing else')
            return
