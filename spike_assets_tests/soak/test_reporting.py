"""What passes report to a real Dagster webserver, its code location loaded, is shown as materialized in its graph."""

import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from spike_assets.cli.children import Child
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window, last_closed
from spike_assets.partition_keys import partition_key, partition_times
from spike_assets.reporting import ASSETS
from spike_assets_tests.cli.running import ok
from spike_assets_tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
BACK = {"H1": timedelta(days=2), "H4": timedelta(days=5), "D": timedelta(days=20), "W": timedelta(days=60)}
_QUERY = """
query Q($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode {
      partitionStats { numMaterialized numFailed }
      assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } }
    }
  }
}"""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Run the Dagster UI over the shipped definitions, on an empty home."""
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "DAGSTER_", "OANDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SPIKE_DATABASE", "spike.duckdb")
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD")
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    place = ["--host", "127.0.0.1", "--port", str(free), "--workspace", str(ROOT / "workspace.yaml")]
    ui = Child("the UI", ["dagster_webserver", *place], os.environ, tmp_path / "ui.log")
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{free}")
    try:
        end = time.monotonic() + PATIENCE
        while not answers(free):
            ui.require_alive()
            assert time.monotonic() < end, ui.last_words()
            time.sleep(0.2)
        yield free
    finally:
        ui.stop()


def answers(port: int) -> bool:
    try:
        return shown(port, "d", "candles") is not None
    except (OSError, HTTPException):
        return False


def shown(port: int, *path: str) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        body = json.dumps({"query": _QUERY, "variables": {"path": path}})
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["data"]["assetNodeOrError"]
    finally:
        connection.close()


@pytest.mark.soak
def test_what_is_reported_is_shown_as_materialized(port: int) -> None:
    for granularity in GRANULARITIES.values():
        start = datetime.now(UTC) - BACK[granularity.name]
        ok("backfill", granularity.name, "--from", f"{start:%Y-%m-%dT%H:%M}")
        expected = keys(granularity, start)
        for asset in ASSETS:
            asset_ = shown(port, granularity.schema, asset)
            assert asset_["partitionStats"] == {"numMaterialized": len(expected), "numFailed": 0}, asset
            ranges = asset_["assetPartitionStatuses"]["ranges"]
            assert {one["status"] for one in ranges} == {"MATERIALIZED"}
            assert (ranges[0]["startKey"], ranges[-1]["endKey"]) == (expected[0], expected[-1])


def keys(granularity: Granularity, start: datetime) -> list[str]:
    minute = start.replace(second=0, microsecond=0)
    opens = partition_times(granularity, Window(minute, last_closed(granularity, datetime.now(UTC)).end))
    return [partition_key(granularity, open_) for open_ in opens.to_pydatetime()]
