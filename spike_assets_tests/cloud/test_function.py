"""A call, in this process: what is answered, raised and logged; the shapes of Lambda and of background events."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import functions_framework
import pytest

from spike_assets.cloud import function, spike_http, spike_process
from spike_assets.cloud.function import TRIGGER
from spike_assets.cloud.warm import Warm
from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SettingsError, SourceError, TransientError
from spike_assets.granularity import H1, H4, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.reporting import Reporter
from spike_assets.sources.base import Fetched
from spike_assets.store.store import Store
from spike_assets_tests.oanda_server import Clock
from spike_assets_tests.receiver import Receiver, Status
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, make_pipeline, simulated

ROOT = Path(__file__).parents[2]
NAMES = ("EUR_USD", "USD_JPY")
NOW = datetime(2025, 6, 4, 12, 5, tzinfo=UTC)
HISTORY = Window(datetime(2025, 6, 2, tzinfo=UTC), datetime(2025, 6, 5, tzinfo=UTC))
YES = Status(200, {"Content-Type": "application/json"}, b"{}")


class Source(FrameSource):
    """A source that notes its deadlines, and fails while it is told to."""

    def __init__(self) -> None:
        super().__init__(simulated(H1, NAMES, HISTORY))
        self.error: Exception | None = None
        self.seconds_left: list[float] = []

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        self.seconds_left.append(deadline.remaining())
        if self.error:
            raise self.error
        return super().fetch(granularity, windows, now=now, deadline=deadline)


class Here:
    """What the calls of this test work with."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.source = Source()
        self.pipeline: Pipeline = make_pipeline(
            self.source, Store(MemoryEngine()), NAMES, history_start=HISTORY.start, clock=self.clock
        )
        self.reporter = Reporter(None, HISTORY.start)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    made = Here()
    monkeypatch.setattr(function, "warm", lambda: Warm(made.pipeline, made.reporter))
    return made


def logged(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Give the one line that a call has logged."""
    (line,) = capsys.readouterr().out.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.mark.usefixtures("here")
def test_a_pass_and_its_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    first = spike_process({"granularity": "H1"})
    assert list(first) == ["status", "processed", "duration_ms"]
    assert first["status"] == "success"
    assert [one["instrument"] for one in first["processed"]] == list(NAMES)  # type: ignore[attr-defined]
    assert {one["candles_processed"] for one in first["processed"]} == {1}  # type: ignore[attr-defined]
    line = logged(capsys)
    assert (line["severity"], line["status"], line["granularity"], line["rows"]["candles"]) == (
        "INFO",
        "success",
        "H1",
        2,
    )
    assert line["message"].startswith("H1 success: 2 candles, ")
    again = spike_process({"granularity": "H1"})
    assert (again["status"], again["processed"]) == ("no_new_data", [])
    assert again["reason"] == "nothing new: H1 next closes 2025-06-04 13:00 UTC"
    assert logged(capsys)["status"] == "no_new_data"


def test_passes_are_recorded_as_a_functions(here: Here) -> None:
    spike_process({"granularity": "H1"})
    with here.pipeline.store.reading(FOREVER) as session:
        state = session.ops.state(H1)
    assert state is not None
    assert state.last_success == NOW
    assert TRIGGER == "function"


@pytest.mark.parametrize(
    ("late", "status"),
    [(timedelta(0), "success"), (timedelta(hours=1), "success"), (timedelta(hours=1, seconds=1), "skipped")],
)
def test_an_event_that_is_older_than_a_candle_is_skipped(
    here: Here, capsys: pytest.CaptureFixture[str], late: timedelta, status: str
) -> None:
    answer = spike_process({"granularity": "H1"}, SimpleNamespace(timestamp=(NOW - late).isoformat()))
    assert answer["status"] == logged(capsys)["status"] == status
    if status == "skipped":
        assert answer["processed"] == []
        assert answer["reason"] == "it was asked for at 2025-06-04 11:04 UTC, longer ago than a H1 candle"
        assert here.source.seconds_left == []


@pytest.mark.usefixtures("here")
def test_each_granularity_has_its_own_age() -> None:
    old = SimpleNamespace(timestamp=(NOW - timedelta(hours=3)).isoformat())
    assert spike_process({"granularity": "H1"}, old)["status"] == "skipped"
    assert spike_process({"granularity": "H4"}, old)["status"] != "skipped"


@pytest.mark.parametrize("error", [SourceError("401: set OANDA_API_TOKEN"), SettingsError("SPIKE_SOURCE: no")])
def test_what_cannot_succeed_later_is_answered(
    here: Here, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    here.source.error = error
    answer = spike_process({"granularity": "H1"})
    assert list(answer) == ["status", "processed", "duration_ms", "error"]
    assert (answer["status"], answer["processed"], answer["error"]) == ("failed", [], str(error))
    line = logged(capsys)
    assert (line["severity"], line["message"]) == ("ERROR", f"H1 failed: {error}")


def test_what_may_succeed_later_is_raised(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.source.error = TransientError("503: away")
    with pytest.raises(TransientError, match="503: away"):
        spike_process({"granularity": "H1"})
    line = logged(capsys)
    assert (line["severity"], line["message"]) == ("ERROR", "H1 failed: 503: away; to be tried again")
    here.source.error = None
    assert spike_process({"granularity": "H1"})["status"] == "success"


def test_a_fault_in_spike_is_raised_and_named(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.source.error = ZeroDivisionError("by zero")
    with pytest.raises(ZeroDivisionError):
        spike_process({"granularity": "H1"})
    line = logged(capsys)
    assert (line["severity"], line["status"]) == ("CRITICAL", "failed")
    assert "a fault in spike, report this: ZeroDivisionError: by zero" in line["message"]


def test_a_bad_event_is_answered_and_needs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(function, "warm", lambda: pytest.fail("nothing is opened for it"))
    answer = spike_process({"granularity": "M5"})
    assert (answer["status"], answer["error"]) == ("failed", "granularity: 'M5' is none of H1, H4, D, W")
    assert logged(capsys)["message"] == "spike failed: granularity: 'M5' is none of H1, H4, D, W"


def lambda_context(milliseconds: int) -> object:
    """Give what AWS hands to a handler."""
    return SimpleNamespace(
        function_name="spike-h1",
        function_version="7",
        invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:spike-h1",
        memory_limit_in_mb="1024",
        aws_request_id="6bc28136-xmpl-4365-b021-0ce6b2e64ab0",
        log_group_name="/aws/lambda/spike-h1",
        log_stream_name="2025/06/04/[$LATEST]x",
        identity=None,
        client_context=None,
        get_remaining_time_in_millis=lambda: milliseconds,
    )


EVENTBRIDGE = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2025-06-04T12:05:00Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/spike-h1"],
    "detail": {"granularity": "H1"},
}


def test_lambda_s_time_is_respected(here: Here) -> None:
    assert spike_process(EVENTBRIDGE, lambda_context(10_000))["status"] == "success"
    here.clock.advance(timedelta(hours=1))
    spike_process({"granularity": "H1"}, lambda_context(900_000))
    short, long = here.source.seconds_left
    assert 5 < short < 9  # a second is kept for the answer, a tenth for noting a failure
    assert 20 < long < 30
    with pytest.raises(DeadlineError):
        spike_process({"granularity": "H4"}, lambda_context(1_000))
    old = EVENTBRIDGE | {"time": "2025-06-04T10:05:00Z"}
    assert spike_process(old, lambda_context(10_000))["status"] == "skipped"


@pytest.mark.usefixtures("here")
def test_lambda_s_answer_is_json() -> None:
    assert json.loads(json.dumps(spike_process(EVENTBRIDGE, lambda_context(10_000))))["status"] == "success"


@pytest.mark.filterwarnings("ignore:is_binary is deprecated")  # by functions-framework itself
def test_a_background_event_as_the_framework_hands_it_on(here: Here) -> None:
    shipped = str(ROOT / "deploy/function/main.py")
    app = functions_framework.create_app("spike_process", shipped, "event")  # type: ignore[no-untyped-call]
    data = base64.b64encode(b'{"granularity": "H1"}').decode()
    context = {"eventId": "1", "timestamp": "2025-06-04T10:05:00Z", "eventType": "t", "resource": "r"}
    body = {"context": context, "data": {"data": data}}
    client = app.test_client()
    assert client.post("/", json=body).status_code == 200
    assert here.source.seconds_left == []  # it was old
    assert client.post("/", json=body | {"context": context | {"timestamp": NOW.isoformat()}}).data == b"OK"
    assert len(here.source.seconds_left) == 1


def test_dagster_is_told_and_may_be_away(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    with Receiver(faults=[YES] * 5) as receiver:
        here.reporter = Reporter(receiver.url, HISTORY.start)
        assert spike_process({"granularity": "H1"})["status"] == "success"
        line = logged(capsys)
        assert (line["severity"], line["dagster"]) == ("INFO", "told Dagster of 1 partition of 5 assets")
        assert [one.path for one in receiver.received] == [
            f"/report_asset_materialization/h1/{asset}" for asset in ("candles", "atr", "events", "features", "alerts")
        ]
        bodies = [json.loads(one.body) for one in receiver.received]
        assert {(one["partition"], one["metadata"]["trigger"]) for one in bodies} == {
            ("2025-06-04T11:00+0000", "function")
        }
        assert spike_process({"granularity": "H1"})["status"] == "no_new_data"
        assert len(receiver.received) == 5
        capsys.readouterr()
    here.clock.advance(timedelta(hours=1))
    assert spike_process({"granularity": "H1"})["status"] == "success"
    line = logged(capsys)
    assert (line["severity"], line["status"]) == ("WARNING", "success")
    assert "not of 1: DAGSTER_WEBSERVER_URL does not answer" in line["dagster"]


@pytest.mark.usefixtures("here")
def test_http_headers_say_when_it_was_due() -> None:
    def request(**headers: str) -> Any:
        return SimpleNamespace(headers=headers, get_data=lambda: b'{"granularity": "H1"}')

    old, new = "2025-06-04T10:05:00Z", "2025-06-04T12:05:00.5Z"
    assert spike_http(request(**{"X-CloudScheduler-ScheduleTime": old}))["status"] == "skipped"
    assert spike_http(request(**{"ce-time": old}))["status"] == "skipped"
    assert spike_http(request(**{"X-CloudScheduler-ScheduleTime": new}))["status"] == "success"
    assert spike_http(request())["status"] == "no_new_data"


def test_h4_is_a_granularity_of_its_own(here: Here) -> None:
    here.pipeline = replace(here.pipeline, source=FrameSource(simulated(H4, NAMES, HISTORY)))
    assert spike_process({"granularity": "H4"})["status"] == "success"
    assert here.source.seconds_left == []
