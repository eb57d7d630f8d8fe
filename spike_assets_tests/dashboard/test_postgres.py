"""The dashboard over Postgres says what it says over DuckDB."""

from typing import Any

from spike_assets.store import open_store
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import OWN, PEAKS, visitor
from spike_assets_tests.dashboard.test_live import page, until
from spike_assets_tests.postgres import postgres, server
from spike_assets_tests.support import MemoryEngine

__all__ = ["postgres", "server"]

PATHS = (
    "/api/status",
    "/api/candles?granularity=H1&instrument=EUR_USD",
    "/api/levels?granularity=H1&instrument=EUR_USD&from=2025-03-01T00:00:00Z",
    "/api/events?granularity=H1&sort=-level",
    "/api/events?granularity=H1&rule=psychological_level&pattern=HH",
    "/api/events.csv?granularity=H1",
    "/api/features?granularity=H1&instrument=EUR_USD",
    "/api/alerts?granularity=H1&instrument=EUR_USD",
    "/api/silences",
    "/api/passes",
    "/api/operations",
)
RANDOM = {"database", "pass_id", "delivery_id", "run_url", "stages", "digest_id", "duration_ms", "milliseconds"}


def said(store: Store) -> dict[str, Any]:
    desk = Desk(peaks=PEAKS, store=store).load(26).later(minutes=1)  # two passes of one instant have no order
    desk.run()
    for n in range(27, 31):
        desk.run(n)
    with visitor(desk) as client:
        ids = [one["alert_id"] for one in client.get("/api/alerts").json()["alerts"]]
        assert client.post("/api/alerts/acknowledge", headers=OWN, json={"alert_ids": ids}).status_code == 204
        return {
            path: (
                answer.status_code,
                without(answer.json() if "json" in answer.headers["content-type"] else answer.text),
            )
            for path in PATHS
            for answer in [client.get(path)]
        }


def without(found: Any) -> Any:
    """Give an answer without what is never the same twice."""
    if isinstance(found, dict):
        return {name: without(value) for name, value in found.items() if name not in RANDOM}
    return [without(one) for one in found] if isinstance(found, list) else found


def test_every_answer_is_that_of_duckdb(postgres: str) -> None:
    duck, elephant = said(Store(MemoryEngine())), said(open_store(postgres))
    for path in PATHS:
        assert elephant[path] == duck[path], path
        assert elephant[path][0] == 200, elephant[path]


def test_news_are_seen(postgres: str) -> None:
    """By the stamp of what can be seen: without one the watcher would look every so often."""
    desk = Desk(peaks=PEAKS, store=open_store(postgres)).begin(26)
    with visitor(desk) as client, page(client) as hear:
        assert hear()["type"] == "snapshot"
        desk.run(27)
        kinds, ended = set[str](), False
        while not (ended and "candles" in kinds):  # that it has begun may be told before
            changes = [change for frame in until(hear, "pass") for change in frame["changes"]]
            kinds |= {one["kind"] for one in changes}
            ended = any(one["kind"] == "pass" and one["pass"]["status"] == "success" for one in changes)
