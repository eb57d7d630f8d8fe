"""The page for everybody: by keyboard alone, on a phone, by a screen reader, under its strict policy."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from spike_assets_tests.dashboard.page_browser import chromium, needs_chromium, opened, ready, shown
from spike_assets_tests.dashboard.page_market import Market
from spike_assets_tests.dashboard.page_server import STATIC, Server

pytestmark = [pytest.mark.browser, needs_chromium]

VIEWS = ("chart", "events", "alerts", "operations")
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
AXE = "AXE_CORE"
LEAST_TARGET = 44

_SMALL = """least => [...document.querySelectorAll("a, button, select")]
  .filter(one => one.offsetParent && !one.closest(".hidden, p, .skip, #tv-attr-logo") && one.id !== "tv-attr-logo")
  .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
  .filter(([, box]) => box.height && box.height < least - 0.5)
  .map(([html, box]) => `${box.height} ${html}`)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Market()) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser) as found:
        yield found


def visit(page: Page, server: Server, view: str, more: str = "") -> None:
    page.goto(f"{server.url}?view={view}&instrument=EUR_USD{more}")
    expect(page.locator("#strip article")).to_have_count(5)
    content = {"chart": "#canvas[data-last^='20']", "operations": "svg.plot rect"}
    things = {"events": "tbody tr[data-event]", "alerts": "li.alert"}
    expect(page.locator(f"#view-{view} {content.get(view) or things[view]}").first).to_be_visible()
    if view == "chart":
        ready(page)


@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_nothing_scrolls_sideways_and_targets_are_large(browser: Browser, server: Server, view: str) -> None:
    with opened(browser, **PHONE) as page:
        visit(page, server, view)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate(_SMALL, LEAST_TARGET) == []


def test_on_a_phone_the_drawer_leaves_the_chart_in_sight(browser: Browser, server: Server) -> None:
    event = server.market.events(instrument=["EUR_USD"])[1]
    with opened(browser, **PHONE) as page:
        visit(page, server, "chart", f"&event={event['event_id']}")
        expect(page.locator("#drawer")).to_be_in_viewport()
        expect(page.locator("#canvas")).to_be_in_viewport(ratio=0.5)
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_by_keyboard_alone(page: Page, server: Server) -> None:
    visit(page, server, "chart")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("listbox").get_by_role("option", selected=True)).to_contain_text("GBP/USD")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("^GBP/USD H1: 500 candles"))
    expect(page.get_by_role("listbox")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="D", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("^GBP/USD D: "))
    expect(page.get_by_role("button", name="D", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#canvas")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#chart [role=status]")).to_contain_text("UTC")


def test_the_drawer_opens_by_enter_closes_by_escape_and_gives_the_focus_back(page: Page, server: Server) -> None:
    visit(page, server, "events")
    button = page.locator("#view-events tbody button").nth(3)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer-title")).to_be_focused()
    expect(page).to_have_url(re.compile("event="))
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#view-events tbody button").nth(3)).to_be_focused()


def test_focus_stays_where_it_is_when_news_come(browser: Browser) -> None:
    with Server(Market()) as server, opened(browser) as page:
        visit(page, server, "chart")
        link = page.locator(".below tbody a").nth(2)
        name = page.locator(".below tbody tr").nth(2).get_attribute("data-event")
        link.focus()
        server.advance(12)
        last = server.market.candles_of("H1", "EUR_USD")[-1]["time"]
        expect(page.locator("#canvas")).to_have_attribute("data-last", last)
        newest = server.market.events(instrument=["EUR_USD"])[0]["event_id"]
        expect(page.locator(".below tbody tr").first).to_have_attribute("data-event", newest)
        expect(page.locator(f".below tr[data-event='{name}'] a")).to_be_focused()


def test_tables_have_captions_and_headers(page: Page, server: Server) -> None:
    for view in ("chart", "events", "operations"):
        visit(page, server, view)
        tables = page.locator(f"#view-{view} table:has(caption, th)")
        for n in range(tables.count()):
            assert tables.nth(n).locator("caption").inner_text()
        assert page.locator(f"#view-{view} th:not([scope])").count() == 0


def test_reduced_motion_stops_what_moves(browser: Browser, server: Server) -> None:
    with opened(browser, reduced_motion="reduce") as page:
        visit(page, server, "chart")
        server.push({"kind": "status", "status": server.market.status(running=True)})
        sign = page.locator(".is-running .sign")
        expect(sign).to_be_visible()
        assert sign.evaluate("one => getComputedStyle(one).animationName") == "none"
        server.push({"kind": "status", "status": server.market.status()})


def test_nothing_is_fetched_from_elsewhere(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in VIEWS:
        visit(page, server, view)
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {server.url.split("/")[2]}


def test_no_inline_script_or_style_is_in_the_sources() -> None:
    own = [path for path in STATIC.rglob("*") if path.suffix in {".html", ".js"} and path.parent.name != "vendor"]
    assert len(own) > 15
    for path in own:
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son[a-z]+=\"|<script>|<style|cssText|innerHTML|\beval\(", text), path.name
        assert path.suffix == ".html" or text.startswith("//"), f"{path.name} does not say what belongs there"


def _axe() -> str:
    folder = os.environ.get(AXE)
    if not folder:
        pytest.skip(f"set {AXE} to the folder of npm's axe-core")
    return (Path(folder) / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("view", [*VIEWS, "drawer"])
def test_axe_finds_nothing_serious(browser: Browser, server: Server, view: str, width: int, scheme: str) -> None:
    source = _axe()
    event = server.market.events(instrument=["EUR_USD"], rule="psychological_level")[0]
    size = {"width": width, "height": 900}
    with opened(browser, viewport=size, color_scheme=scheme, reduced_motion="reduce") as page:
        if view == "drawer":
            visit(page, server, "chart", f"&event={event['event_id']}")
            expect(page.locator("#drawer")).to_be_visible()
            assert shown(page)["chosen"] == event["event_id"]
        else:
            visit(page, server, view)
        page.evaluate(source)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{one['id']}: {node['html'][:140]} {node['failureSummary'][:200]}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]
        assert serious == []
