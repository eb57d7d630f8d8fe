"""The page on the real dashboard: a process of its own, with a token, over a store that passes write to."""

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import TOKEN
from spike_assets_tests.dashboard.page_browser import AWAY, axe, opened, ready, serious, shown, try_now, watched
from spike_assets_tests.dashboard.served import Served
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER

pytestmark = pytest.mark.browser

VIEW = "instrument=GBP_USD&zone=ny"
ELSEWHERE = "http://evil.example/"

_ATTACK = """async ([home, alert]) => {
  const plain = await fetch(`${home}api/status`, {credentials: "include"}).then(() => "read", () => "refused");
  const blind = {method: "POST", mode: "no-cors", credentials: "include"};
  await fetch(`${home}api/alerts/${alert}/acknowledge`, blind).catch(() => null);
  await fetch(`${home}api/alerts/acknowledge`, blind).catch(() => null);
  const feed = await new Promise((done) => {
    const socket = new WebSocket(`${home.replace("http", "ws")}api/live`);
    socket.onopen = () => done("read");
    socket.onerror = () => done("refused");
  });
  return [plain, feed];
}"""


def iso(n: int) -> str:
    return hour(n).isoformat().replace("+00:00", "Z")


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open the dashboard").click()


def test_whoever_has_the_token_gets_where_the_link_led_and_sees_what_passes_do(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with (
        Served.over(desk, log, SPIKE_DASHBOARD_TOKEN=TOKEN) as server,
        opened(browser, expected=("401", *AWAY)) as page,
    ):
        page.goto(f"{server.url}?{VIEW}")
        expect(page).to_have_url(re.compile(r"/login\?next=instrument%3DGBP_USD%26zone%3Dny$"))
        axe(page)
        assert serious(page) == []
        log_in(page, "not-the-token-but-as-long")
        expect(page.get_by_role("alert")).to_contain_text("This is not the token")
        log_in(page, TOKEN)
        expect(page).to_have_url(f"{server.url}?{VIEW}")
        ready(page)
        assert [mark["time"] for mark in shown(page)["markers"]] == [iso(28)]
        expect(page.locator("#canvas")).to_have_attribute("data-last", iso(29))

        desk.peak("GBP_USD", 30)
        desk.run(31)
        expect(page.locator("#canvas")).to_have_attribute("data-last", iso(30))
        expect(page.locator("#canvas")).to_have_attribute("data-markers", "2")
        expect(page.locator(".below tr.arrived")).to_contain_text("1.10000")
        expect(page.locator(".side li.arrived").first).to_contain_text("GBP/USD 1.10000")
        page.locator("#tabs [data-view=events]").click()
        expect(page.locator("#view-events [role=status]")).to_have_text("6 events")
        with page.expect_download() as download:
            page.locator("#csv").click()
        assert len(download.value.path().read_text().splitlines()) == 1 + 6

        with watched(page.context, expected=("403", "CORS", "ERR_FAILED", *AWAY)) as other:
            other.route(ELSEWHERE, lambda route: route.fulfill(body="<h1>elsewhere</h1>", content_type="text/html"))
            other.goto(ELSEWHERE)
            alert = desk.alerts()[-1]["alert_id"]
            assert other.evaluate(_ATTACK, [server.url, alert]) == ["refused", "refused"]
        with desk.pipeline.store.reading(FOREVER) as session:
            assert session.queries.count_acknowledged() == 0

        page.locator("#tabs [data-view=chart]").click()
        server.end(signal.SIGKILL)
        expect(page.locator("#banner")).to_contain_text("Connection lost")
        desk.run(32)
        server.start()
        try_now(page)
        # Sessions end with their server: one logs in again, and is where one was.
        expect(page).to_have_url(re.compile(r"/login\?next=instrument%3DGBP_USD"))
        log_in(page, TOKEN)
        expect(page.locator("#canvas")).to_have_attribute("data-last", iso(31))
        expect(page.locator("#canvas")).to_have_attribute("data-markers", "2")
        # Who leaves, leaves on every page: the feed of another one ends, too.
        with watched(page.context, expected=("401",)) as other:
            other.goto(server.url)
            ready(other)
            page.get_by_role("button", name="Log out").click()
            for one in (page, other):
                expect(one).to_have_url(re.compile(r"/login\?next=instrument"))
        assert page.context.request.get(f"{server.url}api/status").status == 401
    assert "Traceback" not in log.read_text(encoding="utf-8")
