"""A Dagster range backfill of H1, all assets, into an empty store: by where Dagster keeps its events, and how."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.engine import make_url

from bench.instruments import postgres_of_its_own
from bench.stores import END, pipeline_on
from spike_assets import market_hours
from spike_assets.defs import EVENT_BATCHES
from spike_assets.granularity import H1
from spike_assets.market_hours import Window

STOCK, OURS, POSTGRES = "Dagster's own settings, in one process", "as shipped, SQLite", "as shipped, Postgres"
ASSETS = 5
YEAR = 6_200
"""H1 candle times of a year."""
FEW = 200
"""Partitions with Dagster's own settings: a year of them takes a quarter of an hour."""

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ranged:
    """What a range run took."""

    partitions: int
    seconds: float

    @property
    def milliseconds(self) -> float:
        """Per partition and asset."""
        return self.seconds * 1000 / self.partitions / ASSETS


def measure(folder: Path) -> dict[str, Ranged]:
    """Run a range with each setting, in a process of its own."""
    found = {
        name: _measured(folder, name, count) for name, count in ((STOCK, FEW), (OURS, FEW), (f"{OURS}, a year", YEAR))
    }
    with postgres_of_its_own(folder).database(empty=True) as url:
        found[f"{POSTGRES}, a year"] = _measured(folder, POSTGRES, YEAR, url)
    return found


def _measured(folder: Path, name: str, partitions: int, url: str = "") -> Ranged:
    home = folder / f"range{len(list(folder.iterdir()))}"
    home.mkdir()
    variables = {"DAGSTER_HOME": str(home)}
    if name == STOCK:
        settings: Any = {"telemetry": {"enabled": False}}
    else:
        variables |= EVENT_BATCHES
        file = _ROOT / "deploy" / "dagster-postgres.yaml" if url else _ROOT / "dagster.yaml"
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    if url:
        at = make_url(url)
        settings["storage"]["custom"]["config"]["postgres_db"]["port"] = at.port
        there = {"HOST": at.host, "USERNAME": at.username, "PASSWORD": at.password, "DB": at.database}
        variables |= {f"DAGSTER_PG_{key}": str(value) for key, value in there.items()}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "bench.ranges", str(home / "range.duckdb"), str(partitions)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SPIKE_", "DAGSTER_"))}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=kept | variables)
    return Ranged(partitions, json.loads(done.stdout.splitlines()[-1]))


def _run_here(path: Path, partitions: int) -> float:
    from dagster import DagsterInstance  # noqa: PLC0415 - after the environment is known

    from spike_assets.definitions import build_defs  # noqa: PLC0415
    from spike_assets.defs.partitions import partition_key  # noqa: PLC0415

    start = market_hours.nth_candle_before(H1, END, partitions)
    times = market_hours.candle_times(H1, Window(start, END)).to_pydatetime()
    tags = {
        "dagster/asset_partition_range_start": partition_key(H1, times[0]),
        "dagster/asset_partition_range_end": partition_key(H1, times[-1]),
    }
    job = build_defs(pipeline=replace(pipeline_on(path), history_start=start)).resolve_job_def("h1_pass")
    with DagsterInstance.get() as instance:
        begun = time.perf_counter()
        job.execute_in_process(
            tags=tags, instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        )
        return time.perf_counter() - begun


if __name__ == "__main__":
    print(json.dumps(_run_here(Path(sys.argv[1]), int(sys.argv[2]))))
