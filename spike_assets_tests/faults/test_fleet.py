"""Functions, Dagster's runs and a backfill on two machines and one Postgres: the same ticks at once, any is killed."""

from datetime import UTC, datetime
from pathlib import Path

from spike_assets_tests.faults.fleet import storm
from spike_assets_tests.postgres import Server

FIRST = datetime(2025, 3, 11, 3, tzinfo=UTC)


def test_any_of_them_is_killed_and_nothing_is_lost_doubled_or_told_twice(server: Server, tmp_path: Path) -> None:
    with server.database() as database, server.database(empty=True) as dagster:
        storm(tmp_path, database, dagster, FIRST, ticks=4, seed=1)
