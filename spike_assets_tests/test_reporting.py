"""Dagster is told of what others worked through, and nothing depends on its listening."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from spike_assets import market_hours, reporting
from spike_assets.deadline import Deadline
from spike_assets.defs.partitions import partitions
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, close_of, last_closed
from spike_assets.reporting import ASSETS, Reported, Reporter
from spike_assets_tests.receiver import Drip, Fault, Receiver, Reset, Status, redirect

START = datetime(2025, 1, 1, tzinfo=UTC)
YES = Status(200, {"Content-Type": "application/json"}, b"{}")
# Over the weekend in which New York's clocks change.
WEEKEND = Window(datetime(2025, 3, 7, 20, tzinfo=UTC), datetime(2025, 3, 10, 1, tzinfo=UTC))


def within(seconds: float = 30) -> Deadline:
    return Deadline.after(timedelta(seconds=seconds))


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Give asset and partition of what was received, in order."""
    return [
        (one.path.removeprefix("/report_asset_materialization/"), json.loads(one.body)["partition"])
        for one in receiver.received
    ]


def test_every_partition_of_every_asset_is_told_in_order() -> None:
    with Receiver(faults=[YES] * 100) as receiver:
        reporter = Reporter(receiver.url, START)
        assert reporter.report(H1, WEEKEND, "cli", within()) == Reported(6)
        assert told(receiver) == [
            (f"h1/{asset}", f"2025-03-{hour}:00+0000")
            for hour in ("07T20", "07T21", "09T21", "09T22", "09T23", "10T00")
            for asset in ("candles", "atr", "events", "features", "alerts")
        ]
        assert {one.headers["content-type"] for one in receiver.received} == {"application/json"}
        assert json.loads(receiver.received[0].body)["metadata"] == {"trigger": "cli"}


@pytest.mark.parametrize(
    ("granularity", "open_", "key"),
    [
        (H4, datetime(2025, 3, 10, 5, tzinfo=UTC), "2025-03-10T01:00-0400"),
        (H4, datetime(2025, 1, 15, 6, tzinfo=UTC), "2025-01-15T01:00-0500"),
        (D, datetime(2025, 3, 9, 21, tzinfo=UTC), "2025-03-09T17:00-0400"),
        (W, datetime(2025, 3, 7, 22, tzinfo=UTC), "2025-03-07T17:00-0500"),
    ],
    ids=str,
)
def test_keys_are_dagster_s(granularity: Granularity, open_: datetime, key: str) -> None:
    with Receiver(faults=[YES] * 5) as receiver:
        window = Window(open_, close_of(granularity, open_))
        assert Reporter(receiver.url, START).report(granularity, window, "cli", within()) == Reported(1)
        assert told(receiver) == [(f"{granularity.schema}/{asset}", key) for asset in ASSETS]


def test_what_has_no_partition_is_not_told() -> None:
    with Receiver() as receiver:
        before = Window(START - timedelta(days=9), START - timedelta(days=5))
        saturday = Window(datetime(2025, 3, 8, tzinfo=UTC), datetime(2025, 3, 9, tzinfo=UTC))
        for window in (before, saturday, Window(WEEKEND.end, WEEKEND.end)):
            assert Reporter(receiver.url, START).report(H1, window, "cli", within()) is None
        assert Reporter(None, START).report(H1, WEEKEND, "cli", within()) is None
        assert receiver.received == []


def test_of_a_window_that_begins_earlier_the_rest_is_told() -> None:
    start = datetime(2025, 3, 9, 23, tzinfo=UTC)
    with Receiver(faults=[YES] * 100) as receiver:
        assert Reporter(receiver.url, start).report(H1, WEEKEND, "cli", within()) == Reported(2)


def test_of_many_partitions_the_newest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reporting.MOST_PARTITIONS == 200
    monkeypatch.setattr(reporting, "MOST_PARTITIONS", 4)
    with Receiver(faults=[YES] * 20) as receiver:
        reported = Reporter(receiver.url, START).report(H1, WEEKEND, "backfill", within())
        assert str(reported) == (
            "told Dagster of 4 partitions of 5 assets, not of 2: no more than the newest 4 are told of;"
            " a Dagster backfill of the missing partitions fills them in"
        )
        assert told(receiver)[0] == ("h1/candles", "2025-03-09T21:00+0000")
        assert told(receiver)[-1] == ("h1/alerts", "2025-03-10T00:00+0000")
        assert len(receiver.received) == 20


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Status(401), "answers 401"),
        (Status(500), "answers 500"),
        (
            Status(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"),
            "answers 200 OK, as no Dagster webserver",
        ),
        (redirect("/login"), "answers 302"),
        (Reset(), "does not answer (ConnectionError)"),
        (Drip(), "the time was up"),
    ],
    ids=repr,
)
def test_whatever_goes_wrong_is_told_and_ends_it(fault: Fault, says: str) -> None:
    with Receiver(faults=[YES] * 7 + [fault]) as receiver:
        reported = Reporter(receiver.url, START).report(H1, WEEKEND, "cli", within(1 if fault == Drip() else 30))
        assert reported is not None
        assert (reported.partitions, reported.missing) == (1, 5)
        assert says in reported.why
        assert reported.why.endswith("a Dagster backfill of the missing partitions fills them in")


def test_nobody_there_and_no_time_left() -> None:
    with Receiver() as gone:
        url = gone.url
    reported = Reporter(url, START).report(H1, WEEKEND, "cli", within())
    assert reported is not None
    assert (reported.partitions, reported.missing) == (0, 6)
    assert reported.why.startswith("DAGSTER_WEBSERVER_URL does not answer (ConnectionError); ")
    reported = Reporter(url, START).report(H1, WEEKEND, "cli", within(0))
    assert reported is not None
    assert reported.why.startswith("the time was up; ")


@contextmanager
def webserver(folder: Path) -> Iterator[tuple[str, dg.DagsterInstance]]:
    """Serve Dagster's own webserver on loopback, over an empty instance."""
    with (
        dg.DagsterInstance.local_temp(str(folder)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        app = create_app_from_workspace_process_context(context)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", instance
        finally:
            server.should_exit = True
            thread.join()


def test_dagster_s_webserver_takes_it(tmp_path: Path) -> None:
    with webserver(tmp_path) as (url, instance):
        for granularity in GRANULARITIES.values():
            end = last_closed(granularity, WEEKEND.end).end
            window = Window(market_hours.nth_candle_before(granularity, end, 3), end)
            reported = Reporter(url, START - timedelta(days=365)).report(granularity, window, "function", within())
            assert reported is not None
            assert reported.why == ""
            keys = set(partitions(granularity, window.start).get_partition_keys(current_time=window.end))
            assert len(keys) == reported.partitions
            for asset in ASSETS:
                known = instance.get_materialized_partitions(dg.AssetKey([granularity.schema, asset]))
                assert known == keys
