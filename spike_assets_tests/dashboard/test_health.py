"""`/healthz` says whether the process does its work, `/readyz` whether what it shows is fresh."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spike_assets.dashboard import reader, watcher
from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline import process
from spike_assets_tests.alerts.desk import NAMES, Desk
from spike_assets_tests.dashboard.offices import QUICK, visitor
from spike_assets_tests.dashboard.test_live import page
from spike_assets_tests.support import FOREVER


def test_a_platform_that_is_not_well_is_not_ready(desk: Desk) -> None:
    with visitor(desk) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ok": False, "reasons": ["H4, D, W never ran"]})
        assert client.get("/healthz").json() == {"ok": True, "reasons": []}


def test_a_platform_that_is_well_is_ready(desk: Desk) -> None:
    for granularity in GRANULARITIES.values():
        process(desk.pipeline, granularity, now=desk.now)
    with visitor(desk) as client:
        reads = client.app.state.reader.reads  # type: ignore[attr-defined]
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "reasons": []})
        assert client.app.state.reader.reads == reads  # type: ignore[attr-defined]  # anybody may ask


def test_nobody_goes_by_what_was_seen_long_ago(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_OLD", -1.0)
    with visitor(desk) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"][0].startswith("the store was last looked into ")


def test_a_store_that_cannot_be_read_is_told_everywhere(desk: Desk) -> None:
    path = Path(desk.pipeline.store.url)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    path.write_bytes(b"no database" * 1000)
    with visitor(desk, pace=replace(QUICK, patience=0.05)) as client:
        with page(client) as hear:
            status = hear()["status"]
            while "is not a DuckDB database" not in status["reasons"][0]:  # it did not answer at first
                status = hear().get("status", status)
            assert (status["healthy"], len(status["reasons"])) == (False, 1)
            assert status["instruments"] == [{"name": name, "decimals": 5} for name in NAMES]
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ok": False, "reasons": status["reasons"]})
        assert "is not a DuckDB database" in answer.json()["reasons"][0]
        answer = client.get("/api/events")
        assert answer.status_code == 500
        assert answer.json()["error"].endswith("set SPIKE_DATABASE to another path")
        assert client.get("/healthz").status_code == 200


def test_a_store_that_somebody_holds_is_asked_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with visitor(desk) as client:
        monkeypatch.setattr(reader, "_LIMIT", timedelta(milliseconds=20))
        with desk.pipeline.store.writing(FOREVER, "a long pass"):
            answer = client.get("/api/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "is in use by a long pass" in answer.json()["error"]
        assert client.get("/api/events").status_code == 200


def test_a_watcher_that_ends_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("spike_assets.dashboard.watcher.look", broken)
    with visitor(desk) as client:
        answer = client.get("/healthz")
        while answer.status_code == 200:  # it takes its first look in a thread
            answer = client.get("/healthz")
        assert answer.status_code == 500
        said = "nothing new is noticed any more (ZeroDivisionError('oh')); start the dashboard again"
        assert answer.json() == {"ok": False, "reasons": [said]}
        assert client.get("/readyz").json() == {"ok": False, "reasons": [said]}
        with page(client) as hear:
            status = hear()["status"]
            assert (status["healthy"], status["reasons"]) == (False, [said])
