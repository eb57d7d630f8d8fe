"""The page as somebody reads it: first load, chart, table, filters, addresses, zones, themes."""

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from spike_assets_tests.dashboard.page_browser import opened, ready, shown, watched
from spike_assets_tests.dashboard.page_market import NAMES, Json
from spike_assets_tests.dashboard.page_server import Server

pytestmark = pytest.mark.browser


def rows(page: Page) -> list[str]:
    """Give the ids of the events in the table, as they stand."""
    found: list[str] = page.locator("#view-events tbody tr").evaluate_all("rows => rows.map(row => row.dataset.event)")
    return found


def table_is(page: Page, events: list[Json]) -> None:
    expect(page.locator("#view-events [role=status]")).to_contain_text(re.compile(rf"\b{len(events):,} events?$"))
    expect(page.locator("#view-events table")).not_to_have_attribute("aria-busy", "true")
    assert rows(page) == [event["event_id"] for event in events[:50]]


def markers_are(page: Page, server: Server, name: str) -> None:
    """Every event of the candles shown has its marker on its own candle."""
    times = [candle["time"] for candle in shown(page)["candles"]]
    expected = [e for e in reversed(server.market.events(instrument=[name])) if e["time"] >= times[0]]
    expect(page.locator("#canvas")).to_have_attribute("data-markers", str(len(expected)))
    found = shown(page)
    assert [(m["id"], m["time"]) for m in found["markers"]] == [(e["event_id"], e["time"]) for e in expected]
    assert {marker["time"] for marker in found["markers"]} <= set(times)


def test_first_load_shows_the_strip_the_chart_and_its_events(page: Page, still: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(still.url)
    ready(page)
    found = shown(page)
    assert (found["instrument"], found["granularity"]) == ("EUR_USD", "H1")
    everything = [candle["time"] for candle in still.market.candles_of("H1", "EUR_USD")]
    assert [candle["time"] for candle in found["candles"]] == everything[-500:]
    markers_are(page, still, "EUR_USD")
    cells = page.locator("#strip article")
    expect(cells).to_have_count(5)
    expect(cells.first).to_contain_text("Next close")
    expect(cells.first.get_by_role("timer")).to_have_text(re.compile(r"^0:54:\d\d$"))
    for text in ("Healthy", "Simulated, no real prices", "open until Fri 22:00"):
        expect(cells.last).to_contain_text(text)
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(len(NAMES))
    expect(page.locator(".below tbody tr")).to_have_count(50)
    expect(page.locator("#fresh")).to_have_text(re.compile(r"updated \d+ s ago"))
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {still.url.split("/")[2]}

    page.locator("#canvas").focus()
    page.keyboard.press("Home")
    expect(page.locator("#canvas")).to_have_attribute("data-candles", "1500")
    assert [candle["time"] for candle in shown(page)["candles"]] == everything[-1500:]


def test_another_instrument_has_its_own_decimals_and_the_legend_says_what_a_candle_is(
    page: Page, still: Server
) -> None:
    page.goto(still.url)
    ready(page)
    page.get_by_role("option", name="USD/HUF").click()
    expect(page).to_have_url(re.compile("instrument=USD_HUF"))
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("^USD/HUF H1: 500 candles"))
    expect(page.locator(".below caption")).to_have_text("Resistances of USD/HUF, H1")
    page.locator("#canvas").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    candle = still.market.candles_of("H1", "USD_HUF")[-2]
    for text in (
        "2025-11-19 13:00",
        f"O {candle['open']:.3f} ",
        f"H {candle['high']:.3f} ",
        f"ATR {candle['atr']:.3f}",
        f"Vol {candle['volume']:,.0f}",
        f"Rel vol {candle['relative_volume']:.1f} ×",
    ):
        expect(page.locator("#legend")).to_contain_text(text)
    expect(page.locator(".below tbody tr[data-event]").first).to_contain_text("USD/HUF")
    markers_are(page, still, "USD_HUF")


def test_filters_and_their_csv(page: Page, still: Server) -> None:
    page.goto(f"{still.url}?view=events")
    table_is(page, still.market.events())
    for name, value in (
        ("only", "CAD_CHF"),
        ("pattern", "LH"),
        ("rule", "volume_spike"),
        ("since", "24h"),
        ("suspect", "false"),
        ("granularity", "D"),
    ):
        select = page.locator(f"#view-events select[name={name}]")
        before = select.input_value()
        select.select_option(value)
        expect(page).to_have_url(re.compile(rf"{name}={value}"))
        expected = still.market.events(**({"instrument": [value]} if name == "only" else {name: value}))
        assert expected
        table_is(page, expected)
        with page.expect_download() as download:
            page.locator("#csv").click()
        assert len(download.value.path().read_text().splitlines()) == len(expected) + 1, name
        select.select_option(before)
    table_is(page, still.market.events())
    page.goto(f"{still.url}?view=events&pattern=HH&rule=volume_spike&only=EUR_USD")
    both = {"instrument": ["EUR_USD"], "pattern": "HH", "rule": "volume_spike"}
    table_is(page, still.market.events(**both))


def test_sorted_there_and_back_paged_and_marked_while_young(page: Page, still: Server) -> None:
    page.goto(f"{still.url}?view=events")
    table_is(page, still.market.events())
    young = [event for event in still.market.events() if event["closed_at"] == "2025-11-19T15:00:00Z"]
    expect(page.locator("#view-events tr.fresh")).to_have_count(len(young))
    expect(page.locator("#view-events tr.fresh").first).to_contain_text("new")
    header = page.get_by_role("columnheader", name="Level")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    table_is(page, still.market.events(sort="-level"))
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    table_is(page, still.market.events(sort="level"))
    page.go_back()
    page.go_back()
    expect(header).to_have_attribute("aria-sort", "none")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#view-events [role=status]")).to_contain_text("51–100 of")
    assert rows(page) == [event["event_id"] for event in still.market.events()[50:100]]


def at(page: Page, event: Json) -> None:
    """The chart is at the event's candle, and the drawer tells of it."""
    expect(page.locator("#drawer-title")).to_contain_text(f"{event['level']:.{event['decimals']}f}")
    expect(page.locator(f"#view-chart [data-event='{event['event_id']}']")).to_have_class(re.compile("chosen"))
    expect(page.locator("#legend")).to_contain_text("resistance")
    found = shown(page)
    assert (found["instrument"], found["chosen"]) == (event["instrument"], event["event_id"])
    index = [candle["time"] for candle in found["candles"]].index(event["time"])
    assert found["range"]["from"] < index < found["range"]["to"]


def test_a_click_goes_to_the_candle_and_opens_the_drawer(page: Page, still: Server) -> None:
    event = still.market.events()[30]
    page.goto(f"{still.url}?view=events")
    page.locator(f"#view-events [data-event='{event['event_id']}'] td").nth(2).click()
    expect(page).to_have_url(re.compile(event["event_id"]))
    page.mouse.move(0, 0)  # the chart is now under it, and says what it is over
    at(page, event)
    expect(page.locator("#legend")).to_contain_text(event["time"][:10])
    names = page.locator("#drawer dt[title]").evaluate_all("all => all.map(one => one.title)")
    of = still.market.event(event["event_id"])
    assert of is not None
    assert set(of["features"]) - {"instrument", "time"} <= set(names)
    page.go_back()
    expect(page.locator("#view-events")).to_be_visible()
    expect(page.locator("#drawer")).to_be_hidden()
    page.go_forward()
    at(page, event)


@pytest.mark.parametrize("place", ["", "instrument=USD_SEK&granularity=H1&"])
def test_a_deep_link_goes_to_its_candle_also_where_the_event_comes_after_everything_else(
    page: Page, still: Server, place: str
) -> None:
    event = still.market.events(instrument=["USD_SEK"])[20]
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/events/*", hold)
    page.goto(f"{still.url}?{place}event={event['event_id']}")
    expect(page.locator("#strip article")).to_have_count(5)  # the snapshot is here
    if place:
        ready(page)
    held[0].continue_()
    at(page, event)


def test_a_deep_link_restores_the_whole_view(page: Page, still: Server) -> None:
    event = still.market.events(instrument=["GBP_USD"])[20]
    page.goto(f"{still.url}?instrument=GBP_USD&granularity=H1&event={event['event_id']}&zone=ny")
    at(page, event)
    expect(page.locator("#drawer")).to_contain_text("New York")
    expect(page.locator("#zone")).to_have_value("ny")
    expect(page.get_by_role("listbox").get_by_role("option", selected=True)).to_contain_text("GBP/USD")
    page.reload()
    at(page, event)
    expect(page.locator("#drawer")).to_contain_text("New York")


def test_a_link_to_an_old_event_reads_back_to_its_candle_and_one_to_none_says_so(
    desktop: BrowserContext, still: Server
) -> None:
    event = still.market.events(instrument=["USD_SEK"])[-3]
    with watched(desktop, expected=("404",)) as page:
        page.goto(f"{still.url}?event={event['event_id']}")
        expect(page.locator("#legend")).to_contain_text(event["time"][:10])
        found = shown(page)
        assert (found["instrument"], found["chosen"]) == ("USD_SEK", event["event_id"])
        times = [candle["time"] for candle in found["candles"]]
        assert event["time"] in times
        assert times == sorted(set(times))
        page.goto(f"{still.url}?instrument=EUR_USD&event=00000000-0000-4000-8000-000000000000")
        expect(page.locator("#drawer")).to_contain_text("There is no such event")


def test_dark_and_light_follow_the_system_until_switched_and_then_are_remembered(
    browser: Browser, still: Server
) -> None:
    with opened(browser, color_scheme="light") as page:
        page.goto(f"{still.url}?view=operations")
        button = page.locator("#theme")
        expect(button).to_have_attribute("aria-label", "Switch to dark colours")
        assert not dark(page)
        page.emulate_media(color_scheme="dark")
        expect(button).to_have_attribute("aria-label", "Switch to light colours")
        assert dark(page)
        button.click()
        assert not dark(page)
        page.reload()
        expect(button).to_have_attribute("aria-label", "Switch to dark colours")
        assert not dark(page)
        assert "theme" not in page.url


def dark(page: Page) -> bool:
    color = page.locator("body").evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
    return int(re.findall(r"\d+", color)[0]) < 128


def test_operations_show_passes_their_runs_tables_and_what_is_wrong_by_the_chosen_zone(
    page: Page, still: Server
) -> None:
    page.goto(f"{still.url}?view=operations")
    view = page.locator("#view-operations")
    expect(view.locator("svg.plot rect").first).to_be_visible()
    for text in ("dead letter on ntfy", "CAD/CHF", "the source knows no USD_ZAR", "market closed", "48.3 MB", "503"):
        expect(view).to_contain_text(text)
    expect(view.get_by_role("link", name="Dagster ↗")).to_have_attribute("href", "http://127.0.0.1:3000")
    run = next(one for one in still.market.passes if one["trigger"] == "schedule")
    link = view.locator(f"[data-pass='{run['pass_id']}']")
    expect(link).to_have_attribute("href", f"http://127.0.0.1:3000/runs/{run['pass_id']}")
    expect(view.locator("table.passes tbody tr").first.locator("th")).to_have_text("15:05")
    page.locator("#zone").select_option("ny")
    expect(view.locator("table.passes tbody tr").first.locator("th")).to_have_text("10:05")
    expect(page).to_have_url(re.compile("zone=ny"))
    view.get_by_role("button", name="H4").click()
    expect(view.locator("table.passes tbody tr")).to_have_count(
        len([one for one in still.market.passes if one["granularity"] == "H4"])
    )
