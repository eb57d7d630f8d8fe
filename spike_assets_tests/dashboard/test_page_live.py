"""The page while things happen: news without reload, alerts, connections that break."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from spike_assets_tests.dashboard.page_browser import chromium, needs_chromium, opened, ready, shown
from spike_assets_tests.dashboard.page_market import Market, iso
from spike_assets_tests.dashboard.page_server import Server

pytestmark = [pytest.mark.browser, needs_chromium]

UNREACHABLE = ("WebSocket connection to", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
"""What Chromium itself says of a server that is away."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Market()) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser, expected=UNREACHABLE) as found:
        yield found


def up_to_date(page: Page, server: Server, name: str = "EUR_USD") -> None:
    """The chart has every candle and event once, and nothing else."""
    candles = server.market.candles_of("H1", name)
    expect(page.locator("#canvas")).to_have_attribute("data-last", candles[-1]["time"])
    found = shown(page)
    times = [candle["time"] for candle in found["candles"]]
    assert times == [candle["time"] for candle in candles if candle["time"] >= times[0]]
    first = times[0]
    expected = [e for e in reversed(server.market.events(instrument=[name])) if e["time"] >= first]
    expect(page.locator("#canvas")).to_have_attribute("data-markers", str(len(expected)))
    assert [mark["id"] for mark in shown(page)["markers"]] == [event["event_id"] for event in expected]


def test_new_candles_and_events_appear_without_reload(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    page.evaluate("globalThis.same = true")
    before = len(server.market.events(instrument=["EUR_USD"]))
    server.advance(24)
    up_to_date(page, server)
    events = server.market.events(instrument=["EUR_USD"])
    assert len(events) > before
    expect(page.locator(".below tbody tr").first).to_have_attribute("data-event", events[0]["event_id"])
    expect(page.locator("#live")).to_contain_text("new resistance")
    assert page.evaluate("globalThis.same")


def test_the_table_of_events_follows_its_filter(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=events&pattern=HH&sort=-level")
    expect(page.locator("#view-events tbody tr")).to_have_count(50)
    server.advance(24)
    expected = server.market.events(pattern="HH", sort="-level")
    expect(page.locator("#view-events [role=status]")).to_contain_text(f"of {len(expected):,} events")
    ids = page.locator("#view-events tbody tr").evaluate_all("rows => rows.map(row => row.dataset.event)")
    assert ids == [event["event_id"] for event in expected[:50]]


def test_the_strip_says_that_a_pass_is_running(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    server.push({"kind": "status", "status": server.market.status(running=True)})
    expect(page.get_by_role("article", name="H1")).to_contain_text("running")
    server.push({"kind": "status", "status": server.market.status()})
    expect(page.get_by_role("article", name="H1")).to_contain_text("ok")


def test_unread_alerts_are_counted_in_title_favicon_and_tab(page: Page, server: Server) -> None:
    page.goto(server.url)
    unread = server.market.unread()
    expect(page).to_have_title(f"({unread}) EUR_USD H1 · spike")
    expect(page.locator("#favicon")).to_have_attribute("href", "/static/favicon-unread.svg")
    while server.market.unread() == unread:
        server.advance()
    expect(page).to_have_title(re.compile(rf"^\({server.market.unread()}\) "))
    expect(page.locator("#tabs .badge")).to_contain_text(str(server.market.unread()))


def test_acknowledging_one_and_all_is_remembered(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=alerts")
    unread = server.market.unread()
    items = page.locator("#view-alerts li.unread")
    expect(items).to_have_count(unread)
    items.first.get_by_role("button", name=re.compile("^Acknowledge")).click()
    expect(items).to_have_count(unread - 1)
    assert server.market.unread() == unread - 1
    page.locator("#view-alerts").get_by_role("button", name="Acknowledge all").click()
    expect(items).to_have_count(0)
    expect(page).to_have_title("Alerts · spike")
    expect(page.locator("#favicon")).to_have_attribute("href", "/static/favicon.svg")
    page.reload()
    expect(page.locator("#view-alerts li.alert").first).to_be_visible()
    expect(items).to_have_count(0)
    assert server.market.unread() == 0


def test_alerts_say_why_and_who_was_told(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=alerts")
    view = page.locator("#view-alerts")
    for text in ("round number", "the third in a row", "waiting", "not delivered: 404 Not Found", "silenced", "missed"):
        expect(view).to_contain_text(text)
    alerts = server.market.alerts()
    view.get_by_role("button", name="Older alerts").click()
    expect(view.locator("li.alert")).to_have_count(100)
    ids = view.locator("li.alert").evaluate_all("all => all.map(one => one.dataset.alert)")
    assert ids == [alert["alert_id"] for alert in alerts[:100]]


def test_an_instrument_is_silenced_and_heard_again(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=alerts")
    silences = page.locator(".silences")
    silences.locator("[name=instrument]").select_option("EUR_USD")
    silences.get_by_role("button", name="Silence").click()
    expect(silences).to_contain_text("EUR/USD until")
    assert set(server.market.silences) == {"EUR_USD"}
    silences.get_by_role("button", name="End the silence of EUR/USD").click()
    expect(silences).to_contain_text("Nothing is silenced")


def test_nothing_is_missed_or_doubled_when_the_server_was_killed_and_comes_back(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    server.advance(3)
    up_to_date(page, server)
    server.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    expect(page.locator("#fresh")).to_contain_text("stale")
    server.advance(30)
    server.start()
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#banner")).to_be_hidden()
    up_to_date(page, server)
    expect(page).to_have_title(re.compile(rf"^\({server.market.unread()}\) "))
    ids = page.locator(".side li.alert").evaluate_all("all => all.map(one => one.dataset.alert)")
    assert ids == [alert["alert_id"] for alert in server.market.alerts()[:30]]
    server.advance(2)
    up_to_date(page, server)


def test_a_server_that_forgot_its_numbers_sends_a_snapshot_and_the_page_reads_anew(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    server.advance(5)
    up_to_date(page, server)
    server.stop()
    expect(page.locator("#banner")).to_be_visible()
    server.advance(20)
    server.feed.seq, server.feed.log = 0, []
    server.start()
    page.get_by_role("button", name="Try now").click()
    up_to_date(page, server)
    server.advance()
    up_to_date(page, server)


def test_a_client_that_was_too_slow_takes_a_new_snapshot(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    listeners = server.feed.listeners
    server.feed.listeners = set()
    server.advance(4)  # nobody hears of these
    server.feed.listeners = listeners
    server.reset()
    up_to_date(page, server)


def test_a_frame_that_comes_twice_counts_once_and_one_that_is_missing_is_asked_for(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    server.advance()
    up_to_date(page, server)
    # The same number again, with other words: it was heard before.
    again = {"kind": "alerts", "alerts": [], "removed": [], "unread": 77}
    server.tell(lambda: server.feed.tell({"type": "heartbeat", "seq": server.feed.seq, "now": iso(server.market.at)}))
    old = {"type": "delta", "seq": server.feed.seq, "changes": [again]}
    server.tell(lambda: server.feed.say(old))
    listeners = server.feed.listeners
    server.feed.listeners = set()
    server.advance(2)
    server.feed.listeners = listeners
    server.advance()
    up_to_date(page, server)
    expect(page).to_have_title(re.compile(rf"^\({server.market.unread()}\) "))
