"""Who comes in, who does not, and what a browser is told."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from spike_assets.dashboard import security
from spike_assets.dashboard.app import create_app
from spike_assets.dashboard.pages import STATIC
from spike_assets.dashboard.security import COOKIE, HEADERS, Doors, Sessions
from spike_assets.errors import SettingsError
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.conftest import Visits
from spike_assets_tests.dashboard.offices import (
    HOME,
    HOST,
    LIVE,
    OWN,
    TOKEN,
    TestClient,
    WebSocketDenialResponse,
    settings,
    visitor,
)

SEEN = {"alert_ids": ["0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11"]}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ELSEWHERE = "https://evil.example"
PUBLIC = "https://spike.example.com/desk"


def log_in(client: TestClient, token: str = TOKEN, **form: str) -> Any:
    return client.post("/login", data={"token": token, **form}, headers={"Origin": HOME})


def refusal(client: TestClient, headers: dict[str, str]) -> int:
    """Give the status that the feed is refused with."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(LIVE, headers=headers):
        pass
    status: int = refused.value.status_code
    return status


# --- host and origin --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("spike.example.com", 200),
        ("other.example.com:8443", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@localhost", 200),  # no browser sends that; its host is localhost all the same
        ("[::1", 403),
        ("", 403),
    ],
)
def test_hosts(visits: Visits, host: str, status: int) -> None:
    client = visits(public_url=PUBLIC, dashboard_hosts="other.example.com")
    for path in ("/", "/api/silences", "/static/favicon.svg", "/metrics"):
        assert client.get(path, headers={"Host": host}).status_code == status, path
    assert client.get("/healthz", headers={"Host": host}).json() == (
        {"ok": True} | ({"reasons": []} if status == 200 else {})
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (HOME, 200),
        (f"https://{HOST}", 200),  # behind a proxy that ends TLS and keeps the host
        ("https://spike.example.com", 200),
        ("https://SPIKE.example.com:443", 200),
        ("http://spike.example.com", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8000", 403),
        (ELSEWHERE, 403),
        ("null", 403),
        ("http://x@127.0.0.1:8000", 403),
        ("http://127.0.0.1:x", 403),
        ("", 403),
    ],
)
def test_origins(visits: Visits, origin: str, status: int) -> None:
    client = visits(public_url=PUBLIC)
    assert client.get("/api/silences", headers={"Origin": origin}).status_code == status
    assert client.post("/api/alerts/acknowledge", headers={**OWN, "Origin": origin}, json=SEEN).status_code == (
        204 if status == 200 else 403
    )


def test_what_another_site_embeds_is_refused_and_its_links_are_followed(visits: Visits) -> None:
    client = visits()
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/silences", headers=fetched).status_code == 403
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/?event=x", headers=followed).status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": ELSEWHERE}, {"Origin": "null"}])
def test_the_feed_is_refused_to_other_sites(visits: Visits, headers: dict[str, str]) -> None:
    client = visits()
    assert refusal(client, headers) == 403


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),  # an empty frame
        ("/static/favicon.svg", 200),
        ("/plain.css", 200),
        ("/login", 200),
        ("/healthz", 200),
        ("/readyz", 503),
        ("/api/status", 401),
        ("/api/events", 401),
        ("/api/events.csv", 401),
        ("/api/docs", 401),
        ("/api/openapi.json", 401),
        ("/metrics", 401),
        ("/nowhere", 401),
    ],
)
def test_what_a_stranger_sees(visits: Visits, path: str, status: int) -> None:
    client = visits(dashboard_token=TOKEN)
    for headers in (
        {},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
        {"Cookie": f"{COOKIE}={TOKEN}"},
    ):
        assert client.get(path, headers=headers).status_code == status
    answer = client.get(f"{path}?token={TOKEN}")
    assert answer.status_code == status
    if path == "/readyz":
        assert answer.json() == {"ok": False}
    assert client.get(path, headers=BEARER).status_code != 401


def test_a_stranger_changes_nothing(visits: Visits) -> None:
    client = visits(dashboard_token=TOKEN)
    assert client.post("/api/alerts/acknowledge", headers=OWN).status_code == 401
    assert refusal(client, {}) == 401
    with client.websocket_connect(LIVE, headers=BEARER) as feed:
        assert feed.receive_json()["type"] == "snapshot"


def test_logging_in_and_out(visits: Visits) -> None:
    client = visits(dashboard_token=TOKEN)
    form = client.get("/login", params={"next": "instrument=EUR_USD&granularity=H1"})
    assert 'value="instrument=EUR_USD&amp;granularity=H1"' in form.text
    answer = log_in(client, next="instrument=EUR_USD&granularity=H1")
    assert (answer.status_code, answer.headers["location"]) == (303, "./?instrument=EUR_USD&granularity=H1")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; HttpOnly; Path=/; SameSite=strict", cookie)
    assert TOKEN not in cookie
    assert client.get("/api/status").json()["may_write"] is True
    assert client.post("/api/alerts/acknowledge", headers=OWN, json=SEEN).status_code == 204
    assert client.get("/login").headers["location"] == "./"
    with client.websocket_connect(LIVE) as feed:
        assert feed.receive_json()["type"] == "snapshot"
    assert client.post("/logout", headers={"Origin": HOME}).headers["location"] == "./login"
    client.cookies.set(COOKIE, cookie.split("=", 1)[1].split(";")[0])
    assert client.get("/api/status").status_code == 401


@pytest.mark.parametrize("how", ["logged out", "pushed out"])
def test_a_session_that_ends_takes_its_feeds_along(visits: Visits, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    client = visits(dashboard_token=TOKEN)
    log_in(client)
    with client.websocket_connect(LIVE) as feed, client.websocket_connect(LIVE, headers=BEARER) as program:
        assert (feed.receive_json()["type"], program.receive_json()["type"]) == ("snapshot", "snapshot")
        if how == "logged out":
            client.post("/logout", headers={"Origin": HOME})
        else:
            monkeypatch.setattr(security, "_MOST_SESSIONS", 0)
            log_in(client)
        with pytest.raises(WebSocketDisconnect) as gone:
            feed.receive_json()
        assert gone.value.code == 1008
        program.send_text('{"type": "ping"}')
        assert client.app.state.hub.clients == 1  # type: ignore[attr-defined]


def test_a_session_ends_with_its_server(desk: Desk) -> None:
    with visitor(desk, dashboard_token=TOKEN) as client:
        log_in(client)
        cookie = client.cookies[COOKIE]
    with visitor(desk, dashboard_token=TOKEN, headers={"Cookie": f"{COOKIE}={cookie}"}) as client:
        assert client.get("/api/status").status_code == 401


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN.upper(), "é" * 20, "\udcff"])
def test_the_wrong_token(visits: Visits, token: str) -> None:
    client = visits(dashboard_token=TOKEN)
    body = b"token=" + token.encode("utf-8", "surrogateescape")
    answer = client.post("/login", content=body, headers={"Origin": HOME})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize("view", ["//evil.example", "/x", 'x"><script>', "a=b\r\nSet-Cookie: x=y", "x" * 600])
def test_logging_in_leads_nowhere_else(visits: Visits, view: str) -> None:
    client = visits(dashboard_token=TOKEN)
    assert "<script" not in client.get("/login", params={"next": view}).text
    assert log_in(client, next=view).headers["location"] == "./"


def test_logging_in_is_not_done_from_elsewhere(visits: Visits) -> None:
    client = visits(dashboard_token=TOKEN)
    for headers in ({}, {"Origin": ELSEWHERE}, {"Origin": "null"}):
        assert client.post("/login", data={"token": TOKEN}, headers=headers).status_code == 403


def test_a_cookie_over_tls_stays_there(visits: Visits) -> None:
    client = visits(dashboard_token=TOKEN, public_url=PUBLIC)
    answer = client.post("/login", data={"token": TOKEN}, headers={"Origin": "https://spike.example.com"})
    assert "; Secure" in answer.headers["set-cookie"]


def test_of_too_many_sessions_the_oldest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "_MOST_SESSIONS", 2)
    sessions = Sessions(TOKEN)
    ids = [sessions.begin() for _ in range(3)]
    assert len(set(ids)) == 3
    assert list(sessions._open) == ids[1:]


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 204),
        ({"Origin": HOME}, 403),
        ({"X-Spike": "1"}, 403),
        ({"X-Spike": "0", "Origin": HOME}, 403),
        ({"X-Spike": "1", "Origin": ELSEWHERE}, 403),
        ({**OWN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**OWN, "Sec-Fetch-Site": "same-origin"}, 204),
    ],
)
def test_writing_without_a_token(visits: Visits, headers: dict[str, str], status: int) -> None:
    client = visits()
    for method, path, body in (
        ("POST", "/api/alerts/acknowledge", SEEN),
        ("POST", "/api/silences", {"instrument": "*", "for": "1h"}),
        ("DELETE", "/api/silences/*", None),
    ):
        assert client.request(method, path, json=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [(OWN, 401), ({**OWN, **BEARER}, 204), ({"X-Spike": "1", **BEARER}, 204), (BEARER, 403)],
)
def test_writing_with_a_token(visits: Visits, headers: dict[str, str], status: int) -> None:
    client = visits(dashboard_token=TOKEN)
    assert client.post("/api/alerts/acknowledge", headers=headers, json=SEEN).status_code == status


# --- what a browser is told -------------------------------------------------------------------------------------------


def test_every_answer_has_the_headers(visits: Visits) -> None:
    client = visits()
    for path in ("/", "/login", "/api/status", "/api/docs", "/nowhere", "/static/favicon.svg", "/api/events.csv"):
        answer = client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
        assert answer.headers["cache-control"] == ("no-cache" if path in ("/", "/static/favicon.svg") else "no-store")
    assert client.get("/", headers={"Host": "evil.example"}).headers["x-frame-options"] == "DENY"


def test_nothing_inline_is_allowed_and_nothing_inline_is_there(visits: Visits) -> None:
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    client = visits(dashboard_token=TOKEN, headers=BEARER)
    for path in ("/", "/api/docs"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:", text), path
        assert not re.search(r"src=\"(?:https?:)?//|<link[^>]*href=\"(?:https?:)?//", text), path
    client = visits(dashboard_token=TOKEN)
    assert not re.search(r"<script|<style|\bstyle=|\bon\w+=", client.get("/login").text)


def test_the_chart_library_may_add_its_one_style() -> None:
    library = (STATIC / "vendor" / "lightweight-charts.standalone.production.js").read_text(encoding="utf-8")
    (style,) = re.findall(r'innerText="(a#tv-attr-logo[^"]*)"', library)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == security.CHART_STYLE


# --- where it may listen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_token(desk: Desk, host: str) -> None:
    create_app(desk.pipeline, settings(dashboard_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "spike.example.com"])  # noqa: S104
def test_any_other_address_needs_a_token(desk: Desk, host: str, tmp_path: Path) -> None:
    says = rf"^SPIKE_DASHBOARD_TOKEN: set it, others can reach {re.escape(host)}; or leave SPIKE_DASHBOARD_HOST at 127"
    with pytest.raises(SettingsError, match=says):
        create_app(desk.pipeline, settings(dashboard_host=host))
    create_app(desk.pipeline, settings(dashboard_host=host, dashboard_token=TOKEN))
    assert tmp_path.exists()


def test_an_address_that_is_listened_on_is_a_name() -> None:
    doors = Doors.of(settings(dashboard_host="192.168.1.5", dashboard_token=TOKEN))
    assert doors.knows("192.168.1.5:8000")
    assert not Doors.of(settings(dashboard_host="0.0.0.0", dashboard_token=TOKEN)).knows("0.0.0.0:8000")  # noqa: S104
