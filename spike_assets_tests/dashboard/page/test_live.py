"""The page while things happen: news without reload, alerts, connections that break."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, WebSocketRoute, expect

from spike_assets_tests.dashboard.page_browser import (
    AWAY,
    axe,
    context,
    opened,
    ready,
    serious,
    shown,
    try_now,
    watched,
)
from spike_assets_tests.dashboard.page_market import iso
from spike_assets_tests.dashboard.page_server import Server

pytestmark = pytest.mark.browser


def up_to_date(page: Page, server: Server, name: str = "EUR_USD") -> None:
    """The chart has every candle and event once, and nothing else."""
    candles = server.market.candles_of("H1", name)
    expect(page.locator("#canvas")).to_have_attribute("data-last", candles[-1]["time"])
    found = shown(page)
    times = [candle["time"] for candle in found["candles"]]
    assert times == [candle["time"] for candle in candles if candle["time"] >= times[0]]
    expected = [e for e in reversed(server.market.events(instrument=[name])) if e["time"] >= times[0]]
    expect(page.locator("#canvas")).to_have_attribute("data-markers", str(len(expected)))
    assert [mark["id"] for mark in shown(page)["markers"]] == [event["event_id"] for event in expected]


def listed(page: Page, view: str) -> list[str]:
    """Give the ids of the alerts of a list."""
    found: list[str] = page.locator(f"{view} li.alert").evaluate_all("all => all.map(one => one.dataset.alert)")
    return found


def unread_is(page: Page, server: Server) -> None:
    """Title, favicon, tab and strip say how many alerts nobody has seen."""
    unread = server.market.unread()
    expect(page).to_have_title(re.compile(rf"^\({unread}\) " if unread else r"^[^(]"))
    icon = "favicon-unread" if unread else "favicon"
    expect(page.locator("#favicon")).to_have_attribute("href", f"/static/{icon}.svg")
    expect(page.locator("#strip-unread")).to_have_text(str(unread))
    if unread:
        expect(page.locator("#tabs .badge")).to_contain_text(str(unread))


def test_news_appear_without_reload_and_disturb_nobody(server: Server, page: Page) -> None:
    page.goto(server.url)
    ready(page)
    unread_is(page, server)
    page.evaluate("globalThis.same = true")
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    expect(page.locator("#legend .when")).not_to_have_text("2025-11-19 14:00")
    hovered = page.locator("#legend .when").inner_text()
    link = page.locator(".below tbody a").nth(2)
    name = page.locator(".below tbody tr").nth(2).get_attribute("data-event")
    link.focus()
    before, unread = server.market.events(instrument=["EUR_USD"]), server.market.unread()
    server.advance(24)
    up_to_date(page, server)
    events = server.market.events(instrument=["EUR_USD"])
    assert len(events) > len(before)
    assert server.market.unread() != unread
    first = page.locator(".below tbody tr").first
    expect(first).to_have_attribute("data-event", events[0]["event_id"])
    expect(first).to_have_class(re.compile("arrived"))
    expect(page.locator("#live")).to_contain_text("new resistance")
    unread_is(page, server)
    # The pointer is where it was, and so is the focus; news pushed older candles to the left, under it.
    expect(page.locator(f".below tr[data-event='{name}'] a")).to_be_focused()
    assert page.locator("#legend .when").inner_text() >= hovered
    assert page.evaluate("globalThis.same")


def test_a_drawer_that_is_read_stays_as_it_is_while_candles_come(server: Server, page: Page) -> None:
    market = server.market
    alert = next(one for one in market.alerts() if one["instrument"] == "EUR_USD" and one["granularity"] == "H1")
    page.goto(f"{server.url}?instrument=EUR_USD")
    ready(page)
    opener = page.locator(f".below tr[data-event='{alert['event_id']}'] [data-part=features]")
    opener.click()
    expect(page.locator("#drawer-title")).to_be_focused()
    scroll, close = page.locator("#drawer .scroll"), page.get_by_role("button", name="Close")
    scroll.evaluate("one => { one.scrollTop = 300; one.dataset.drawn = 'once'; }")
    close.focus()
    with page.expect_response("**/api/events/*-*"):
        server.advance()
    up_to_date(page, server)
    expect(scroll).to_have_attribute("data-drawn", "once")
    # Where something of the event has changed, it is drawn anew, and one goes on where one was.
    market.acknowledged[alert["alert_id"]] = iso(market.at + timedelta(seconds=1))
    server.push({"kind": "levels", "granularity": "H1", "instruments": ["EUR_USD"]})
    expect(scroll).not_to_have_attribute("data-drawn", "once")
    assert scroll.evaluate("one => one.scrollTop") == 300
    expect(close).to_be_focused()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()


def test_the_table_of_events_follows_its_filter(server: Server, page: Page) -> None:
    page.goto(f"{server.url}?view=events&pattern=HH&sort=-level")
    expect(page.locator("#view-events tbody tr")).to_have_count(50)
    server.advance(24)
    expected = server.market.events(pattern="HH", sort="-level")
    expect(page.locator("#view-events [role=status]")).to_contain_text(f"of {len(expected):,} events")
    ids = page.locator("#view-events tbody tr").evaluate_all("rows => rows.map(row => row.dataset.event)")
    assert ids == [event["event_id"] for event in expected[:50]]


def test_the_strip_says_what_is_running_what_is_wrong_and_what_is_caught_up_with(
    browser: Browser, server: Server
) -> None:
    market = server.market
    with opened(browser, reduced_motion="reduce") as page:
        page.goto(f"{server.url}?view=alerts")
        hour, system = page.get_by_role("article", name="H1"), page.locator("#strip .system")
        expect(hour).to_contain_text("ok")
        server.push({"kind": "status", "status": market.status(running=True)})
        expect(hour).to_contain_text("running")
        sign = page.locator(".is-running .sign")
        assert sign.evaluate("one => getComputedStyle(one).animationName") == "none"
        market.healthy = False
        server.push({"kind": "status", "status": market.status()})
        expect(system).to_contain_text("Degraded")
        expect(system).to_contain_text("H4 failed 2 times in a row (the broker answers 503)")
        expect(page.get_by_role("article", name="H4")).to_contain_text("failed")
        expect(page.locator("#live")).to_have_text("Degraded: H4 failed 2 times in a row (the broker answers 503).")
        market.healthy, market.behind = True, 40
        server.push({"kind": "status", "status": market.status()})
        expect(system).to_contain_text("Catching up")
        expect(system).to_contain_text("H1 has 40 candle times to go")
        expect(hour).to_contain_text("ok, 40 to go")
        market.behind = 0
        server.push({"kind": "status", "status": market.status()})
        expect(system).to_contain_text("Healthy")
        expect(page.locator("#live")).to_have_text("Healthy again.")
        # A lag grows by itself, without a word from the server but the time of day.
        market.due_since = market.at - timedelta(minutes=7)
        server.push({"kind": "status", "status": market.status()})
        expect(page.locator("#strip-lag")).to_have_text("7 min")
        market.at += timedelta(minutes=2)
        server.beat()
        expect(page.locator("#strip-lag")).to_have_text("9 min")
        # A server that is there, and cannot read its store.
        expect(page.locator("#fresh")).to_have_text(re.compile("^● updated"))
        market.unseen = timedelta(seconds=45)
        server.beat()
        expect(page.locator("#fresh")).to_have_text(re.compile("^△ stale, updated 4. s ago"))


def test_without_websockets_everything_is_asked_for_and_a_server_in_trouble_says_which(
    browser: Browser, server: Server
) -> None:
    def troubled(route: Route) -> None:
        route.fulfill(status=500, json={"error": "spike.duckdb is no database"})

    with opened(browser, expected=("500",)) as page:
        page.clock.install()
        page.route_web_socket("**/api/live", lambda socket: socket.close())
        page.route("**/api/status", troubled)
        page.goto(f"{server.url}?instrument=EUR_USD")
        expect(page.locator("#strip")).to_contain_text("spike.duckdb is no database")
        page.unroute("**/api/status")
        page.clock.fast_forward("00:15")
        ready(page)
        expect(page.locator("#banner")).to_contain_text("All is asked for every 15 s")
        expect(page.locator("#live")).to_contain_text("The live feed does not get through")
        expect(page.locator("#fresh")).to_have_text(re.compile("^● updated"))
        server.advance(2)
        page.clock.fast_forward("00:15")
        up_to_date(page, server)
        unread_is(page, server)


def test_alerts_say_why_and_who_was_told_and_acknowledging_is_remembered(server: Server, page: Page) -> None:
    page.goto(f"{server.url}?view=alerts")
    view = page.locator("#view-alerts")
    for text in ("round number", "the third in a row", "waiting", "not delivered: 404 Not Found", "silenced", "missed"):
        expect(view).to_contain_text(text)
    unread_is(page, server)
    alerts = server.market.alerts()
    view.get_by_role("button", name="Older alerts").click()
    expect(view.locator("li.alert")).to_have_count(100)
    assert listed(page, "#view-alerts") == [alert["alert_id"] for alert in alerts[:100]]
    unread = server.market.unread()
    items = view.locator("li.unread")
    expect(items).to_have_count(unread)
    items.first.get_by_role("button", name=re.compile("^Acknowledge")).click()
    expect(items).to_have_count(unread - 1)
    assert server.market.unread() == unread - 1
    view.get_by_role("button", name="Acknowledge all").click()
    expect(items).to_have_count(0)
    unread_is(page, server)
    page.reload()
    expect(view.locator("li.alert").first).to_be_visible()
    expect(items).to_have_count(0)
    assert server.market.unread() == 0


def test_alerts_are_filtered_and_what_comes_later_is_too(server: Server, page: Page) -> None:
    page.goto(f"{server.url}?view=alerts")
    view = page.locator("#view-alerts")

    def filtered(**wanted: str) -> None:
        expected = server.market.alerts_of(**wanted)
        assert 0 < len(expected) < len(server.market.alerts())
        expect(view.locator(".count")).to_contain_text(re.compile(rf"^{len(expected):,} alerts?,"))
        assert listed(page, "#view-alerts") == [alert["alert_id"] for alert in expected[:50]]

    for name, value in (
        ("instrument", "CAD_CHF"),
        ("rule", "volume_spike"),
        ("granularity", "D"),
        ("state", "acknowledged"),
        ("state", "unread"),
    ):
        select = view.locator(f"[name=alert_{name}]")
        select.select_option(value)
        filtered(**{name: value})
        expect(page).to_have_url(re.compile(f"alert_{name}={value}"))
        select.select_option("")
        expect(view.locator(".count")).to_have_text(f"{server.market.unread()} unread")
    page.goto(f"{server.url}?view=alerts&alert_state=unread&alert_granularity=H1")
    filtered(granularity="H1", state="unread")
    view.get_by_role("button", name=re.compile("^Acknowledge [A-Z]")).first.click()
    expect(view.locator("li.alert")).to_have_count(len(server.market.alerts_of(granularity="H1", state="unread")))
    filtered(granularity="H1", state="unread")
    server.advance(6)
    filtered(granularity="H1", state="unread")


def test_an_instrument_is_silenced_and_heard_again(server: Server, page: Page) -> None:
    page.goto(f"{server.url}?view=alerts")
    silences = page.locator(".silences")
    silences.locator("[name=instrument]").select_option("EUR_USD")
    silences.get_by_role("button", name="Silence").click()
    expect(silences).to_contain_text("EUR/USD until")
    assert set(server.market.silences) == {"EUR_USD"}
    silences.get_by_role("button", name="End the silence of EUR/USD").click()
    expect(silences).to_contain_text("Nothing is silenced")


def test_a_feed_that_died_without_a_word_is_as_old_as_its_last_one(browser: Browser, server: Server) -> None:
    heard: list[str] = []
    with opened(browser) as page:

        def only_the_snapshot(socket: WebSocketRoute) -> None:
            def told(frame: str | bytes) -> None:
                if not heard:
                    socket.send(frame)
                    heard.append(str(frame))

            socket.connect_to_server().on_message(told)

        page.clock.install()
        page.route_web_socket("**/api/live*", only_the_snapshot)
        page.route("**/api/status*", lambda _: None)  # else plain HTTP would bring what the feed does not
        page.goto(f"{server.url}?view=alerts")
        expect(page.locator("#fresh")).to_have_text(re.compile("^● updated"))
        page.clock.fast_forward("00:40")
        expect(page.locator("#fresh")).to_have_text(re.compile("^△ stale, updated 4. s ago"))


def test_the_banners_button_tries_at_once(browser: Browser, server: Server) -> None:
    """Time stands still for the page, so that it does not come back by itself."""
    with context(browser) as of, watched(of, expected=AWAY) as page:
        page.clock.install()
        page.goto(server.url)
        ready(page)
        page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
        server.stop()
        page.clock.fast_forward("00:20")
        button = page.get_by_role("button", name="Try now")
        expect(button).to_be_visible()
        server.start()
        button.click()
        expect(page.locator("#banner")).to_be_hidden()


def test_nothing_is_missed_or_doubled_when_the_server_was_killed_and_comes_back(
    desktop: BrowserContext, server: Server
) -> None:
    with watched(desktop, expected=AWAY) as page:
        page.goto(server.url)
        ready(page)
        server.advance(3)
        up_to_date(page, server)
        server.stop()
        expect(page.locator("#banner")).to_contain_text("Connection lost")
        expect(page.locator("#live")).to_contain_text("Connection lost")
        expect(page.locator("#fresh")).to_contain_text("stale")
        axe(page)
        assert serious(page, "#banner") == []
        server.advance(30)
        server.start()
        try_now(page)
        expect(page.locator("#banner")).to_be_hidden()
        up_to_date(page, server)
        unread_is(page, server)
        assert listed(page, ".side") == [alert["alert_id"] for alert in server.market.alerts()[:30]]
        # Another server forgot its numbers: it sends a snapshot, and the page reads anew.
        server.stop()
        expect(page.locator("#banner")).to_be_visible()
        server.advance(20)
        server.feed.seq, server.feed.log = 0, []
        server.start()
        try_now(page)
        up_to_date(page, server)
        server.advance()
        up_to_date(page, server)


def test_a_slow_page_takes_a_new_snapshot_and_frames_count_once(server: Server, page: Page) -> None:
    page.goto(server.url)
    ready(page)
    listeners = server.feed.listeners

    def unheard(n: int) -> None:
        """Let candles close of which nobody hears."""
        server.feed.listeners = set()
        server.advance(n)
        server.feed.listeners = listeners

    unheard(4)
    server.reset()
    up_to_date(page, server)
    # The same number again, with other words: it was heard before.
    again = {"kind": "alerts", "alerts": [], "removed": [], "unread": 77}
    server.beat()
    server.tell(lambda: server.feed.say({"type": "delta", "seq": server.feed.seq, "changes": [again]}))
    # A number that is missing is asked for.
    unheard(2)
    server.advance()
    up_to_date(page, server)
    unread_is(page, server)
    # More alerts have changed than are told: the page reads them.
    server.market.acknowledge(server.market.unread_ids())
    told = {"kind": "alerts", "alerts": [], "removed": [], "unread": 0, "again": True}
    server.push({**told, "total": len(server.market.alerts())})
    expect(page.locator(".side li.unread")).to_have_count(0)
