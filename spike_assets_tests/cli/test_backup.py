"""`spike backup` and `spike restore`, as a person types them."""

import pytest

from spike_assets_tests.cli.running import HISTORY, error, ok, run
from spike_assets_tests.postgres import PASSWORD, empty_postgres, server

__all__ = ["empty_postgres", "server"]


def test_there_and_back(empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ok("backfill", "D", *HISTORY)
    before = ok("verify", "D")
    saved = run("backup", "saved")
    assert saved.exit_code == 0
    lines = saved.stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "SHA-256"]
    assert [line.split()[0] for line in lines[1:6]] == ["d.candles", "d.atr", "d.events", "d.features", "d.alerts"]
    assert max(map(len, lines)) <= 80
    assert " rows of data/simulated.duckdb in saved: 0." in lines[-1]
    assert lines[-1].endswith(" s")
    assert saved.stderr.splitlines()[-1] == "backup  100%  all"
    written = run("restore", "saved", "--to", empty_postgres)
    assert written.exit_code == 0
    assert written.stdout.splitlines()[:-1] == lines[:-1]
    assert " UTC written to postgresql://spike@127.0.0.1:" in written.stdout
    assert written.stderr.splitlines()[-1] == "restore  100%  all"
    assert PASSWORD not in written.output + ok("backup", "--from", empty_postgres, "there")
    assert error("restore", "saved").endswith("nothing was changed, give a new database, or --replace what it holds")
    refused = run("restore", "saved", "--replace", input="n\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "Remove everything in data/simulated.duckdb? [y/N]" in refused.stderr
    assert ok("restore", "there", "--replace", input="y\n").splitlines()[:-1] == lines[:-1]
    ok("restore", "there", "--replace", "--yes")
    assert ok("verify", "D") == before
    monkeypatch.setenv("SPIKE_DATABASE", empty_postgres)
    assert ok("verify", "D") == before


def test_what_is_wrong_is_one_line() -> None:
    assert error("backup", "saved").startswith("there is no database at data/simulated.duckdb to back up")
    assert error("restore", "saved").startswith("saved is no backup: it has no manifest.json")
