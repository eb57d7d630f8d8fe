"""A browser for tests of the page, and what must not happen on any page: errors, and breaches of its own policy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=30_000)  # two cores are shared: slow is not wrong

AT_LEAST_ONE = re.compile(r"^[1-9]\d*$")

_ALIKE = ("tbody tr:nth-child(n+6)", "li.alert:nth-child(n+6)")

AWAY = ("WebSocket connection to", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
"""What Chromium itself says of a server that is away."""

_TELL_BREACHES = """
addEventListener("securitypolicyviolation", (breach) =>
  console.error(`policy: ${breach.violatedDirective} ${breach.blockedURI} ${breach.sample}`));
"""


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def context(browser: Browser, **how: Any) -> Iterator[BrowserContext]:
    """Give a person's browser: its window, its cache, its memory.

    Parameters
    ----------
    how
        What `Browser.new_context` takes.
    """
    found = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **how})
    found.add_init_script(_TELL_BREACHES)
    yield found
    found.close()


@contextmanager
def watched(of: BrowserContext, *, expected: tuple[str, ...] = ()) -> Iterator[Page]:
    """Open a page; at its end nothing may have gone wrong but what was expected.

    Parameters
    ----------
    expected
        Parts of messages that may come.
    """
    page = of.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.close()
    unexpected = [text for text in wrong if not any(part in text for part in expected)]
    assert not unexpected, unexpected


@contextmanager
def opened(browser: Browser, *, expected: tuple[str, ...] = (), **how: Any) -> Iterator[Page]:
    """Open a page in a browser of its own."""
    with context(browser, **how) as found, watched(found, expected=expected) as page:
        yield page


def ready(page: Page) -> None:
    """Wait until the chart shows candles and their levels."""
    expect(page.locator("#canvas")).to_have_attribute("data-markers", AT_LEAST_ONE)


def shown(page: Page) -> dict[str, Any]:
    """Give what the chart shows."""
    found: dict[str, Any] = page.evaluate("spike.chart.shown")
    return found


def try_now(page: Page) -> None:
    """Press the banner's button, unless the page was quicker to come back, or to leave, by itself."""
    with suppress(Error):
        page.evaluate("document.querySelector('#banner button')?.click()")


def axe(page: Page) -> None:
    """Bring axe to a page: once, before it is asked."""
    page.evaluate(AXE_SCRIPT)


def serious(page: Page, part: str = "html") -> list[str]:
    """Give what axe finds in a part of a page; of rows that are all alike it looks at the first ones."""
    found = page.evaluate(
        "([context, options]) => axe.run(context, options).then(found => found.violations)",
        [{"include": [[part]], "exclude": [[rows] for rows in _ALIKE]}, {"resultTypes": ["violations"]}],
    )
    return [
        f"{one['id']}: {node['html'][:140]} {node['failureSummary'][:200]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
