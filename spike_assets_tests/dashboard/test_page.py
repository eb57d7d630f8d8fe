"""The page as somebody reads it: first load, chart, table, filters, addresses, zones, themes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from spike_assets_tests.dashboard.page_browser import chromium, needs_chromium, opened, ready, shown
from spike_assets_tests.dashboard.page_market import NAMES, Json, Market
from spike_assets_tests.dashboard.page_server import Server

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Nothing in this module changes what the server knows."""
    with Server(Market()) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser) as found:
        yield found


def rows(page: Page) -> list[str]:
    """Give the ids of the events in the table, as they stand."""
    found: list[str] = page.locator("#view-events tbody tr").evaluate_all("rows => rows.map(row => row.dataset.event)")
    return found


def table_is(page: Page, events: list[Json]) -> None:
    expect(page.locator("#view-events [role=status]")).to_contain_text(re.compile(rf"\b{len(events):,} events?$"))
    expect(page.locator("#view-events table")).not_to_have_attribute("aria-busy", "true")
    assert rows(page) == [event["event_id"] for event in events[:50]]


def test_first_load_shows_the_strip_the_chart_and_its_events(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    found = shown(page)
    assert (found["instrument"], found["granularity"]) == ("EUR_USD", "H1")
    assert [c["time"] for c in found["candles"]] == [
        c["time"] for c in server.market.candles_of("H1", "EUR_USD")[-500:]
    ]
    cells = page.locator("#strip article")
    expect(cells).to_have_count(5)
    expect(cells.first).to_contain_text("Next close")
    expect(cells.first.get_by_role("timer")).to_have_text(re.compile(r"^0:54:\d\d$"))
    expect(cells.last).to_contain_text("Healthy")
    expect(cells.last).to_contain_text("Simulated, no real prices")
    expect(cells.last).to_contain_text("open until Fri 22:00")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(len(NAMES))
    expect(page.locator(".below tbody tr")).to_have_count(50)
    expect(page.locator("#fresh")).to_have_text(re.compile(r"updated \d s ago"))


def test_what_is_wrong_is_said_with_its_reason(browser: Browser) -> None:
    market = Market()
    market.healthy = False
    with Server(market) as server, opened(browser) as page:
        page.goto(server.url)
        expect(page.locator("#strip .system")).to_contain_text("Degraded")
        expect(page.locator("#strip .system")).to_contain_text("H4 failed 2 times in a row (the broker answers 503)")
        expect(page.get_by_role("article", name="H4")).to_contain_text("failed")


def test_every_event_has_its_marker_on_its_own_candle(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?instrument=EUR_JPY")
    ready(page)
    found = shown(page)
    first = found["candles"][0]["time"]
    expected = [e for e in reversed(server.market.events(instrument=["EUR_JPY"])) if e["time"] >= first]
    assert [(m["id"], m["time"]) for m in found["markers"]] == [(e["event_id"], e["time"]) for e in expected]
    times = {candle["time"] for candle in found["candles"]}
    assert all(marker["time"] in times for marker in found["markers"])


def test_older_candles_come_when_one_scrolls_left(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    page.locator("#canvas").focus()
    page.keyboard.press("Home")
    expect(page.locator("#canvas")).to_have_attribute("data-candles", "1500")
    everything = server.market.candles_of("H1", "EUR_USD")
    assert [c["time"] for c in shown(page)["candles"]] == [c["time"] for c in everything[-1500:]]


def test_the_legend_says_what_the_candle_under_the_cursor_is(page: Page, server: Server) -> None:
    page.goto(server.url)
    ready(page)
    page.locator("#canvas").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    candle = server.market.candles_of("H1", "EUR_USD")[-2]
    legend = page.locator("#legend")
    for text in (
        "2025-11-19 13:00",
        f"H {candle['high']:.5f}",
        f"ATR {candle['atr']:.5f}",
        f"Vol {candle['volume']:,.0f}",
    ):
        expect(legend).to_contain_text(text)
    expect(legend).to_contain_text(f"Rel vol {candle['relative_volume']:.1f} ×")


def test_prices_have_the_decimals_of_their_instrument(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?instrument=USD_HUF")
    ready(page)
    last = server.market.candles_of("H1", "USD_HUF")[-1]
    expect(page.locator("#legend")).to_contain_text(f"O {last['open']:.3f} ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("only", "CAD_CHF"),
        ("pattern", "LH"),
        ("rule", "volume_spike"),
        ("since", "24h"),
        ("suspect", "false"),
        ("granularity", "D"),
    ],
)
def test_filters(page: Page, server: Server, name: str, value: str) -> None:
    page.goto(f"{server.url}?view=events")
    table_is(page, server.market.events())
    page.locator(f"#view-events select[name={name}]").select_option(value)
    expect(page).to_have_url(re.compile(rf"{name}={value}"))
    asked = {"instrument": [value]} if name == "only" else {name: value}
    expected = server.market.events(**asked)
    assert expected
    table_is(page, expected)
    csv = page.locator("#csv")
    assert f"{'instrument' if name == 'only' else name}={value}" in (csv.get_attribute("href") or "")
    with page.expect_download() as download:
        csv.click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == len(expected) + 1


def test_sort_by_header_there_and_back(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=events&only=EUR_USD")
    header = page.get_by_role("columnheader", name="Level")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    table_is(page, server.market.events(instrument=["EUR_USD"], sort="-level"))
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    table_is(page, server.market.events(instrument=["EUR_USD"], sort="level"))
    page.go_back()
    expect(header).to_have_attribute("aria-sort", "descending")


def test_pages_of_fifty(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=events")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#view-events [role=status]")).to_contain_text("51–100 of")
    assert rows(page) == [event["event_id"] for event in server.market.events()[50:100]]


def test_events_younger_than_a_candle_are_marked(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=events")
    table_is(page, server.market.events())
    young = [event for event in server.market.events() if event["closed_at"] == "2025-11-19T15:00:00Z"]
    expect(page.locator("#view-events tr.fresh")).to_have_count(len(young))
    expect(page.locator("#view-events tr.fresh").first).to_contain_text("new")


def test_a_click_goes_to_the_candle_and_opens_the_drawer(page: Page, server: Server) -> None:
    event = server.market.events()[30]
    page.goto(f"{server.url}?view=events")
    page.locator(f"[data-event='{event['event_id']}'] td").nth(2).click()
    expect(page).to_have_url(re.compile(event["event_id"]))
    page.mouse.move(0, 0)  # the chart is now under it, and says what it is over
    assert_at(page, event)
    page.go_back()
    expect(page.locator("#view-events")).to_be_visible()
    expect(page.locator("#drawer")).to_be_hidden()
    page.go_forward()
    assert_at(page, event)


def assert_at(page: Page, event: Json) -> None:
    """The chart is at the event's candle, and the drawer tells of it."""
    expect(page.locator("#drawer-title")).to_contain_text(f"{event['level']:.{event['decimals']}f}")
    expect(page.locator(f"#view-chart [data-event='{event['event_id']}']")).to_have_class(re.compile("chosen"))
    expect(page.locator("#legend")).to_contain_text(event["time"][:10])
    expect(page.locator("#legend")).to_contain_text("resistance")
    found = shown(page)
    assert (found["instrument"], found["chosen"]) == (event["instrument"], event["event_id"])
    index = [candle["time"] for candle in found["candles"]].index(event["time"])
    assert found["range"]["from"] < index < found["range"]["to"]


def test_a_deep_link_restores_the_whole_view(page: Page, server: Server) -> None:
    event = server.market.events(instrument=["GBP_USD"])[20]
    page.goto(f"{server.url}?instrument=GBP_USD&granularity=H1&event={event['event_id']}&zone=ny")
    assert_at_in_new_york(page, event)
    expect(page.locator("#zone")).to_have_value("ny")
    expect(page.get_by_role("listbox").get_by_role("option", selected=True)).to_contain_text("GBP/USD")
    page.reload()
    assert_at_in_new_york(page, event)


def assert_at_in_new_york(page: Page, event: Json) -> None:
    expect(page.locator("#drawer")).to_contain_text("New York")
    expect(page.locator("#legend")).to_contain_text("resistance")
    assert shown(page)["chosen"] == event["event_id"]


def test_a_link_to_an_old_event_reads_back_to_its_candle(page: Page, server: Server) -> None:
    event = server.market.events(instrument=["USD_SEK"])[-3]
    page.goto(f"{server.url}?event={event['event_id']}")
    expect(page.locator("#legend")).to_contain_text(event["time"][:10])
    found = shown(page)
    assert (found["instrument"], found["chosen"]) == ("USD_SEK", event["event_id"])
    times = [candle["time"] for candle in found["candles"]]
    assert event["time"] in times
    assert times == sorted(set(times))


def test_a_link_to_an_event_that_is_none_says_so(browser: Browser, server: Server) -> None:
    with opened(browser, expected=("404",)) as page:
        page.goto(f"{server.url}?instrument=EUR_USD&event=00000000-0000-4000-8000-000000000000")
        expect(page.locator("#drawer")).to_contain_text("There is no such event")


def test_the_drawer_has_every_feature(page: Page, server: Server) -> None:
    event = server.market.events(rule="volume_spike")[0]
    page.goto(f"{server.url}?instrument={event['instrument']}&event={event['event_id']}")
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("× usual for the hour")
    of = server.market.event(event["event_id"])
    assert of is not None
    names = drawer.locator("dt[title]").evaluate_all("all => all.map(one => one.title)")
    assert set(of["features"]) - {"instrument", "time"} <= set(names)


def test_times_by_the_chosen_zone(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=events")
    first = page.locator("#view-events tbody td").first
    expect(first).to_contain_text("15:00")
    page.locator("#zone").select_option("ny")
    expect(first).to_contain_text("10:00")
    expect(page).to_have_url(re.compile("zone=ny"))
    expect(page.locator("#view-events thead")).to_contain_text("New York")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_follow_the_system_until_switched_and_then_are_remembered(
    browser: Browser, server: Server, scheme: str
) -> None:
    with opened(browser, color_scheme=scheme) as page:
        page.goto(server.url)
        ready(page)
        systems = _background(page)
        assert (systems < 128) == (scheme == "dark")
        page.locator("#theme").click()
        assert (_background(page) < 128) == (scheme == "light")
        page.reload()
        ready(page)
        assert (_background(page) < 128) == (scheme == "light")
        assert "theme" not in page.url


def _background(page: Page) -> int:
    color = page.locator("body").evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
    return int(re.findall(r"\d+", color)[0])


def test_operations_show_passes_tables_and_what_is_wrong(page: Page, server: Server) -> None:
    page.goto(f"{server.url}?view=operations")
    view = page.locator("#view-operations")
    expect(view.locator("svg.plot rect").first).to_be_visible()
    for text in ("dead letter on ntfy", "CAD/CHF", "the source knows no USD_ZAR", "market closed", "48.3 MB", "503"):
        expect(view).to_contain_text(text)
    expect(view.get_by_role("link", name="Dagster")).to_have_attribute("href", "http://127.0.0.1:3000")
    view.get_by_role("button", name="H4").click()
    expect(view.locator("table.passes tbody tr")).to_have_count(
        len([one for one in server.market.passes if one["granularity"] == "H4"])
    )
