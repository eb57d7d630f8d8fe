"""`spike alerts`: what there was, who was told, and looking after the channels, over a real webhook on loopback."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline import Pipeline
from spike_assets.settings import load_settings
from spike_assets_tests.cli.running import HISTORY, error, ok, run
from spike_assets_tests.receiver import Receiver, Status
from spike_assets_tests.support import FOREVER

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Everything of the last year is news, so that a pass at any hour of the week has something to tell."""
    with Receiver(SECRET) as receiver:
        monkeypatch.setenv("SPIKE_WEBHOOK_URL", f"{receiver.url}/hook")
        monkeypatch.setenv("SPIKE_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("SPIKE_WEBHOOK_ALLOW_PRIVATE", "1")
        monkeypatch.setenv("SPIKE_ALERT_MAX_AGE", "300d")
        monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD,GBP_USD,CHF_JPY")
        yield receiver


def come_back(granularity: str) -> None:
    """Run a pass that finds half a year of news."""
    today = datetime.now(UTC)
    start, end = (f"{today - timedelta(days=days):%Y-%m-%d}" for days in (700, 180))
    ok("backfill", granularity, "--from", start, "--to", end)
    with Pipeline.from_settings(load_settings()).store.writing(FOREVER, "a test") as session:
        state = session.ops.state(GRANULARITIES[granularity])
        assert state is not None
        # As if the last live pass had run then: a first one would tell of its newest candle only.
        session.ops.write_state(GRANULARITIES[granularity], replace(state, live_since=state.last_processed))
    ok("run", granularity)


def states(granularity: str) -> list[str]:
    """Give the last column of the list of alerts, newest first."""
    rows = ok("alerts", "list", "-g", granularity, "-n", "999", env={"COLUMNS": "200"}).splitlines()[1:]
    return [match[0] if (match := re.search(r"(log|webhook) .*$|–$", row.rstrip())) else row for row in rows]


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in receiver.received if one.status == 200]


# --- what there was ---------------------------------------------------------------------------------------------------


def test_a_pass_tells_both_channels_and_the_list_says_so(receiver: Receiver) -> None:
    come_back("D")
    run("alerts", "deliver")  # what a pass has no time for
    told = bodies(receiver)
    assert told
    assert all(one["kind"] == "digest" for one in told)
    table = ok("alerts", "list", "-g", "D", "-n", "999", env={"COLUMNS": "200"})
    rows = [row for row in table.splitlines()[1:] if not row.rstrip().endswith("–")]
    assert len(rows) == sum(len(one["entries"]) + (one["group"] is not None) for one in told)
    assert all(row.rstrip().endswith("log ✓, webhook ✓") for row in rows)
    ok("run", "D")
    assert bodies(receiver) == told


def test_what_nobody_was_told_of_has_a_dash() -> None:
    ok("backfill", "H1", *HISTORY)
    rows = ok("alerts", "list", "-n", "5", env={"COLUMNS": "200"}).splitlines()
    assert len(rows) == 6
    assert all(row.rstrip().endswith("–") for row in rows[1:])


def test_alerts_are_exported_in_full() -> None:
    ok("backfill", "H1", *HISTORY)
    rows = json.loads(ok("alerts", "list", "--format", "json"))
    assert len(rows) > 20
    for row in rows:
        assert set(row) >= {"alert_id", "event_id", "rules", "reasons", "members"}
        assert list(json.loads(row["reasons"])) == row["rules"].split(",")


def test_without_any_it_says_so() -> None:
    assert ok("alerts", "list") == "no H1 alerts\n"


# --- what would have been ---------------------------------------------------------------------------------------------


def test_a_preview_has_every_alert_and_sends_nothing(receiver: Receiver) -> None:
    ok("backfill", "H1", *HISTORY)
    lines = ok(
        "alerts",
        "preview",
        "--since",
        "2025-01-06",
        "--to",
        "2025-02-01",
        "-g",
        "H1",
        "-c",
        "webhook",
        "--format",
        "json",
    )
    previewed = [json.loads(line) for line in lines.splitlines()]
    stored = json.loads(ok("alerts", "list", "--since", "2025-01-06", "--format", "json"))
    inside = {row["alert_id"] for row in stored if row["time"] < "2025-02-01"}
    entries = [entry["alert_id"] for digest in previewed for entry in digest["entries"]]
    groups = [digest["group"]["alert_id"] for digest in previewed if digest["group"]]
    assert inside
    assert sorted(entries + groups) == sorted(inside)
    assert len({digest["time"] for digest in previewed}) == len(previewed)
    assert receiver.received == []
    assert ok("alerts", "deliver") == "nothing is due\n"


def test_a_preview_reads_as_the_message_does() -> None:
    ok("backfill", "H1", *HISTORY)
    arguments = ("alerts", "preview", "--since", "2025-02-03", "--to", "2025-02-05", "-g", "H1")
    result = run(*arguments)
    titles = re.findall(r"^--- (.*) UTC to log: \[simulated\] H1 closed (.*) UTC: ", result.stdout, re.MULTILINE)
    assert titles
    assert all(made.endswith(f"{closed[:3]}05") for made, closed in titles)
    assert result.stderr.splitlines()[-1] == f"{len(titles)} messages would have been sent"
    assert "**" in ok(*arguments, "--format", "markdown")


def test_a_preview_for_no_channel_names_those_that_there_are() -> None:
    assert "there are: log" in error("alerts", "preview", "--since", "7d", "-c", "phone", code=2)


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_test_message_goes_to_every_channel(receiver: Receiver) -> None:
    lines = ok("alerts", "test").splitlines()[1:]
    assert [line.split() for line in lines] == [["log", "took", "it"], ["webhook", "took", "it"]]
    (received,) = receiver.received
    assert received.verified
    assert json.loads(received.body)["kind"] == "test"


def test_a_channel_that_does_not_take_it_is_an_error(receiver: Receiver) -> None:
    receiver.faults.append(Status(403))
    assert error("alerts", "test") == "1 of 2 channels did not take it"


def test_what_did_not_arrive_waits_and_what_is_refused_is_dead(receiver: Receiver) -> None:
    receiver.faults += [Status(400), Status(500)]
    come_back("W")
    assert [one.status for one in receiver.received[:2]] == [400, 500]
    assert ok("alerts", "deliver") == "nothing is due\n"
    (row,) = ok("alerts", "dead", env={"COLUMNS": "200"}).splitlines()[1:]
    assert "webhook" in row
    said = [state for state in states("W") if state != "–"]
    assert set(said) == {"log ✓, webhook given up", "log ✓, webhook soon"}
    assert said[-1] == "log ✓, webhook given up"
    refused = receiver.received[0].headers["webhook-id"]
    assert "1 message queued again" in ok("alerts", "dead", "--resend")
    assert ok("alerts", "dead") == "no dead letters\n"
    ok("alerts", "deliver")
    assert receiver.received[2].headers["webhook-id"] == refused
    assert receiver.received[2].body == receiver.received[0].body


def test_what_is_given_up_may_be_let_be(receiver: Receiver) -> None:
    receiver.faults += [Status(400)]
    come_back("W")
    refused = receiver.received[0].headers["webhook-id"]
    assert ok("alerts", "dead", "--discard", "--channel", "log") == "no dead letters\n"
    assert "1 message let be" in ok("alerts", "dead", "--discard", "--channel", "webhook")
    assert ok("alerts", "dead") == "no dead letters\n"
    ok("alerts", "deliver")
    assert [one.headers["webhook-id"] for one in receiver.received].count(refused) == 1
    assert "log ✓, webhook given up" in states("W")


def test_to_send_again_and_to_let_be_is_not_both() -> None:
    assert error("alerts", "dead", "--resend", "--discard", code=2) == "say --resend or --discard"


def test_what_was_missed_is_in_a_summary(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ALERT_MAX_AGE", "1s")
    come_back("W")
    (summary,) = bodies(receiver)
    assert summary["kind"] == "summary"
    said = [state for state in states("W") if state != "–"]
    assert said == ["log in a summary, webhook in a summary"] * summary["missed"]["alerts"]


def test_a_delivery_that_fails_is_an_error(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ALERT_URLS", "")
    receiver.faults += [Status(400), Status(422)]
    come_back("W")
    ok("alerts", "dead", "--resend")
    receiver.faults += [Status(500)]
    assert error("alerts", "deliver") == "1 message did not arrive; what waits is tried again"


# --- silences ---------------------------------------------------------------------------------------------------------


def test_silences_are_listed_and_end() -> None:
    assert ok("alerts", "silence") == "nothing is silenced\n"
    assert re.fullmatch(
        r"EUR_USD until \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", ok("alerts", "silence", "eur_usd", "--for", "2h")
    )
    assert [line.split()[0] for line in ok("alerts", "silence", "all", "--for", "30m").splitlines()] == [
        "all",
        "EUR_USD",
    ]
    assert ok("alerts", "silence", "EUR_USD", "--end").startswith("all until")
    assert ok("alerts", "silence", "ALL", "--end") == "nothing is silenced\n"


@pytest.mark.parametrize("arguments", [["EUR_USD"], ["EUR_USD", "--for", "2h", "--end"]])
def test_a_silence_needs_a_length_or_an_end(arguments: list[str]) -> None:
    assert error("alerts", "silence", *arguments, code=2) == "say --for how long, or --end"


@pytest.mark.parametrize("length", ["2", "0h", "2y", "-2h", "h"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    assert "write one like 30m, 2h, 3d or 1w" in error("alerts", "silence", "EUR_USD", f"--for={length}", code=2)


def test_what_is_silenced_is_not_told(receiver: Receiver) -> None:
    ok("alerts", "silence", "all", "--for", "1w")
    come_back("W")
    assert receiver.received == []
    rows = ok("alerts", "list", "-g", "W", env={"COLUMNS": "200"}).splitlines()[1:]
    assert rows
    assert all("log silenced, webhook silenced" in row for row in rows[:3])
