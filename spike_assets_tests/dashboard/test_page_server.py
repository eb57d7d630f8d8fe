"""The made-up server of the page's tests answers as the dashboard does: what they hold, holds there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spike_assets.dashboard.watcher import Pace
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import HOME, LIVE, OWN, QUICK, TestClient, visitor
from spike_assets_tests.dashboard.page_market import Market
from spike_assets_tests.dashboard.page_server import Feed, Page

BY_NAME = {"reasons", "stages", "unavailable"}
"""Objects whose names are data: of rules, of stages, of instruments."""


@contextmanager
def made_up() -> Iterator[tuple[TestClient, Market, Feed]]:
    market, feed = Market(), Feed()
    with TestClient(Page(market, feed).application(), base_url=HOME, follow_redirects=False) as client:
        yield client, market, feed


def shape(value: Any, name: str = "") -> Any:
    """Give the names of all fields in JSON; None where nothing can be said of them."""
    if isinstance(value, dict) and name in BY_NAME:
        return None
    if isinstance(value, dict) and name == "instruments":
        return [both([shape(one) for one in value.values()])]
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [both([shape(one) for one in value])]
    return None


def both(shapes: list[Any]) -> Any:
    """Give what several things of one kind have, taken together."""
    known = [one for one in shapes if one is not None]
    if all(isinstance(one, dict) for one in known):
        names = {key for one in known for key in one}
        return {key: both([one.get(key) for one in known]) for key in names} if known else None
    return [both([inner for one in known for inner in one])]


def differences(real: Any, fake: Any, at: str) -> list[str]:
    """Give where two shapes differ; what one of them knows nothing of may be anything."""
    if real is None or fake is None:
        return []
    if isinstance(real, dict) and isinstance(fake, dict):
        odd = [
            f"{at}.{key} is only in the {'real' if key in real else 'fake'} one" for key in real.keys() ^ fake.keys()
        ]
        return odd + [
            one for key in real.keys() & fake.keys() for one in differences(real[key], fake[key], f"{at}.{key}")
        ]
    if isinstance(real, list) and isinstance(fake, list):
        return differences(real[0], fake[0], f"{at}[]")
    return [f"{at}: {real} and {fake}"]


def told(client: TestClient) -> dict[str, Any]:
    """Give the shapes of all that the page asks for."""

    def ask(path: str) -> Any:
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    one = "instrument=EUR_USD&granularity=H1"
    event = ask(f"/api/events?{one}")["events"][0]["event_id"]
    return {
        path: shape(ask(path))
        for path in (
            "/api/status",
            f"/api/candles?{one}&limit=50",
            f"/api/levels?{one}&from=2025-01-01T00:00:00Z",
            f"/api/events?{one}",
            "/api/alerts",
            "/api/passes?limit=100",
            "/api/operations",
        )
    } | {"/api/events/…": shape(ask(f"/api/events/{event}"))}


def heard(hear: Callable[[], Any], *kinds: str) -> dict[str, Any]:
    """Give the shapes of frames, and of changes by their kind, until all of these have come."""
    found: dict[str, Any] = {}
    while not {"snapshot", "delta", "heartbeat", *kinds} <= found.keys():
        frame = hear()
        for change in frame.pop("changes", []):
            found[change["kind"]] = both([found.get(change["kind"]), shape(change)])
        found[frame["type"]] = shape(frame)
    return found


KINDS = ("candles", "levels", "events", "alerts", "status", "pass")


def test_the_fake_answers_have_the_fields_of_the_real_ones(desk: Desk) -> None:
    pace = Pace(poll=QUICK.poll, blind=QUICK.blind, heartbeat=0.05)
    with visitor(desk, pace=pace) as client:
        client.post("/api/silences", json={"instrument": "EUR_CHF", "for": "1h"}, headers=OWN)
        answers = told(client)
        with client.websocket_connect(LIVE) as feed:
            desk.peak("GBP_USD", 30)
            desk.run(31)
            frames = heard(feed.receive_json, *KINDS)
    with made_up() as (client, market, feed):
        market.silences["EUR_USD"] = "2025-11-19T17:00:00Z"
        found = differences(answers, told(client), "")
        page = Page(market, feed)
        rest = [page.snapshot(), page.heartbeat()]
        while not any(change["kind"] == "alerts" for batch in feed.log for change in batch["changes"]):
            feed.push(market.advance())
        rest += feed.log
        found += differences(frames, heard(iter(rest).__next__, *KINDS), "")
    assert not found, "\n".join(sorted(found))
