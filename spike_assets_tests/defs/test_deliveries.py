"""The sensor of alerts: when it looks, what it asks for, what it tells; and the job that sends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from spike_assets.alerts.policy import Policy
from spike_assets.alerts.wants import QuietHours, Wants
from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.defs import deliveries, faults
from spike_assets.defs.deliveries import PENDING_TAG, Cursor
from spike_assets.defs.resources import PipelineResource
from spike_assets.defs.sensors import failures_in_a_row
from spike_assets.errors import SourceError
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.store import open_store
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.engine import Connection
from spike_assets.store.store import Store
from spike_assets_tests.alerts.desk import Desk, Inbox, away
from spike_assets_tests.defs.running import QUIET, ephemeral, keys_of, run
from spike_assets_tests.defs.test_assets import FailingSource
from spike_assets_tests.pipeline.markets import SOON, hour
from spike_assets_tests.support import FOREVER

STATUS = dg.DagsterRunStatus
BEGUN, PEAKS = 10, [("EUR_USD", 12)]


class CountingEngine(DuckDBEngine):
    """A file; counts how often it was opened."""

    opened = 0

    @contextmanager
    def connect(self, deadline: Deadline, purpose: str, *, write: bool) -> Iterator[Connection]:
        self.opened += 1
        with super().connect(deadline, purpose, write=write) as connection:
            yield connection


class Deployment:
    """A small platform in a file, its definitions, and a daemon that ticks when the test says so."""

    def __init__(self, database: Path, instance: dg.DagsterInstance, inbox: Inbox) -> None:
        self.engine = CountingEngine(database)
        self.desk = Desk(inbox, peaks=PEAKS, store=Store(self.engine)).at(BEGUN)
        self.instance = instance
        self.inbox = inbox
        self.cursor: str | None = None
        self.load()

    def load(self) -> None:
        """Load the definitions, as a new process does."""
        self.repository = build_defs(pipeline=self.desk.pipeline).get_repository_def()

    def tick(self) -> dg.RunRequest | str:
        """Evaluate the sensor as its daemon does; give what it asks for, or why it does not."""
        sensor = self.repository.get_sensor_def("alerts")
        resources = {"pipeline": PipelineResource.over(self.desk.pipeline)}
        with dg.build_sensor_context(
            self.instance, self.cursor, repository_def=self.repository, resources=resources
        ) as context:
            answer = sensor.evaluate_tick(context)
        self.cursor = answer.cursor
        requests = answer.run_requests or []
        assert len(requests) <= 1
        return requests[0] if requests else str(answer.skip_message)

    def request(self) -> dg.RunRequest:
        """Tick, and give what is asked for."""
        asked = self.tick()
        assert isinstance(asked, dg.RunRequest), asked
        return asked

    def opened(self) -> int:
        """Tick, and give how often the file was opened for it; nothing may be asked for."""
        before = self.engine.opened
        assert isinstance(self.tick(), str)
        return self.engine.opened - before

    def deliver(self, request: dg.RunRequest | None = None) -> dg.ExecuteInProcessResult:
        """Run the job."""
        job = self.repository.get_job("deliver_alerts")
        return job.execute_in_process(QUIET, self.instance, tags=request.tags if request else None)

    def ran(self, job: str, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None) -> None:
        """Let there have been a run of a job."""
        self.instance.create_run_for_job(self.repository.get_job(job), status=status, tags=tags)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with ephemeral() as instance:
        yield instance


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a database that has the first hours."""
    folder = tmp_path_factory.mktemp("begun")
    Desk(Inbox(), peaks=PEAKS, store=open_store(str(folder / "spike.duckdb"))).begin(BEGUN)
    return folder


@pytest.fixture
def database(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "data")) / "spike.duckdb"


@pytest.fixture
def there(database: Path, instance: dg.DagsterInstance, inbox: Inbox) -> Deployment:
    return Deployment(database, instance, inbox)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(deliveries, "_STORE_PATIENCE", timedelta(seconds=30))


# --- when it looks ----------------------------------------------------------------------------------------------------


def test_nothing_is_opened_while_nothing_has_changed(there: Deployment) -> None:
    assert there.tick() == "nothing waits"
    there.desk.later(seconds=59)
    assert there.opened() == 0
    assert there.tick() == "nothing has changed"
    there.desk.later(seconds=1)
    assert there.opened() > 0  # what is wrong with the platform shows by the clock alone


def test_whatever_changed_is_looked_at(there: Deployment, inbox: Inbox) -> None:
    there.tick()
    inbox.script.append(away())
    there.desk.run(13)
    assert there.opened() > 0
    assert "something is due 2025-03-10T13:05:0" in str(there.tick())


def test_where_nothing_tells_of_changes_every_tick_looks(there: Deployment, inbox: Inbox) -> None:
    inbox.script.append(away())
    there.desk = Desk(inbox, peaks=PEAKS).begin(BEGUN)  # in memory
    there.load()
    assert there.tick() == "nothing waits"
    there.desk.run(13)
    assert "nothing is due before 2025-03-10 13:05:0" in str(there.tick())


def test_without_channels_nothing_is_opened(there: Deployment) -> None:
    there.desk.pipeline = replace(there.desk.pipeline, policy=Policy())
    there.load()
    before = there.engine.opened
    assert there.tick() == "no channels are configured"
    assert there.engine.opened == before


def test_a_store_that_is_in_use_is_left_alone(there: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_STORE_PATIENCE", timedelta(0))
    with Store(DuckDBEngine(there.engine.path)).writing(FOREVER, "a backfill"):
        said = str(there.tick())
    assert said.startswith("the store is busy, the next look is in 5 s: spike.duckdb is in use by a backfill")
    assert there.cursor is None
    assert there.tick() == "nothing waits"


# --- what it asks for -------------------------------------------------------------------------------------------------


def put_off(there: Deployment, retry_after: float = 0.0) -> None:
    """Let a pass be refused by its channel."""
    there.inbox.script.append(away(retry_after))
    there.desk.run(13)
    assert not there.inbox.received


def test_what_a_channel_refused_is_asked_for_when_it_is_due_and_sent(there: Deployment, inbox: Inbox) -> None:
    put_off(there, retry_after=30)
    assert there.tick() == "nothing is due before 2025-03-10 13:05:30 UTC"
    there.desk.later(seconds=29)
    assert there.opened() == 0
    there.desk.later(seconds=1)
    asked = there.request()
    assert asked.job_name in {None, "deliver_alerts"}
    assert asked.tags["spike/channels"] == "desk"
    assert there.deliver(asked).success
    assert inbox.told() == [("digest", 12, ("EUR_USD",))]
    assert there.tick() == "nothing waits"


def test_what_quiet_hours_put_off_is_asked_for_when_they_end(database: Path, instance: dg.DagsterInstance) -> None:
    quiet = QuietHours(time(13, 0), time(13, 6), ZoneInfo("UTC"))
    there = Deployment(database, instance, Inbox(wants=Wants(quiet=quiet)))
    there.desk.run(13)
    assert there.tick() == "nothing is due before 2025-03-10 13:06:00 UTC"
    there.desk.later(seconds=59)
    assert there.opened() == 0
    there.desk.later(seconds=1)
    there.deliver(there.request())
    assert there.inbox.told() == [("digest", 12, ("EUR_USD",))]


def test_what_a_reconcile_queued_is_asked_for(there: Deployment, inbox: Inbox) -> None:
    there.desk.run(13)
    there.desk.peak("GBP_USD", 11)
    there.desk.reconcile()
    assert len(inbox.received) == 1
    there.deliver(there.request())
    assert inbox.told() == [("digest", 12, ("EUR_USD",)), ("digest", 11, ("GBP_USD",))]


def test_the_key_stays_until_a_run_for_it_has_ended(there: Deployment) -> None:
    put_off(there)
    there.desk.later(seconds=6)
    first = there.request()
    again = there.request()
    there.ran("deliver_alerts", STATUS.STARTED, dict(first.tags))
    there.ran("deliver_alerts", STATUS.FAILURE, {PENDING_TAG: "something else"})
    third = there.request()
    assert first.run_key
    assert first.run_key == again.run_key == third.run_key
    assert first.tags == again.tags


@pytest.mark.parametrize("status", [STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED])
def test_the_key_is_another_one_once_a_run_has_ended_and_it_is_still_due(
    there: Deployment, status: dg.DagsterRunStatus
) -> None:
    put_off(there)
    there.desk.later(seconds=6)
    keys = [there.request().run_key]
    for _ in range(2):
        there.ran("deliver_alerts", status, dict(there.request().tags))
        keys.append(there.request().run_key)
    assert len(set(keys)) == 3


def test_the_key_is_another_one_for_each_try_and_for_what_comes_behind(there: Deployment, inbox: Inbox) -> None:
    put_off(there)
    keys = []
    for _ in range(2):
        there.desk.later(minutes=1)
        inbox.script.append(away())
        asked = there.request()
        keys.append(asked.run_key)
        assert there.deliver(asked).success
        assert isinstance(there.tick(), str)
    there.desk.peak("GBP_USD", 13)
    inbox.script.append(away())
    there.desk.run(14)
    there.desk.later(minutes=1)
    keys.append(there.request().run_key)
    assert len(set(keys)) == 3


# --- who sends --------------------------------------------------------------------------------------------------------


def a_pass(there: Deployment) -> dg.ExecuteInProcessResult:
    """Run the pass over the hour with an alert."""
    there.desk.now = max(there.desk.now, hour(13) + SOON)
    return run(there.desk.pipeline, keys_of(H1, Window(hour(BEGUN), hour(13))), there.instance)


def test_a_pass_sends_at_once_and_leaves_nothing_to_the_sensor(there: Deployment, inbox: Inbox) -> None:
    assert a_pass(there).success
    assert inbox.told() == [("digest", 12, ("EUR_USD",))]
    assert there.tick() == "nothing waits"
    assert there.deliver().success
    assert len(inbox.received) == 1


def test_a_channel_that_is_away_fails_no_run(there: Deployment, inbox: Inbox) -> None:
    inbox.script += [away()] * 2
    assert a_pass(there).success
    there.desk.later(minutes=1)
    assert there.deliver(there.request()).success
    assert not inbox.received
    there.desk.later(minutes=1)
    assert there.deliver(there.request()).success
    assert inbox.told() == [("digest", 12, ("EUR_USD",))]


def test_the_sensor_and_its_job_are_declared_as_the_design_says(there: Deployment) -> None:
    sensor = there.repository.get_sensor_def("alerts")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 5
    assert [target.job_name for target in sensor.targets] == ["deliver_alerts"]
    job = there.repository.get_job("deliver_alerts")
    assert job.executor_def is dg.in_process_executor
    assert float(job.run_tags["dagster/max_runtime"]) > 300


# --- what it tells of the platform itself -----------------------------------------------------------------------------


def told(there: Deployment) -> list[tuple[str, str, str]]:
    """Let a minute go by, tick, send what is due, and give kind, key and text of what came of late."""
    there.desk.later(minutes=1)
    before = len(there.inbox.received)
    asked = there.tick()
    if isinstance(asked, dg.RunRequest):
        assert there.deliver(asked).success
    notices = [(digest.kind, digest.notice) for digest in there.inbox.received[before:]]
    return [(kind, notice.key, notice.text) for kind, notice in notices if notice]


def test_a_job_that_fails_twice_in_a_row_is_told_of_once_and_so_is_its_end(there: Deployment) -> None:
    there.ran("h1_reconcile", STATUS.FAILURE)
    assert told(there) == []
    there.ran("h1_reconcile", STATUS.FAILURE)
    text = "h1_reconcile failed 2 times in a row; its runs in the Dagster UI say why"
    assert told(there) == [("operational", "h1_reconcile failed", text)]
    there.ran("h1_reconcile", STATUS.FAILURE)
    assert told(there) == []
    there.ran("h1_reconcile", STATUS.SUCCESS)
    assert told(there) == [("recovery", "h1_reconcile failed", text)]
    assert told(there) == []


def test_passes_that_fail_are_told_of_once_in_the_stores_words(there: Deployment) -> None:
    a_pass(there)
    wrong = replace(there.desk.pipeline, source=FailingSource(*[SourceError("the token is wrong")] * 2))
    for _ in range(2):
        assert not run(wrong, keys_of(H1, Window(hour(12), hour(13))), there.instance, raise_on_error=False).success
    assert told(there) == [("operational", "H1 failed", "H1 failed 2 times in a row: the token is wrong")]
    assert told(there) == []
    assert a_pass(there).success
    assert told(there) == [("recovery", "H1 failed", "H1 failed 2 times in a row: the token is wrong")]


def test_passes_that_cannot_even_begin_are_told_of_in_dagsters_words(there: Deployment) -> None:
    for _ in range(2):
        there.ran("h1_pass", STATUS.FAILURE)
    text = "h1_pass failed 2 times in a row; its runs in the Dagster UI say why"
    assert told(there) == [("operational", "H1 failed", text)]


def overdue(there: Deployment, minutes: int) -> bool:
    """Tick every minute for so long; tell whether anything was overdue by then."""
    return any("H1 overdue" in key for _ in range(minutes) for _, key, _ in told(there))


def test_behind_a_restart_nothing_is_overdue_before_a_tick_has_had_its_time(there: Deployment) -> None:
    there.desk.run(13)
    there.desk.now = hour(20) + SOON - timedelta(minutes=3)
    assert not overdue(there, 3)  # up to the tick
    assert overdue(there, 1)  # it has had its time


def test_a_pause_is_a_restart_and_a_short_one_is_none(there: Deployment) -> None:
    there.desk.run(13)
    there.tick()
    watched = Cursor.read(there.cursor).watched_since
    assert watched == there.desk.now.isoformat()
    there.desk.later(minutes=10)
    there.tick()
    assert Cursor.read(there.cursor).watched_since == watched
    there.desk.later(minutes=10, seconds=1)
    there.tick()
    assert Cursor.read(there.cursor).watched_since == there.desk.now.isoformat()


def test_a_cursor_of_before_begins_to_watch_now(there: Deployment) -> None:
    there.cursor = '{"stamp": null, "wake_at": null, "looked_at": null}'
    there.tick()
    assert Cursor.read(there.cursor).watched_since == there.desk.now.isoformat()


def test_a_delivery_job_that_fails_is_told_of_too(there: Deployment) -> None:
    for _ in range(2):
        there.ran("deliver_alerts", STATUS.FAILURE)
    assert [key for _, key, _ in told(there)] == ["deliver_alerts failed"]


def test_failures_in_a_row_are_those_since_a_run_went_well(there: Deployment) -> None:
    def after(*statuses: dg.DagsterRunStatus) -> int:
        for status in statuses:
            there.ran("h4_pass", status)
        return failures_in_a_row(there.instance, "h4_pass")

    assert after() == 0
    assert after(STATUS.FAILURE) == 1
    assert after(STATUS.CANCELED, STATUS.STARTED, STATUS.FAILURE) == 2
    assert after(STATUS.SUCCESS) == 0
    assert after(STATUS.FAILURE) == 1
    assert failures_in_a_row(there.instance, "d_pass") == 0
