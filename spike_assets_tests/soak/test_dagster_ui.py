"""Dagster's own UI in a browser, over a demo: what an operator looks at, and a backfill launched by hand."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from spike_assets_tests.cli.running import finish, start
from spike_assets_tests.cli.test_children import free_port
from spike_assets_tests.cli.test_demo import hear, query
from spike_assets_tests.dashboard.page_browser import CHROMIUM, chromium, context
from spike_assets_tests.soak.test_ways import Tell

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")]

PARTITIONS = 200
PATIENCE = 90_000
"""Milliseconds."""
KEYS = """{ assetNodes(assetKeys: [{path: ["h1", "events"]}]) { partitionKeys } }"""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the port of a running demo of two instruments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD,USD_MXN")
    monkeypatch.setenv("SPIKE_DASHBOARD_PORT", str(free_port()))
    port = free_port()
    small = ("--home", "here", "--days", "40", "--partition-days", "16", "--live-hours", "3", "--pace", "0")
    process = start("demo", *small, "--port", str(port), environment={"PYTHONUNBUFFERED": "1"})
    hear(process, "from here on at real time")
    yield port
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser, context(browser) as found:
        page = found.new_page()
        page.set_default_timeout(PATIENCE)
        page.set_viewport_size({"width": 1500, "height": 950})
        expect.set_options(timeout=PATIENCE)
        yield page


def test_the_graph_is_green_and_a_backfill_by_hand_ends_green(port: int, page: Page, record_property: Tell) -> None:
    base = f"http://127.0.0.1:{port}"
    for group in ("h1", "h4", "d"):
        page.goto(f"{base}/locations/spike/asset-groups/{group}/lineage")
        expect(page.get_by_text("100% filled")).to_have_count(5)

    page.goto(f"{base}/automation")
    for name in ("alerts", "failed_passes", "h1_schedule", "h4_schedule", "d_schedule", "w_schedule"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()

    keys = query(port, KEYS)["assetNodes"][0]["partitionKeys"][-PARTITIONS:]
    page.goto(f"{base}/locations/spike/asset-groups/h1/lineage")
    page.get_by_role("button", name="Materialize all").click()
    chosen = page.get_by_placeholder("No matching partitions")
    chosen.fill(f'["{keys[0]}"..."{keys[-1]}"]')
    chosen.press("Tab")
    expect(page.get_by_text(f"{PARTITIONS} partitions", exact=True)).to_be_visible()
    page.get_by_role("button", name="Launch backfill").click()
    page.goto(f"{base}/runs?view=backfills")
    expect(page.get_by_text(f"{PARTITIONS} partitions")).to_be_visible()
    expect(page.get_by_text("Success", exact=True)).to_be_visible()
    duration = re.search(r"\d:\d\d:\d\d", page.inner_text("body"))
    record_property("a backfill of 200 partitions by hand", duration[0] if duration else "")

    page.goto(f"{base}/locations/spike/asset-groups/h1/lineage")
    expect(page.get_by_text("100% filled")).to_have_count(5)
    expect(page.get_by_text("1 / 1 Passed")).to_have_count(4)
    expect(page.get_by_text("4 / 4 Passed")).to_have_count(1)
    page.goto(f"{base}/assets/h1/events?view=checks")
    expect(page.get_by_text("This is a blocking asset check.")).to_be_visible()
    expect(page.get_by_text("Plots")).to_be_visible()
