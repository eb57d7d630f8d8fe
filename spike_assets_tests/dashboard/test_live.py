"""The feed as pages have it: over Starlette's client, and over a real server that may be killed."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import ClientConnection

from spike_assets.dashboard.live import since
from spike_assets.dashboard.watcher import Pace
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.cli.running import PATIENCE
from spike_assets_tests.dashboard.offices import LIVE, OWN, TestClient, visitor
from spike_assets_tests.dashboard.served import Served
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER

Hear = Callable[[], Any]


@contextmanager
def page(client: TestClient, known: int | None = None) -> Iterator[Hear]:
    """Give what waits for the next frame of a page."""
    with client.websocket_connect(LIVE if known is None else f"{LIVE}?since={known}") as feed:
        yield feed.receive_json


def until(hear: Hear, *kinds: str) -> list[dict[str, Any]]:
    """Hear deltas until each of these kinds has come; give them all, and hold that none was left out."""
    found: list[dict[str, Any]] = []
    left = set(kinds)
    while left:
        frame = hear()
        assert frame["type"] == "delta", frame
        assert not found or frame["seq"] == found[-1]["seq"] + 1
        found.append(frame)
        left -= {change["kind"] for change in frame["changes"]}
    return found


def closes(deltas: list[dict[str, Any]], name: str) -> list[str]:
    """Give the times of an instrument's candles, in the order in which they were told."""
    changes = [one for delta in deltas for one in delta["changes"] if one["kind"] == "candles"]
    return [candle["time"] for one in changes for candle in one["instruments"].get(name) or []]


def iso(n: float) -> str:
    return hour(n).isoformat().replace("+00:00", "Z")


# --- over Starlette's client ------------------------------------------------------------------------------------------


def test_a_snapshot_and_then_what_a_pass_does(desk: Desk) -> None:
    with visitor(desk) as client, page(client) as hear:
        snapshot = hear()
        assert snapshot["type"] == "snapshot"
        assert snapshot["status"] == client.get("/api/status").json()
        assert snapshot["alerts"] == client.get("/api/alerts").json()
        desk.peak("GBP_USD", 30)
        desk.run(31)
        deltas = until(hear, "candles", "events", "alerts", "levels", "status")
        assert deltas[0]["seq"] == snapshot["seq"] + 1
        assert closes(deltas, "GBP_USD") == [iso(30)]
        last = {one["kind"]: one for delta in deltas for one in delta["changes"]}
        told = client.get("/api/candles", params={"instrument": "GBP_USD", "limit": 1}).json()["candles"]
        assert last["candles"]["instruments"]["GBP_USD"] == told
        assert last["events"]["events"] == client.get("/api/events", params={"since": iso(31)}).json()["events"]
        assert last["alerts"]["unread"] == client.get("/api/alerts").json()["unread"]


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(desk: Desk) -> None:
    with visitor(desk) as client:
        with page(client) as hear:
            known = hear()["seq"]
        for n in (31, 32, 33):
            with page(client, known) as hear:
                desk.run(n)
                deltas = until(hear, "candles", "status")
            assert closes(deltas, "EUR_USD") == [iso(n - 1)]
            known = deltas[-1]["seq"]
        with page(client, known) as hear:
            client.post("/api/silences", json={"instrument": "*", "for": "1h"}, headers=OWN)
            (delta,) = until(hear, "status")
            assert delta["seq"] == known + 1


def test_all_that_was_missed_comes_in_order(desk: Desk) -> None:
    with visitor(desk) as client, page(client) as first:
        known = first()["seq"]
        heard = []
        for n in range(31, 35):
            desk.run(n)
            heard += until(first, "candles", "status")
        with page(client, known) as hear:
            assert [hear() for _ in heard] == heard
        with page(client, heard[1]["seq"]) as hear:
            assert [hear() for _ in heard[2:]] == heard[2:]


@pytest.mark.parametrize("known", ["0", "7", "999999999999999", "x", "-1", "1" * 30, ""])
def test_who_knows_nothing_that_is_kept_gets_a_snapshot(desk: Desk, known: str) -> None:
    with visitor(desk) as client, client.websocket_connect(f"{LIVE}?since={known}") as feed:
        assert feed.receive_json()["type"] == "snapshot"


def test_since_is_a_number() -> None:
    assert [since(text) for text in (None, "", "x", "²", "-1", "1" * 16, "12")] == [None] * 6 + [12]


def test_heartbeats(desk: Desk) -> None:
    with visitor(desk, pace=Pace(poll=0.01, heartbeat=0.01)) as client, page(client) as hear:
        seq = hear()["seq"]
        for _ in range(3):
            assert hear() == {
                "type": "heartbeat",
                "seq": seq,
                "now": iso(30 + 1 / 12),
                "looked_at": iso(30 + 1 / 12),
            }


HASTY = Pace(poll=0.01, blind=0.01, idle=0.01, heartbeat=3600.0, patience=0.1)
WELL = "H4, D, W never ran"


def stands(hear: Hear, reason: str) -> dict[str, Any]:
    """Wait for a status that gives this reason, and give it; on a busy machine others may come before."""
    while True:
        frame = hear()
        for one in (frame, *frame.get("changes", ())):
            if "status" in one and one["status"]["reasons"][0].endswith(reason):
                return dict(one["status"])


def test_a_store_that_can_no_longer_be_read_is_told_and_that_it_can_again(desk: Desk) -> None:
    path = Path(desk.pipeline.store.url)
    with visitor(desk, pace=HASTY) as client, page(client) as hear:
        before = stands(hear, WELL)
        content = path.read_bytes()
        path.write_bytes(b"no database" * 1000)
        told = stands(hear, "set SPIKE_DATABASE to another path")
        assert (told["healthy"], told["granularities"]) == (False, before["granularities"])
        with page(client) as other:
            assert other()["status"]["reasons"] == told["reasons"]
        assert client.get("/readyz").json()["ok"] is False
        path.write_bytes(content)
        assert stands(hear, WELL)["granularities"] == before["granularities"]


def test_a_store_that_does_not_answer_is_told(desk: Desk) -> None:
    with visitor(desk, pace=HASTY) as client, page(client) as hear:
        stands(hear, WELL)
        with desk.pipeline.store.writing(FOREVER, "whoever holds it"):
            stands(hear, "the store does not answer, or somebody holds it")
        stands(hear, WELL)


def test_a_page_may_say_that_it_is_there_and_nothing_else(desk: Desk) -> None:
    with visitor(desk) as client:
        for said in ("", "{", "[]", '{"type": "give"}', "1"):
            with client.websocket_connect(LIVE) as feed:
                feed.send_text('{"type": "ping"}')
                assert feed.receive_json()["type"] == "snapshot"
                feed.send_text(said)
                with pytest.raises(WebSocketDisconnect) as gone:
                    feed.receive_json()
                assert gone.value.code == 1008


def test_a_page_too_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with visitor(desk) as client:
        monkeypatch.setattr(client.app.state.hub, "_most_clients", 1)  # type: ignore[attr-defined]
        with page(client) as hear:
            hear()
            with client.websocket_connect(LIVE) as second:
                with pytest.raises(WebSocketDisconnect) as gone:
                    second.receive_json()
                assert gone.value.code == 1013


def test_pages_that_go_are_forgotten(desk: Desk) -> None:
    with visitor(desk) as client:
        for _ in range(3):
            with page(client) as hear:
                hear()
        assert client.app.state.hub.clients == 0  # type: ignore[attr-defined]


# --- over a real server -----------------------------------------------------------------------------------------------


def hearing(connection: ClientConnection) -> Hear:
    """Give what waits for the next frame that is no heartbeat."""

    def hear() -> Any:
        while True:
            frame = json.loads(connection.recv(PATIENCE))
            if frame["type"] != "heartbeat":
                return frame

    return hear


@pytest.fixture
def server(desk: Desk, tmp_path: Path) -> Iterator[Served]:
    with Served.over(desk, tmp_path / "server.log") as found:
        yield found


def test_a_server_that_is_killed_and_started_again_and_goes_when_it_is_told(desk: Desk, server: Served) -> None:
    with server.page() as connection:
        hear = hearing(connection)
        hear()
        desk.run(31)
        known = until(hear, "candles", "status")[-1]["seq"]
    server.end(signal.SIGKILL)
    desk.run(32)
    server.start()
    with server.page(known) as connection:
        hear = hearing(connection)
        snapshot = hear()
        assert snapshot["type"] == "snapshot"
        assert snapshot["seq"] > known
        assert snapshot["status"]["granularities"]["H1"]["newest_candle"] == iso(31)
        desk.run(33)
        deltas = until(hear, "candles")
        assert closes(deltas, "EUR_USD") == [iso(32)]
    with server.page(snapshot["seq"]) as connection:
        assert closes(until(hearing(connection), "candles"), "EUR_USD") == [iso(32)]
        assert server.end(signal.SIGTERM) == 0
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


def test_a_slow_page_takes_a_new_snapshot(desk: Desk) -> None:
    """The hub's own task runs while the page reads nothing: more deltas come than may wait for it."""
    with visitor(desk, queued=2) as client:
        hub = client.app.state.hub  # type: ignore[attr-defined]
        with page(client) as hear:
            first = hear()

            async def flood() -> None:
                for n in range(10):
                    hub.publish([{"kind": "test", "n": n}], first["status"], first["alerts"])

            assert client.portal
            client.portal.call(flood)
            assert hear()["type"] == "reset"
            snapshot = hear()
            assert (snapshot["type"], snapshot["seq"]) == ("snapshot", first["seq"] + 10)
            client.portal.call(flood)
            assert hear()["type"] == "reset"
        assert hub.resets == 2
