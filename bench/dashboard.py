"""The dashboard: how soon a page shows a chart and another one, how soon it hears of a pass, what a hundred cost."""

import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.passes import Timings
from spike_assets.instruments import INSTRUMENTS
from spike_assets_tests.dashboard.crowd import crowd
from spike_assets_tests.dashboard.page_browser import chromium, context, watched
from spike_assets_tests.dashboard.served import Served

PAGES, PASSES = 100, 30

_DRAWN = "() => document.querySelector('[data-candles]')?.dataset.candles > 0"
_SWITCH = """name => new Promise(done => {
  const began = performance.now();
  const seen = () => document.querySelector('[data-candles]')?.dataset.instrument === name
    ? done(performance.now() - began) : requestAnimationFrame(seen);
  document.querySelector(`[data-instrument="${name}"]`).click();
  seen();
})"""


@dataclass(frozen=True)
class Looked:
    """Milliseconds: of a page on a large store, and of passes that one page and a hundred listen to."""

    page: Timings
    alone: Timings
    crowded: Timings


def measure(database: Path, folder: Path, loads: int) -> Looked:
    """Load pages on a store of all instruments; then let pages listen to passes over a small one."""
    page = Timings()
    with Served(str(database), INSTRUMENTS, folder / "dashboard.log") as server:
        _query(server.port, page, loads)
        with chromium() as browser:
            for n in range(loads):
                with context(browser) as fresh, watched(fresh) as tab:
                    tab.goto(server.url)
                    tab.wait_for_function(_DRAWN)
                    page.add("candles drawn", tab.evaluate("performance.now()"))
                    page.add("first paint", tab.evaluate("performance.getEntriesByType('paint')[0].startTime"))
                    page.add("another instrument drawn", tab.evaluate(_SWITCH, INSTRUMENTS[(n + 7) % len(INSTRUMENTS)]))
    return Looked(page, *(_listened(folder / str(pages), pages) for pages in (1, PAGES)))


def _query(port: int, timings: Timings, n: int) -> None:
    for page in range(n):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        start = time.perf_counter()
        connection.request("GET", f"/api/events?granularity=H1&limit=1000&page={page + 1}")
        answer = connection.getresponse()
        body = answer.read()
        timings.add("1,000 events", (time.perf_counter() - start) * 1000)
        if answer.status != 200 or body.count(b'"event_id"') != 1000:
            raise RuntimeError(f"{answer.status}: {body[:200]!r}")
        connection.close()


def _listened(folder: Path, pages: int) -> Timings:
    folder.mkdir()
    timings, ran = Timings(), crowd(folder, 1, PASSES, 1.0, pages - 1)
    for took, late in zip(ran.passes, ran.late, strict=True):
        timings.add("pass", took * 1000)
        timings.add("pass ended → last page heard", late * 1000)
    return timings
