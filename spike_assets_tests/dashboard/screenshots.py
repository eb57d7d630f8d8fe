"""Pictures of the page: desktop and phone, light and dark.

By hand: `python -m spike_assets_tests.dashboard.screenshots OUTDIR`, or `make screenshots` for those of the README.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from spike_assets_tests.dashboard.page_browser import chromium, opened, ready
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


DESKTOP, PHONE = Screen("desktop", 1440, 900), Screen("phone", 390, 844, phone=True, scale=2)
THEMES = ("light", "dark")
VIEWS = ("chart", "event", "events", "alerts", "operations")


@dataclass(frozen=True)
class Picture:
    """What is to be seen in a file."""

    name: str
    screen: Screen
    theme: str
    view: str


README = (
    Picture("dashboard", DESKTOP, "light", "event"),
    Picture("dashboard-dark", DESKTOP, "dark", "chart"),
    Picture("dashboard-phone", PHONE, "dark", "alerts"),
    Picture("dashboard-phone-light", PHONE, "light", "chart"),
)


def every(views: Sequence[str]) -> list[Picture]:
    """Give the pictures of some views on every screen in both themes."""
    screens = (DESKTOP, PHONE)
    return [Picture(f"{s.name}-{theme}-{view}", s, theme, view) for s in screens for theme in THEMES for view in views]


def take(folder: Path, pictures: Sequence[Picture]) -> Iterator[Path]:
    """Take pictures; give where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with Server(Market()) as server:
        for screen in (DESKTOP, PHONE):
            # A chart measures real pixels: an emulated scale alone leaves it blurred.
            with chromium(f"--force-device-scale-factor={screen.scale}") as browser:
                for picture in pictures:
                    if picture.screen is screen:
                        yield _take(browser, server, picture, folder / f"{picture.name}.png")


def _take(browser: Browser, server: Server, picture: Picture, path: Path) -> Path:
    screen = picture.screen
    how: dict[str, Any] = {
        "viewport": {"width": screen.width, "height": screen.height},
        "color_scheme": picture.theme,
        "device_scale_factor": screen.scale,
        "has_touch": screen.phone,
        "is_mobile": screen.phone,
        "reduced_motion": "reduce",
    }
    with opened(browser, **how) as page:
        _open(page, server, picture.view)
        page.screenshot(path=path)
    return path


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
    parser.add_argument("--readme", action="store_true", help="only those of the README, by their names there")
    chosen = parser.parse_args(arguments)
    for path in take(chosen.folder, README if chosen.readme else every(chosen.views)):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
