"""`spike verify` and `spike rebuild`, as a person types them."""

import duckdb
import pytest

from spike_assets_tests.cli.running import HISTORY, error, ok, run


@pytest.fixture(autouse=True)
def _history(_clean_folder: None) -> None:
    ok("backfill", "H4", *HISTORY)


def tamper(sql: str) -> None:
    with duckdb.connect("data/simulated.duckdb") as connection:
        connection.execute(sql)


def test_verify_prints_rows_and_hashes_of_every_table() -> None:
    result = run("verify")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "SHA-256"]
    names = [f"{schema}.{table}" for schema in ("h1", "h4", "d", "w") for table in ("atr", "events", "features")]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert list(rows) == names
    assert all(len(digits) == 40 for _, digits in rows.values())
    assert int(rows["h4.atr"][0]) > 500
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "all as recomputed"
    assert result.stderr.splitlines()[-1] == "W instruments  100%"


def test_verify_looks_at_what_is_named_once() -> None:
    lines = ok("verify", "h4", "H4", "D").splitlines()
    assert [line.split(".")[0] for line in lines[1:-1]] == ["h4"] * 3 + ["d"] * 3


def test_verify_ends_in_the_first_difference_and_exit_code_1() -> None:
    tamper("UPDATE h4.events SET level = level + 1 WHERE instrument = 'USD_JPY'")
    result = run("verify", "H4", "D")
    assert result.exit_code == 1
    assert "all as recomputed" not in result.stdout
    assert "h4.events" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("error: h4.events, USD_JPY 2025-01-0")


def test_another_setting_is_refused_naming_both_ways_out_and_rebuild_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "7")
    for command in (("run", "H4"), ("verify", "H4"), ("backfill", "H4", *HISTORY)):
        said = error(*command)
        assert "set SPIKE_DATABASE to another database, or `spike rebuild` recomputes it" in said
    result = run("rebuild")
    assert result.stdout == "data/simulated.duckdb is rebuilt with ATR 7\n"
    assert result.stderr.splitlines()[0] == "rebuild    0%  H1 atr"
    assert result.stderr.splitlines()[-1] == "rebuild  100%  done"
    ok("verify")


def test_another_source_needs_its_candles_discarded_and_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_FILES_DIR", ".")
    monkeypatch.setenv("SPIKE_DATABASE", "data/simulated.duckdb")
    assert "`spike rebuild --discard-candles` empties it for the new source" in error("rebuild")
    result = run("rebuild", "--discard-candles", input="n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Remove every candle in data/simulated.duckdb? [y/N]" in result.stderr
    assert "`spike rebuild --discard-candles`" in error("verify", "H4")
    assert ok("rebuild", "--discard-candles", input="y\n").startswith(
        "data/simulated.duckdb is empty, for files candles"
    )
    assert ok("rebuild", "--discard-candles", "--yes").endswith("`spike backfill all` loads some\n")
    assert ok("verify", "H4").splitlines()[1].split()[:2] == ["h4.atr", "0"]
