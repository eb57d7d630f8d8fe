"""`spike rollback`, as a person types it."""

import duckdb
import pytest

from spike_assets_tests.cli.running import HISTORY, error, ok, run


@pytest.fixture(autouse=True)
def _history(_clean_folder: None) -> None:
    ok("backfill", "D", *HISTORY)


def tamper(sql: str) -> None:
    with duckdb.connect("data/simulated.duckdb") as connection:
        connection.execute(sql)


TO = ("--granularity", "D", "--to", "2025-02-10")


def test_it_says_what_would_go_and_does_it_when_told() -> None:
    right = ok("verify", "D")
    tamper("UPDATE d.events SET level = level + 1 WHERE time > '2025-02-12'")
    lines = ok("rollback", *TO).splitlines()
    assert lines[0] == "D candles that opened from 2025-02-09 22:00 UTC on:"
    assert lines[1].split() == ["table", "rows", "before"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:7]}
    assert list(rows) == ["d.candles", "d.atr", "d.events", "d.features", "d.alerts"]
    assert rows["d.candles"][1:-1] == ["stay"]
    assert rows["d.atr"][1:-1] == ["go,", "and", "are", "rebuilt"]
    assert rows["d.candles"][0] == rows["d.atr"][0]
    assert lines[-1] == "nothing was changed; --yes does it"
    assert max(map(len, lines)) <= 80
    assert run("verify", "D").exit_code == 1
    done = run("rollback", *TO, "--yes")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].startswith(f"rebuilt: atr {rows['d.atr'][0]}, events {rows['d.events'][0]}, ")
    assert done.stderr.splitlines()[0] == "rollback    0%  atr"
    assert done.stderr.splitlines()[-1] == "rollback  100%  done"
    assert ok("verify", "D") == right


def test_candles_are_fetched_anew() -> None:
    right = ok("verify", "D")
    tamper("UPDATE d.candles SET high = high * 1.1 WHERE time = '2025-02-12 22:00:00+00'")
    assert "d.candles" in ok("rollback", *TO, "--candles").splitlines()[2]
    done = run("rollback", *TO, "--candles", "--yes")
    assert "fetched anew" in done.stdout
    assert [line.split()[:2] for line in done.stderr.splitlines() if line.startswith("candles")] == [
        ["candles", "0%"],
        ["candles", "100%"],
    ]
    assert ok("verify", "D") == right


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no D candle that closed since 2190-01-01 00:00 UTC is stored" in error(
        "rollback", "-g", "D", "--to", "2190-01-01", code=2
    )
    assert run("rollback", "--to", "7d").exit_code == 2
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "7")
    assert "`spike rebuild` recomputes it" in error("rollback", *TO)
