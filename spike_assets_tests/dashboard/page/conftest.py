"""One chromium for all tests of the page in a process, and a server that nothing happens at.

Not for longer than this folder: while Playwright is there, no other test of the process could run an event loop.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from spike_assets_tests.dashboard.page_browser import CHROMIUM, chromium, context, watched
from spike_assets_tests.dashboard.page_market import Market
from spike_assets_tests.dashboard.page_server import Server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}; install chromium")
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def desktop(browser: Browser) -> Iterator[BrowserContext]:
    """Give a context whose cache goes on from test to test."""
    with context(browser) as found:
        yield found


@pytest.fixture
def page(desktop: BrowserContext) -> Iterator[Page]:
    """Give a page at which nothing may go wrong."""
    with watched(desktop) as found:
        yield found


@pytest.fixture(scope="package")
def still() -> Iterator[Server]:
    """Give a server whose market no test changes."""
    with Server(Market()) as found:
        yield found


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server of one's own: asked for before the page, so that the page closes first and misses nobody."""
    with Server(Market()) as found:
        yield found
