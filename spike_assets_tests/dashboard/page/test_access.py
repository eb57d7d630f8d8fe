"""The page for everybody: by keyboard alone, on a phone, by a screen reader, under its strict policy."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from spike_assets_tests.dashboard.page_browser import axe, opened, ready, serious, shown
from spike_assets_tests.dashboard.page_server import STATIC, Server

VIEWS = ("chart", "events", "alerts", "operations")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LEAST_TARGET = 44

_SMALL = """least => [...document.querySelectorAll("a, button, select")]
  .filter(one => one.offsetParent && !one.closest(".hidden, p, .skip, #tv-attr-logo") && one.id !== "tv-attr-logo")
  .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
  .filter(([, box]) => box.height && box.height < least - 0.5)
  .map(([html, box]) => `${box.height} ${html}`)"""

browser_test = pytest.mark.browser


def show(page: Page, view: str) -> None:
    """Go to a view as people do, and wait for what it holds."""
    page.locator(f"#tabs [data-view={view}]").click()
    content = {"chart": "#canvas[data-last^='20']", "operations": "svg.plot rect"}
    things = {"events": "tbody tr[data-event]", "alerts": "li.alert"}
    expect(page.locator(f"#view-{view} {content.get(view) or things[view]}").first).to_be_visible()
    if view == "chart":
        ready(page)


@browser_test
def test_on_a_phone_nothing_scrolls_sideways_targets_are_large_and_the_chart_stays_in_sight(
    browser: Browser, still: Server
) -> None:
    event = still.market.events(instrument=["EUR_USD"])[1]
    with opened(browser, **PHONE) as page:
        page.goto(f"{still.url}?instrument=EUR_USD&event={event['event_id']}")
        expect(page.locator("#drawer")).to_be_in_viewport()
        expect(page.locator("#canvas")).to_be_in_viewport(ratio=0.5)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#drawer")).to_be_hidden()
        for view in VIEWS:
            show(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") == 390, view
            assert page.evaluate(_SMALL, LEAST_TARGET) == [], view


@browser_test
def test_by_keyboard_alone(page: Page, still: Server) -> None:
    page.goto(f"{still.url}?instrument=EUR_USD")
    ready(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_focused()
    steps = page.evaluate("history.length")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("listbox").get_by_role("option", selected=True)).to_contain_text("GBP/USD")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("^GBP/USD H1: 500 candles"))
    expect(page.get_by_role("listbox")).to_be_focused()
    # Walking over the list is no step of history; choosing is one.
    assert page.evaluate("history.length") == steps
    page.keyboard.press("Enter")
    assert page.evaluate("history.length") == steps + 1
    page.go_back()
    expect(page).to_have_url(f"{still.url}?instrument=EUR_USD")
    page.go_forward()
    expect(page).to_have_url(f"{still.url}?instrument=GBP_USD")
    for _ in range(3):
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
    # The drawer opens by Enter, closes by Escape, and gives the focus back.
    button = page.locator(".below tbody button").nth(3)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer-title")).to_be_focused()
    expect(page).to_have_url(re.compile("event="))
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator(".below tbody button").nth(3)).to_be_focused()


@browser_test
@pytest.mark.parametrize(("screen", "scheme"), [(DESKTOP, "light"), (PHONE, "dark"), (DESKTOP, "dark")])
def test_axe_finds_nothing_serious_on_any_view(
    browser: Browser, still: Server, screen: dict[str, Any], scheme: str
) -> None:
    events = still.market.events(instrument=["EUR_USD"])[:10]  # a phone's table has no more
    event = next((event for event in events if event["rules"]), events[0])
    with opened(browser, **screen, color_scheme=scheme, reduced_motion="reduce") as page:
        page.goto(still.url)
        axe(page)
        for view in VIEWS:
            show(page, view)
            assert serious(page) == [], view
            # What a screen reader is told of a table, axe does not ask for.
            for table in page.locator(f"#view-{view} table:has(th)").all():
                assert table.locator("caption").inner_text()
            assert page.locator(f"#view-{view} th:not([scope])").count() == 0
        show(page, "chart")
        page.locator(f".below [data-event='{event['event_id']}'] [data-part=features]").click()
        expect(page.locator("#drawer-title")).to_be_visible()
        assert shown(page)["chosen"] == event["event_id"]
        assert serious(page) == [], "drawer"


def test_no_inline_script_or_style_is_in_the_sources() -> None:
    own = [path for path in STATIC.rglob("*") if path.suffix in {".html", ".js"} and path.parent.name != "vendor"]
    assert len(own) > 15
    for path in own:
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son[a-z]+=\"|<script>|<style|cssText|innerHTML|\beval\(", text), path.name
        assert path.suffix == ".html" or text.startswith("//"), f"{path.name} does not say what belongs there"


def test_every_module_and_style_is_small_and_used() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in {".js", ".css"}]
    texts = {path.name: path.read_text() for path in own}
    index = (STATIC / "index.html").read_text()
    for name, text in texts.items():
        assert text.count("\n") <= 330, f"{name} is asking to be two"
        asked_for = [index, *(other for path, other in texts.items() if path != name)]
        assert any(re.search(rf"[\"/]{re.escape(name)}\"", other) for other in asked_for), f"nothing uses {name}"
