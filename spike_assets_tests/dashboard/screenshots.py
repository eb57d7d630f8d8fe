"""Pictures of the page: desktop and phone, light and dark.

By hand: `python -m spike_assets_tests.dashboard.screenshots OUTDIR`.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from spike_assets_tests.dashboard.page_browser import chromium, ready
from spike_assets_tests.dashboard.page_market import Market
from spike_assets_tests.dashboard.page_server import Server


@dataclass(frozen=True)
class Screen:
    """A kind of screen."""

    name: str
    width: int
    height: int
    phone: bool = False
    scale: int = 1


SCREENS = (Screen("desktop", 1440, 900), Screen("phone", 390, 844, phone=True, scale=2))
VIEWS = ("chart", "event", "events", "alerts", "operations")


def take(folder: Path, views: tuple[str, ...] = VIEWS) -> list[Path]:
    """Take all pictures; give where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    market = Market()
    found = []
    with Server(market) as server:
        for screen in SCREENS:
            # A chart measures real pixels: an emulated scale alone leaves it blurred.
            with chromium(f"--force-device-scale-factor={screen.scale}") as browser:
                for theme in ("light", "dark"):
                    found += _take(browser, server, screen, theme, folder, views)
    return found


def _take(
    browser: Browser, server: Server, screen: Screen, theme: str, folder: Path, views: tuple[str, ...]
) -> list[Path]:
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=screen.scale,
        has_touch=screen.phone,
        is_mobile=screen.phone,
        reduced_motion="reduce",
    )
    page = context.new_page()
    found = []
    for view in views:
        _open(page, server, view)
        path = folder / f"{screen.name}-{theme}-{view}.png"
        page.screenshot(path=path, full_page=screen.phone and view == "chart")
        found.append(path)
    context.close()
    return found


def _open(page: Page, server: Server, view: str) -> None:
    market = server.market
    if view == "event":
        levels = [e for e in market.events(instrument=["EUR_USD"]) if e["rules"]]
        page.goto(f"{server.url}?instrument=EUR_USD&event={levels[2]['event_id']}")
        page.locator("#drawer").wait_for()
    else:
        page.goto(f"{server.url}?instrument=EUR_USD&view={view}")
    page.locator("#strip .cell").first.wait_for()
    page.wait_for_load_state("networkidle")
    if view in {"chart", "event"}:
        ready(page)


def main(arguments: list[str] | None = None) -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--views", nargs="*", choices=VIEWS, default=VIEWS)
    chosen = parser.parse_args(arguments)
    for path in take(chosen.folder, tuple(chosen.views)):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
