"""What a range run says before it begins is in Dagster's tables on Postgres as Dagster itself would have it there."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy.engine import make_url

from spike_assets.defs import EVENT_BATCHES
from spike_assets.defs.postgres_storage import PostgresEvents
from spike_assets_tests.postgres import Server, empty_postgres, server

__all__ = ["empty_postgres", "server"]

ROOT = Path(__file__).parents[2]
PARTITIONS = dg.StaticPartitionsDefinition([f"p{n:02}" for n in range(20)])
RANGE = {"dagster/asset_partition_range_start": "p03", "dagster/asset_partition_range_end": "p11"}


def fill() -> None:
    """Do nothing."""


def may_fail(context: dg.AssetExecutionContext) -> None:
    if "fail" in context.run.tags:
        raise ValueError("as it was asked to")


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy`: nothing else makes one run of a range
    in_one_run = partial(dg.asset, partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    first = in_one_run(name="first")(fill)
    second = in_one_run(name="second", deps=["first"])(may_fail)


def held(storage: dict[str, Any], home: Path) -> dict[str, Any]:
    """Run a range that goes well and one that fails, and give what Dagster then knows of it."""
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, "storage": storage}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([first, second], instance=instance, tags=RANGE).success
        later = {**RANGE, "dagster/asset_partition_range_start": "p10", "dagster/asset_partition_range_end": "p15"}
        failing = {**later, "fail": "yes"}
        assert not dg.materialize([first, second], instance=instance, tags=failing, raise_on_error=False).success
        known: dict[str, Any] = {"class": type(instance.event_log_storage)}
        for asset in (first, second):
            key, kind = asset.key, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
            planned = instance.event_log_storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key))
            known[asset.key.to_user_string()] = {
                "planned": [record.partition_key for record in planned],
                "filled": instance.get_materialized_partitions(key),
                "failed": set(
                    instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                        key
                    )
                ),
                "known since": len(instance.get_asset_records([key])),
            }
    return known


@pytest.mark.parametrize("environment", [{}, EVENT_BATCHES], ids=["one by one", "in batches"])
def test_it_is_as_dagster_has_it(
    environment: dict[str, str], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shipped = yaml.safe_load((ROOT / "deploy" / "dagster-postgres.yaml").read_text(encoding="utf-8"))["storage"]
    found = []
    make: list[Callable[[Any], dict[str, Any]]] = [
        lambda config: {"custom": {**shipped["custom"], "config": config}},
        lambda config: {"postgres": config},
    ]
    for n, storage in enumerate(make):
        with server.database(empty=True) as url:
            at = make_url(url)
            password = {"hostname": at.host, "username": at.username, "password": at.password, "db_name": at.database}
            config = {"postgres_db": {**shipped["custom"]["config"]["postgres_db"], **password, "port": at.port}}
            found.append(held(storage(config), tmp_path / f"{n}"))
    ours, theirs = found
    assert (ours.pop("class") is PostgresEvents, theirs.pop("class") is PostgresEvents) == (True, False)
    assert ours == theirs
    assert len(ours["first"]["planned"]) == 15
    assert ours["second"]["failed"] == {f"p{n}" for n in range(10, 16)}
