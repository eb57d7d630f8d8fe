"""The status board, line by line."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from spike_assets.cli.board import board
from spike_assets.granularity import H1, H4, D, W
from spike_assets.pipeline.status import GranularityStatus, Status
from spike_assets_tests.cli.running import HISTORY, ok

NOW = datetime(2026, 3, 10, 12, 7, tzinfo=UTC)


def one(granularity: object, ago: timedelta | None, next_run: timedelta, **other: object) -> GranularityStatus:
    fields: dict[str, object] = {
        "granularity": granularity,
        "last_run": None if ago is None else NOW - ago,
        "last_success": None,
        "running_since": None,
        "crashed": None,
        "last_processed": None,
        "next_close": NOW + next_run,
        "next_run": NOW + next_run,
        "newest_candle": None,
        "behind": 0,
        "overdue_since": None,
        "went_well": None,
        "consecutive_failures": 0,
        "last_error": None,
        "late": (),
        "unavailable": {},
        "pending": 0,
        "quarantined": 0,
        "recent_events": 0,
    }
    return GranularityStatus(**(fields | other))  # type: ignore[arg-type]


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def test_the_board_is_that_of_the_issue_and_more_behind_it() -> None:
    found = Status(
        NOW,
        "simulated",
        "data/simulated.duckdb",
        (
            one(H1, minutes(2), minutes(58), recent_events=24),
            one(H4, minutes(62), minutes(178)),
            one(D, minutes(60 * 15), minutes(60 * 9)),
            one(W, timedelta(days=2), timedelta(days=5)),
        ),
    )
    assert board(found).splitlines() == [
        "Spike Processing Status",
        "======================",
        "H1:  ✓ Last run: 2 min ago  | Next: 58 min",
        "H4:  ✓ Last run: 1 hr ago   | Next: 3 hrs",
        "D:   ✓ Last run: 15 hrs ago | Next: 9 hrs",
        "W:   ✓ Last run: 2 days ago | Next: 5 days",
        "Recent Events: 24",
        "System Health: Healthy",
        "Source: simulated (a made-up market, no real prices)",
        "Database: data/simulated.duckdb",
    ]


def test_what_is_caught_up_with_is_no_fault() -> None:
    late = {"behind": 40, "overdue_since": NOW - minutes(40 * 60), "went_well": NOW - minutes(0.5)}
    fine = [one(granularity, minutes(2), minutes(58)) for granularity in (H4, D, W)]
    lines = board(Status(NOW, "files", "x.duckdb", (one(H1, minutes(2), minutes(0), **late), *fine))).splitlines()
    assert "System Health: Healthy" in lines
    assert "Catching up: H1 has 40 candle times to go" in lines


def test_what_is_wrong_is_said() -> None:
    unknown = {"USD_RON": "never heard of it"}
    found = Status(
        NOW,
        "files",
        "x.duckdb",
        (
            one(H1, minutes(0.1), minutes(0), consecutive_failures=3, last_error="no space left", unavailable=unknown),
            one(H4, minutes(5), minutes(3), behind=2, overdue_since=NOW - minutes(500), unavailable=unknown),
            one(D, minutes(5), minutes(60), pending=4, quarantined=1200, late=("EUR_USD", "USD_JPY")),
            one(W, None, minutes(90)),
        ),
    )
    assert board(found).splitlines()[2:] == [
        "H1:  ✗ Last run: just now  | Next: now",
        "H4:  ✓ Last run: 5 min ago | Next: 3 min",
        "D:   ✓ Last run: 5 min ago | Next: 1 hr",
        "W:   … Last run: never     | Next: 2 hrs",
        "Recent Events: 0",
        (
            "System Health: Degraded: H1 failed 3 times in a row (no space left); H4 is overdue (2 unprocessed, the"
            " oldest closed 2026-03-10 03:47 UTC); D has 4 ranges pending; W never ran"
        ),
        "Source: files",
        "Database: x.duckdb",
        "Unavailable in H1, H4: USD_RON",
        "Late in D: EUR_USD, USD_JPY",
        "In quarantine: 1,200 candles (D 1,200)",
    ]


def test_status_of_a_real_store_as_board_and_as_json() -> None:
    assert "System Health: Degraded: nothing has run yet\n" in ok("status")
    ok("backfill", "all", *HISTORY)
    assert ok("status").startswith(
        "Spike Processing Status\n======================\nH1:  ✓ Last run: just now | Next: "
    )
    said = json.loads(ok("status", "--json"))
    assert (said["source"], said["simulated"], said["unavailable"]) == ("simulated", True, {})
    assert said["healthy"] is False  # what closed since March is not processed
    assert [name for name, each in said["granularities"].items() if each["behind"]] == ["H1", "H4", "D", "W"]
    assert said["granularities"]["D"]["last_processed"] == "2025-03-01T00:00:00Z"


def test_status_says_late_only_of_what_should_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ok("backfill", "D", *HISTORY)
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD,GBP_USD,USD_JPY")
    assert "\nLate in D: GBP_USD\n" in ok("status")


def test_a_pass_under_way_and_one_that_crashed_are_told_apart() -> None:
    found = Status(
        NOW,
        "simulated",
        "data/simulated.duckdb",
        (
            one(H1, minutes(62), minutes(58), running_since=NOW - timedelta(seconds=3)),
            one(H4, minutes(62), minutes(178), crashed=NOW - minutes(5)),
            one(D, minutes(60), minutes(60 * 9)),
            one(W, timedelta(days=2), timedelta(days=5)),
        ),
    )
    lines = board(found).splitlines()
    assert "Running: H1, since 12:06:57 UTC" in lines
    assert "System Health: Degraded: H4 crashed (the pass of 2026-03-10 12:02 UTC never came back)" in lines
