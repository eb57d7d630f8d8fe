"""Dagster's own storage on Postgres, as deploy/dagster-postgres.yaml has it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy.engine import make_url

from spike_assets.definitions import build_defs
from spike_assets.granularity import H1
from spike_assets.pipeline.verify import verify
from spike_assets.store import open_store
from spike_assets_tests.defs.running import INSTRUMENTS, KEYS, STRETCH, ephemeral, market, run, state
from spike_assets_tests.postgres import PASSWORD, empty_postgres, postgres, server
from spike_assets_tests.support import make_pipeline

__all__ = ["empty_postgres", "postgres", "server"]

ROOT = Path(__file__).parents[1]


def shipped(path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return read


def test_all_but_the_storage_is_as_on_one_machine() -> None:
    one, many = shipped("dagster.yaml"), shipped("deploy/dagster-postgres.yaml")
    del one["event_log_storage"], one["run_storage"], one["schedule_storage"], many["storage"]
    assert one == many


@dg.asset
def one_row() -> None:
    pass


def test_dagster_keeps_its_runs_on_postgres(
    empty_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two instances, as on two machines: what one writes the other reads."""
    config, at = shipped("deploy/dagster-postgres.yaml"), make_url(empty_postgres)
    config["storage"]["custom"]["config"]["postgres_db"]["port"] = at.port
    for name, value in {"HOST": at.host, "USERNAME": at.username, "PASSWORD": at.password, "DB": at.database}.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", str(value))
    for home in ("one", "two"):
        (tmp_path / home).mkdir()
        (tmp_path / home / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path / "one")) as here:
        result = dg.materialize([one_row], instance=here, tags={"by": "one"})
        assert result.success
    with dg.DagsterInstance.from_config(str(tmp_path / "two")) as there:
        runs = there.get_runs(dg.RunsFilter(tags={"by": "one"}))
        assert [run.run_id for run in runs] == [result.run_id]
        assert there.get_latest_materialization_event(dg.AssetKey("one_row")) is not None
        assert there.run_monitoring_enabled
        record = there.get_run_record_by_id(result.run_id)
        assert record is not None
        age = datetime.now(UTC) - record.create_timestamp
        assert timedelta(0) <= age < timedelta(hours=1), "the server's own zone is another one"


def test_a_run_of_dagster_stores_into_postgres(postgres: str) -> None:
    """The password is in no configuration that the UI would show."""
    pipeline = make_pipeline(
        market(), open_store(postgres), INSTRUMENTS, history_start=STRETCH.start, clock=lambda: STRETCH.end
    )
    with ephemeral() as instance:
        result = run(pipeline, KEYS[:-1], instance)
        assert result.success
        assert run(pipeline, KEYS[-1:], instance).success
        shown = "".join(map(str, instance.all_logs(result.run_id)))
        assert PASSWORD not in shown + str(build_defs(pipeline=pipeline).resources)
    done = state(pipeline)
    assert done is not None
    assert (done.last_processed, done.consecutive_failures) == (STRETCH.end, 0)
    assert verify(pipeline, H1).difference is None
