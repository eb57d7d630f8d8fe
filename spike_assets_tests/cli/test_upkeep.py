"""`spike verify`, `spike rebuild` and `spike reconcile`, as a person types them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets.granularity import D
from spike_assets.market_hours import Window, candle_times, last_closed
from spike_assets.pipeline.reconcile import reconcile_window
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets_tests.cli.running import HISTORY, error, ok, run
from spike_assets_tests.support import FOREVER


@pytest.fixture(autouse=True)
def _history(_clean_folder: None) -> None:
    ok("backfill", "H4", *HISTORY)


def tamper(sql: str, *parameters: object) -> None:
    with DuckDBEngine(Path("data/simulated.duckdb")).connect(FOREVER, "a test", write=True) as connection:
        connection.execute(sql, parameters)


def test_verify_prints_rows_and_hashes_of_every_table() -> None:
    result = run("verify")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "SHA-256"]
    derived = ("atr", "events", "features", "alerts")
    names = [f"{schema}.{table}" for schema in ("h1", "h4", "d", "w") for table in derived]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert list(rows) == names
    assert all(len(digits) == 40 for _, digits in rows.values())
    assert int(rows["h4.atr"][0]) > 500
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "all as recomputed"
    assert result.stderr.splitlines()[-1] == "W instruments  100%"


def test_verify_looks_at_what_is_named_once() -> None:
    lines = ok("verify", "h4", "H4", "D").splitlines()
    assert [line.split(".")[0] for line in lines[1:-1]] == ["h4"] * 4 + ["d"] * 4


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


def backfill_days(days: int) -> None:
    ok("backfill", "D", "--from", str((datetime.now(UTC) - timedelta(days=days)).date()))


def test_reconcile_prints_what_changed_and_puts_it_right() -> None:
    backfill_days(60)
    right = ok("verify", "D")
    newest = last_closed(D, datetime.now(UTC)).start
    tamper("DELETE FROM d.candles WHERE instrument = 'EUR_USD' AND time = ?", newest)
    tamper("UPDATE d.candles SET high = high * 1.1 WHERE instrument = 'USD_JPY' AND time = ?", newest)
    ok("rebuild")
    result = run("reconcile", "D")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "reconcile  100%  done")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["table", "added", "updated", "removed", "first", "last"]
    rows = {line.split()[0]: line.split()[1:4] for line in lines[1:-1]}
    assert rows["d.candles"] == rows["d.atr"] == ["1", "1", "0"]
    assert all(line.count(f"{newest:%Y-%m-%d %H:%M}") == 2 for line in lines[1:-1])
    changes = sum(int(n) for counts in rows.values() for n in counts)
    assert lines[-1] == f"{changes} rows changed"
    assert max(map(len, lines)) <= 80
    assert ok("verify", "D") == right
    assert ok("reconcile", "D") == "nothing changed\n"


def test_reconcile_looks_as_far_back_as_it_is_told() -> None:
    backfill_days(60)
    now = datetime.now(UTC)
    wrong = Window(reconcile_window(D, now, 30).start, now - timedelta(days=20))
    tamper("UPDATE d.candles SET volume = 1 WHERE time < ?", wrong.end)
    ok("rebuild")
    assert ok("reconcile", "D", "--days", "14") == "nothing changed\n"
    candles = ok("reconcile", "D", "--days", "30").splitlines()[1].split()
    assert candles[:4] == ["d.candles", "0", str(2 * len(candle_times(D, wrong))), "0"]


def test_reconcile_of_all_leaves_alone_what_has_no_history() -> None:
    result = run("reconcile", "all")
    assert (result.exit_code, result.stdout) == (0, "nothing changed\n")
    assert [line.split()[-1] for line in result.stderr.splitlines()] == ["H1", "H4", "D", "W", "done"]


def test_reconcile_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert error("reconcile", "H4", "--days", "367", code=2).endswith("367 is not in the range 1<=x<=366.")
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "7")
    assert "`spike rebuild` recomputes it" in error("reconcile", "H4")
