"""What monitoring collects is what the store holds."""

import threading
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from spike_assets.dashboard.metrics import Facts, Metrics
from spike_assets.granularity import H1
from spike_assets.store.tables import ALERTS, CANDLES, EVENTS
from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import TestClient, visitor
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER


def scraped(client: TestClient) -> list[Sample]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: Any) -> float:
    (found,) = [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return found


def test_metrics(desk: Desk) -> None:
    with visitor(desk) as client, client.websocket_connect("ws://127.0.0.1:8000/api/live") as feed:
        feed.receive_json()
        samples = scraped(client)
    with desk.pipeline.store.reading(FOREVER) as session:
        for table in (CANDLES, EVENTS, ALERTS):
            assert value(samples, f"spike_{table.name}", granularity="H1") == session.data.count(H1, table)
        passes = session.queries.count_passes()
    for (granularity, status), n in passes.items():
        assert value(samples, "spike_passes_total", granularity=granularity, status=status) == n
    assert value(samples, "spike_healthy") == 0  # H4, D and W never ran
    assert value(samples, "spike_market_open") == 1
    assert value(samples, "spike_lag_seconds", granularity="H1") == 0
    assert value(samples, "spike_consecutive_failures", granularity="H1") == 0
    assert value(samples, "spike_last_success_timestamp_seconds", granularity="H1") == hour(30 + 1 / 12).timestamp()
    assert value(samples, "spike_deliveries", channel="desk", status="sent") == 1
    assert value(samples, "spike_outbox_alerts", channel="desk", status="told") == 4
    assert value(samples, "spike_feed_clients") == 1
    assert value(samples, "process_resident_memory_bytes") > 0
    assert not [one for one in samples if one.name == "spike_lag_seconds" and one.labels["granularity"] == "D"]


def test_stage_seconds_are_a_histogram(desk: Desk) -> None:
    with visitor(desk) as client:
        samples = scraped(client)
        told = client.get("/api/passes").json()["passes"]
    seconds = [one["stages"]["atr"] / 1000 for one in told if "atr" in one["stages"]]
    labels = {"granularity": "H1", "stage": "atr"}
    buckets = [
        (float(one.labels["le"]), one.value)
        for one in samples
        if one.name == "spike_stage_seconds_bucket" and labels.items() <= one.labels.items()
    ]
    assert [n for _, n in buckets] == [sum(one <= limit for one in seconds) for limit, _ in buckets]
    assert value(samples, "spike_stage_seconds_count", **labels) == len(seconds)
    assert value(samples, "spike_stage_seconds_sum", **labels) == pytest.approx(sum(seconds))


def test_failures_and_lag_are_counted(desk: Desk) -> None:
    desk.source.fetch = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        desk.run(31)
    desk.at(33)
    with visitor(desk) as client:
        samples = scraped(client)
    assert value(samples, "spike_consecutive_failures", granularity="H1") == 1
    assert value(samples, "spike_passes_total", granularity="H1", status="failed") == 1
    assert value(samples, "spike_unprocessed_candle_times", granularity="H1") == 3
    assert value(samples, "spike_lag_seconds", granularity="H1") == 2 * 3600


def test_a_counter_never_falls(desk: Desk) -> None:
    fetch, during = desk.source.fetch, list[Sample]()

    def scraping(*args: Any, **how: Any) -> Any:
        during.extend(scraped(client))
        return fetch(*args, **how)

    with visitor(desk) as client:
        desk.source.fetch = scraping  # type: ignore[method-assign]
        desk.run(31)
        behind = {(one.name, *one.labels.items()): one.value for one in scraped(client)}
    passes = [one for one in during if one.name == "spike_passes_total"]
    assert passes
    assert all(behind[one.name, *one.labels.items()] >= one.value for one in passes)


def test_they_are_made_where_nobody_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real, threads = Metrics.text, list[str]()

    def text(self: Metrics, found: Facts) -> bytes:
        threads.append(threading.current_thread().name)
        return real(self, found)

    monkeypatch.setattr(Metrics, "text", text)
    with visitor(desk) as client:
        scraped(client)
    assert threads[0].startswith("dashboard-reader")
