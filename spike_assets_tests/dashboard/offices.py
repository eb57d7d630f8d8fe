"""A dashboard over the small market of `alerts.desk`, with its clock: what its tests are driven by."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.exceptions import StarletteDeprecationWarning

from spike_assets.dashboard.app import create_app
from spike_assets.dashboard.site import Site
from spike_assets.dashboard.watcher import Pace
from spike_assets.settings import Settings, load_settings
from spike_assets.store import open_store
from spike_assets_tests.alerts.desk import Desk

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StarletteDeprecationWarning)  # it would rather have httpx2, which is a beta
    from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession

__all__ = ["TestClient", "WebSocketDenialResponse", "WebSocketTestSession"]

HOST = "127.0.0.1:8000"
HOME = f"http://{HOST}"
LIVE = f"ws://{HOST}/api/live"
OWN = {"Origin": HOME, "X-Spike": "1"}
"""What the page sends when it changes something."""
TOKEN = "correct-horse-battery-staple"  # noqa: S105 - opens nothing
_FILE = "spike.duckdb"

QUICK = Pace(poll=0.01, blind=0.01, heartbeat=3600.0, idle=3600.0)
"""Looks at once; nothing comes by the mere passing of time."""

PEAKS = (("EUR_USD", 20), ("EUR_USD", 23), ("EUR_USD", 28), ("GBP_USD", 28), ("EUR_GBP", 28))
"""Events of the history: five, three of them at once, which makes a group."""


def begin(folder: Path) -> Desk:
    """Make a platform that has loaded 26 hours and run four passes since, in a file of its own."""
    found = Desk(peaks=PEAKS, store=open_store(str(folder / _FILE))).begin(26)
    for n in range(27, 31):
        found.run(n)
    return found


def copy(begun: Path, folder: Path) -> Desk:
    """Give the platform that was begun in another folder, at the time of its last pass."""
    for name in (_FILE, f"{_FILE}.wal"):
        if (begun / name).exists():
            shutil.copyfile(begun / name, folder / name)
    return Desk(peaks=PEAKS, store=open_store(str(folder / _FILE))).at(30)


def settings(**given: Any) -> Settings:
    """Give settings that nothing but these words has set."""
    return load_settings(_env_file=None, **given)


def site(of: Desk) -> Site:
    return Site(of.pipeline)


@contextmanager
def visitor(of: Desk, *, headers: dict[str, str] | None = None, **given: Any) -> Iterator[TestClient]:
    """Give a client of the dashboard, whose watcher runs."""
    pace, queued = given.pop("pace", QUICK), given.pop("queued", None)
    app = create_app(of.pipeline, settings(**given), pace=pace, queued=queued)
    with TestClient(app, base_url=HOME, headers=headers, follow_redirects=False) as client:
        yield client
