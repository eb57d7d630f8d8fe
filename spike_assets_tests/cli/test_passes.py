"""`spike run` and `spike backfill`, as a person types them."""

import json
import os
import re
import resource
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from spike_assets.cli import spike
from spike_assets.deadline import Deadline
from spike_assets.granularity import D
from spike_assets.market_hours import last_closed
from spike_assets.pipeline import Pipeline
from spike_assets.settings import load_settings
from spike_assets.store import open_store
from spike_assets_tests.cli.running import HISTORY, error, finish, ok, run, start, wait_for
from spike_assets_tests.processes import become_nobody, told
from spike_assets_tests.receiver import Receiver
from spike_assets_tests.receiver import Status as Reply


def answer(*arguments: str) -> dict[str, object]:
    """Run a pass; its stdout is exactly one JSON object on one line."""
    out = run("run", *arguments).stdout
    assert out.count("\n") == 1
    parsed: dict[str, object] = json.loads(out)
    assert list(parsed) == ["status", "processed", "duration_ms"]
    return parsed


def test_run_prints_what_it_did_and_then_that_there_is_nothing_new() -> None:
    first = answer("d")
    assert first["status"] == "success"
    processed = first["processed"]
    assert isinstance(processed, list)
    assert [list(one) for one in processed] == [["instrument", "candles_processed", "events_detected"]] * 2
    assert [(one["instrument"], one["candles_processed"]) for one in processed] == [("EUR_USD", 501), ("USD_JPY", 501)]
    assert all(one["events_detected"] > 10 for one in processed)
    second = answer("D")
    assert (second["status"], second["processed"]) == ("no_new_data", [])


def test_run_says_how_far_behind_it_still_is() -> None:
    ok("backfill", "D", "--from", "2020-01-01", "--to", "2021-01-01")
    result = run("run", "D")
    assert json.loads(result.stdout)["status"] == "success"
    assert re.fullmatch(r"[\d,]+ closed candle times are still to be processed: run again\n", result.stderr)


def test_a_failed_run_is_json_on_stdout_a_line_on_stderr_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_FILES_DIR", "nowhere")
    result = run("run", "H1")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["status"], said["processed"]) == (1, "failed", [])
    assert result.stderr == "error: nowhere does not exist; set SPIKE_FILES_DIR to a folder of candle files\n"
    assert "H1 failed once (nowhere does not exist" in ok("status")


def test_an_unreadable_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("h1").mkdir()
    Path("h1/EUR_USD.csv").write_text("this is no candle\n", encoding="utf-8")
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_FILES_DIR", ".")
    assert "h1/EUR_USD.csv has no column time" in error("run", "H1")


def test_a_locked_database_names_its_holder() -> None:
    ok("backfill", "D", *HISTORY)
    with open_store("data/simulated.duckdb").writing(Deadline.after(timedelta(seconds=5)), "a long breakfast"):
        said = error("run", "D", "--timeout", "0.1")
    holder = rf"simulated.duckdb is in use by a long breakfast \(process {os.getpid()} on .*\)"
    assert re.match(holder, said), said


def test_a_full_disk_is_one_line() -> None:
    ok("backfill", "D", *HISTORY)

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    code, out, err = finish(start("backfill", "H1", *HISTORY, preexec_fn=fill_the_disk))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: no space left for data/simulated.duckdb; nothing was changed, free some and try again"
    )
    ok("backfill", "H1", *HISTORY)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/proc/nowhere/x.duckdb", "cannot create /proc/nowhere/x.duckdb."),
        ("file/x.duckdb", "cannot create file/x.duckdb."),
        ("file", "file is not a DuckDB database; set SPIKE_DATABASE to another path"),
        ("folder", "folder: IO Error"),
        ("mysql://here/x", "SPIKE_DATABASE: mysql:// is not supported"),
    ],
)
@pytest.mark.parametrize("command", [("status",), ("run", "H1"), ("events",), ("verify",), ("backfill", "W")])
def test_a_wrong_database_path_is_one_line(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], path: str, says: str
) -> None:
    Path("file").write_text("some text that is not a database\n" * 1000, encoding="utf-8")
    Path("folder").mkdir()
    monkeypatch.setenv("SPIKE_DATABASE", path)
    assert says in error(*command)


def status_as_nobody(tell: Any, folder: Path) -> None:
    spike.get_command(click.Context(spike), "status")  # nobody may not read what is not imported yet
    os.chdir(folder)
    os.environ["SPIKE_DATABASE"] = "closed/x.duckdb"
    become_nobody()
    result = run("status")
    tell.send((result.exit_code, result.stdout, result.stderr))


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o555)
    ((code, out, err),) = told(status_as_nobody, tmp_path)
    assert (code, out) == (1, "")
    assert err == (
        "error: cannot create closed/x.duckdb.lock.queue: Permission denied;"
        " set SPIKE_DATABASE to a folder that can be written\n"
    )


def test_backfill_tells_its_progress_and_sums_up() -> None:
    result = run("backfill", "H1", *HISTORY)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "H1    0%  2025-01-01 00:00 UTC"
    assert result.stderr.splitlines()[-1] == "H1  100%  2025-03-01 00:00 UTC"
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["instrument", "H1", "candles", "H1", "events"]
    rows = [line.split() for line in lines[1:4]]
    assert [row[0] for row in rows] == ["EUR_USD", "USD_JPY", "total"]
    each, total = [[int(n.replace(",", "")) for n in row[1:]] for row in rows[:2]], rows[2][1:]
    assert [f"{sum(column):,}" for column in zip(*each, strict=True)] == total
    assert lines[5:7] == ["quarantined: 0", "unavailable: none"]
    assert re.fullmatch(rf"{total[0]} candles in [\d.]+ s \([\d,]+ rows/s\)", lines[7])


def test_backfill_of_all_fits_eighty_columns_and_again_finds_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKE_INSTRUMENTS")
    out = ok("backfill", "all", *HISTORY)
    assert out.splitlines()[0].split() == ["H1", "H1", "H4", "H4", "D", "D", "W", "W"]
    assert max(map(len, out.splitlines())) <= 80
    assert ok("backfill", "all", *HISTORY).startswith("nothing new: every candle of the window is stored as it is\n")


def test_backfill_names_instruments_that_the_source_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("candles").mkdir()
    row = "2025-01-06T00:00:00Z,1.1,1.2,1.0,{},10\n"
    text = "time,open,high,low,close,volume\n" + row.format("1.15") + row.replace("T00", "T01").format("1.3")
    Path("candles/EUR_USD.csv").write_text(text, encoding="utf-8")
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_FILES_DIR", "candles")
    out = ok("backfill", "H1", *HISTORY)
    assert "\nquarantined: 1\nunavailable: USD_JPY\n" in out
    board = ok("status")
    assert "\nUnavailable in H1: USD_JPY\n" in board
    assert "\nIn quarantine: 1 candle (H1 1)\n" in board


def test_backfill_begins_where_history_does_and_ends_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_HISTORY_START", "2026-01-01")
    ok("backfill", "D")
    pipeline = Pipeline.from_settings(load_settings())
    with pipeline.store.reading(Deadline.after(timedelta(seconds=5))) as session:
        oldest, newest = session.data.oldest(D)["EUR_USD"], session.data.last_time(D)
    assert oldest == datetime(2026, 1, 1, 22, tzinfo=UTC)
    assert newest == last_closed(D, datetime.now(UTC)).start


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("H1", "--from", "2025-02-01", "--to", "2025-01-01"), "is empty; --from has to lie before --to"),
        (("W", "--from", "{today}"), "no W candle that opened at"),
        (("H1", "--from", "soon"), "'soon' is no time"),
        (("M5",), "'M5' is none of H1, H4, D, W, all"),
        ((), "Missing argument '{H1|H4|D|W|all}'"),
    ],
)
def test_backfill_refuses_what_makes_no_sense(arguments: tuple[str, ...], says: str) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert says in error("backfill", *(a.format(today=today) for a in arguments), code=2)


def test_ctrl_c_leaves_a_backfill_with_a_word_and_the_same_command_goes_on() -> None:
    command = ("backfill", "H1", "--from", "2010-01-01", "--to", "2020-01-01")
    process = start(*command)
    wait_for(process, "%  2010-10-")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    said = re.fullmatch(r"interrupted behind H1 (.{16}) UTC; the same command goes on from there", err.splitlines()[-1])
    assert said
    result = run(*command)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].endswith(f"%  {said[1]} UTC")
    assert f"H1: resumed at {said[1]} UTC\n" in result.stdout
    assert "all as recomputed" in ok("verify", "H1")


def test_dagster_is_told_of_what_was_done_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(faults=[Reply(200, {"Content-Type": "application/json"}, b"{}")] * 100) as receiver:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", receiver.url)
        assert run("run", "D").stderr == "D: told Dagster of 1 partition of 5 assets\n"
        assert run("run", "D").stderr == ""
        result = run("backfill", "W", "--from", "2025-01-01", "--to", "2025-02-01")
        assert result.stderr.splitlines()[-1] == "W: told Dagster of 5 partitions of 5 assets"
        assert len(receiver.received) == 30
    result = run("backfill", "W", "--from", "2025-01-01", "--to", "2025-02-01")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == (
        "warning: W: told Dagster of 0 partitions of 5 assets, not of 5: DAGSTER_WEBSERVER_URL does not answer"
        " (ConnectionError); a Dagster backfill of the missing partitions fills them in"
    )
