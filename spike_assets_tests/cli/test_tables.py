"""`spike events` and `spike features`: what is shown, what is exported, and that nothing is lost on the way."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from spike_assets.deadline import Deadline
from spike_assets.granularity import H1, D, Granularity
from spike_assets.pipeline import Pipeline
from spike_assets.settings import load_settings
from spike_assets.store.tables import EVENTS, FEATURES, Table
from spike_assets_tests.cli.running import HISTORY, error, finish, ok, run, start
from spike_assets_tests.support import plain


@pytest.fixture(autouse=True)
def _history(_clean_folder: None) -> None:
    ok("backfill", "H1", *HISTORY)


def stored(table: Table, granularity: Granularity = H1) -> list[dict[str, object]]:
    """Give the rows of a table oldest first."""
    with Pipeline.from_settings(load_settings()).store.reading(Deadline.after(timedelta(seconds=5))) as session:
        rows = session.data.read(granularity, table)
    return plain(rows.sort_values(["time", "instrument"]))


def shown(*arguments: str) -> list[list[str]]:
    """Give the rows of a table on the terminal, as fields."""
    return [line.split() for line in ok(*arguments).splitlines()[1:]]


def iso(value: object) -> object:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def test_the_newest_fifty_events_fit_eighty_columns() -> None:
    result = run("events")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["closed", "(UTC)", "instrument", "level", "ATR", "rebound", "in", "ATRs", "volume"]
    assert len(lines) == 51
    assert max(map(len, lines)) <= 80
    assert [line[:16] for line in lines[1:]] == sorted((line[:16] for line in lines[1:]), reverse=True)
    assert result.stderr == (
        "\nthe newest 50; --limit shows more, --format csv every column\n"
        "simulated: a made-up market, no price is real\n"
    )


def test_prices_have_the_decimals_of_their_instrument() -> None:
    newest = {str(event["instrument"]): event for event in stored(EVENTS)}
    for instrument, decimals in (("EUR_USD", 5), ("USD_JPY", 3)):
        row = shown("events", "-i", instrument, "-n", "1")[0]
        event = newest[instrument]
        prices = [f"{event[name]:.{decimals}f}" for name in ("level", "atr", "rebound")]
        assert row == [*f"{event['closed_at']:%Y-%m-%d %H:%M}".split(), instrument, *prices, *row[6:]]


@pytest.mark.parametrize("command", ["events", "features"])
def test_filters(command: str) -> None:
    assert {row[2] for row in shown(command, "-i", "USD_JPY", "--instrument", "eur/usd")} == {"EUR_USD", "USD_JPY"}
    assert {row[2] for row in shown(command, "-i", "USD_JPY")} == {"USD_JPY"}
    assert len(shown(command, "-n", "3")) == 3
    assert ok(command, "-g", "D") == "no D events\n"
    assert ok(command, "--since", "24h") == "no H1 events\n"
    since = [" ".join(row[:2]) for row in shown(command, "--since", "2025-02-27T10:00Z", "-n", "9999")]
    closes = [f"{e['closed_at']:%Y-%m-%d %H:%M}" for e in stored(EVENTS) if str(e["closed_at"]) >= "2025-02-27 10:00"]
    assert sorted(since) == sorted(closes)
    assert len(since) > 10


def test_since_is_held_against_the_close_of_the_candle() -> None:
    event = stored(EVENTS)[-1]
    closed = event["closed_at"]
    assert isinstance(closed, datetime)
    assert shown("events", "--since", closed.isoformat())
    assert ok("events", "--since", (closed + timedelta(seconds=1)).isoformat()) == "no H1 events\n"


@pytest.mark.parametrize(("command", "table"), [("events", EVENTS), ("features", FEATURES)])
def test_csv_json_and_parquet_hold_every_bit(command: str, table: Table) -> None:
    wanted = [{name: iso(value) for name, value in row.items()} for row in stored(table)]
    assert len(wanted) > 100
    assert json.loads(ok(command, "--format", "json")) == wanted

    lines = list(csv.DictReader(io.StringIO(ok(command, "--format", "csv"))))
    for line, row in zip(lines, wanted, strict=True):
        texts = {n: "" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for n, v in row.items()}
        assert line == texts

    ok(command, "--format", "parquet", "--output", "x.parquet")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute("SELECT * FROM 'x.parquet'")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE FROM 'x.parquet')").fetchall())
    assert [{n: iso(v.astimezone(UTC) if isinstance(v, datetime) else v) for n, v in r.items()} for r in rows] == wanted
    assert types["time"] == "TIMESTAMP WITH TIME ZONE"


def test_a_limit_takes_the_newest_of_a_file_too() -> None:
    lines = ok("events", "--format", "csv", "-n", "2").splitlines()
    assert [line[:27] for line in lines[1:]] == [
        f"{e['instrument']},{iso(e['time'])}"[:27] for e in stored(EVENTS)[-2:]
    ]


def test_nothing_found_is_an_empty_file() -> None:
    assert ok("events", "-g", "W", "--format", "csv") == ",".join(EVENTS.names) + "\n"
    assert json.loads(ok("features", "-g", "W", "--format", "json")) == []


def test_files_are_written_where_they_are_wanted() -> None:
    for form in ("csv", "json", "parquet"):
        result = run("events", "--format", form, "--output", f"it's.{form}")
        assert result.stdout == ""
        assert result.stderr.endswith(f" rows in it's.{form}\n")
        assert Path(f"it's.{form}").stat().st_size > 1000


def test_parquet_goes_into_a_pipe_but_not_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("out").open("wb") as out:
        assert finish(start("events", "--format", "parquet", stdout=out))[0] == 0
    assert Path("out").read_bytes()[:4] == b"PAR1"
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    assert error("events", "--format", "parquet", code=2) == "Parquet is not for a terminal; give --output FILE"


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_file_that_cannot_be_written_is_one_line(form: str) -> None:
    assert error("events", "--format", form, "-o", "nowhere/x").startswith("cannot write nowhere/x: ")
    full = error("events", "--format", form, "-o", "/dev/full")
    assert full.startswith("cannot write /dev/full: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--since", "yesterday"), "or how long ago, like 24h or 7d"),
        (("-i", "EURUSD"), "'EURUSD' is not an instrument; write it like EUR_USD"),
        (("-n", "0"), "0 is not in the range x>=1"),
        (("--output", "x"), "--output goes with --format csv, json or parquet"),
        (("--format", "xml"), "'xml' is not one of"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], says: str) -> None:
    assert says in error("events", *arguments, code=2)


def test_features_show_their_essentials_and_a_dash_for_null() -> None:
    lines = ok("features", "-n", "9999").splitlines()
    assert max(map(len, lines)) <= 80
    first = lines[-1].split()
    assert first[3:8] == ["–"] * 5
    rows = stored(FEATURES)
    newest = next(row for row in rows if row["time"] == rows[-1]["time"])
    assert lines[1].split()[2:6] == [
        newest["instrument"],
        newest["pattern"],
        str(newest["pattern_run"]),
        f"{newest['distance_atr']:+.2f}",
    ]


def test_a_daily_event_of_the_last_day_counts_from_its_close() -> None:
    ok("backfill", "D", "--from", "2025-01-01", "--to", "2025-12-31")
    closed = stored(EVENTS, D)[-1]["closed_at"]
    assert isinstance(closed, datetime)
    assert shown("events", "-g", "D", "--since", (closed - timedelta(hours=1)).isoformat())
