"""The warm launcher where Dagster keeps its runs on Postgres."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from sqlalchemy.engine import make_url

from spike_assets_tests.defs.launcher.launching import ROOT, Runs, environment, opened, prepare, until
from spike_assets_tests.postgres import empty_postgres, server

__all__ = ["empty_postgres", "server"]


def test_runs_are_forked_off_a_server_that_holds_no_connection(
    empty_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load((ROOT / "deploy" / "dagster-postgres.yaml").read_text(encoding="utf-8"))
    at = make_url(empty_postgres)
    settings["storage"]["custom"]["config"]["postgres_db"]["port"] = at.port
    prepare(tmp_path)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with environment(tmp_path), monkeypatch.context() as patch:
        for name, value in {
            "HOST": at.host,
            "USERNAME": at.username,
            "PASSWORD": at.password,
            "DB": at.database,
        }.items():
            patch.setenv(f"DAGSTER_PG_{name}", str(value))
        with dg.DagsterInstance.get() as instance:
            runs = Runs(tmp_path, instance)
            run_id = runs.launch("quick")
            assert runs.status(run_id) == "SUCCESS"
            worker = runs.worker(run_id)
            until(lambda: not worker.process.lives)
            # Until it has buried its child, it has a handle of it.
            until(lambda: opened(worker.server) == ["socket"], lambda: str(opened(worker.server)))
            (tmp_path / "hold").touch()
            run_id = runs.launch("held")
            runs.worker(run_id)
            assert runs.launcher.terminate(run_id)
            assert runs.status(run_id) == "CANCELED"
