"""`spike copy`, as a person types it."""

import pytest

from spike_assets_tests.cli.running import HISTORY, error, ok, run
from spike_assets_tests.postgres import PASSWORD, empty_postgres, server

__all__ = ["empty_postgres", "server"]


def test_there_and_back(empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ok("backfill", "D", *HISTORY)
    before = ok("verify", "D")
    there = run("copy", "--to", empty_postgres)
    assert there.exit_code == 0
    lines = there.stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "SHA-256"]
    assert [line.split()[0] for line in lines[1:6]] == ["d.candles", "d.atr", "d.events", "d.features", "d.alerts"]
    assert max(map(len, lines[:-1])) <= 80
    assert lines[-1].endswith("and equal there")
    assert PASSWORD not in there.output
    assert there.stderr.splitlines()[-1] == "copy  100%  all"
    assert ok("copy", "--from", empty_postgres, "--to", "back.duckdb").splitlines()[:-1] == lines[:-1]
    assert error("copy", "--to", empty_postgres).startswith("postgresql://spike@127.0.0.1:")
    monkeypatch.setenv("SPIKE_DATABASE", empty_postgres)
    assert ok("verify", "D") == before
    assert "Database: postgresql://spike@127.0.0.1:" in run("status").stdout
    assert error("copy", "--from", "back.duckdb").endswith("nothing was changed, give a new database")
    assert run("copy").exit_code == 2


def test_the_password_is_not_printed(empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_DATABASE", empty_postgres)
    said = ok("settings")
    assert PASSWORD not in said
    assert empty_postgres.split(":")[2].split("@", maxsplit=1)[0] not in said
    assert "# SPIKE_DATABASE=postgresql://spike:…@127.0.0.1:" in said
    monkeypatch.setenv("SPIKE_DATABASE", "postgresql://spike@db/spike")
    assert "\nSPIKE_DATABASE=postgresql://spike@db/spike\n" in ok("settings")
