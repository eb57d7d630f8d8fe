"""From a stored candle to a received alert, in a running `spike up`: launched runs, a real webhook on loopback."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from bench.passes import Timings
from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.settings import load_settings
from spike_assets.store.tables import CANDLES
from spike_assets_tests.receiver import Receiver, Status

PORT = 3765
SECRET = "whsec_" + base64.b64encode(b"b" * 32).decode()
HISTORY = timedelta(days=120)
PATIENCE = 180.0

_LAUNCH = """
mutation Launch($job: String!, $key: String!) {
  launchRun(executionParams: {
    selector: {repositoryName: "__repository__", repositoryLocationName: "spike", jobName: $job}
    runConfigData: {}
    executionMetadata: {tags: [{key: "dagster/partition", value: $key}]}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
_RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) { __typename ... on Run { status startTime endTime } }
}"""


@dataclass(frozen=True)
class Sent:
    """What was measured: milliseconds of each part, over the runs that had an alert, and of what the sensor sent."""

    runs: Timings
    by_sensor: Timings


def measure(folder: Path, runs: int, retries: int) -> Sent:
    """Start `spike up`, launch a run per stored candle, and watch the webhook."""
    with Receiver(SECRET) as receiver:
        environment = _environment(folder, receiver.url)
        pipeline = _loaded(environment, runs + retries)
        with _up(folder, environment) as ask:
            timings, by_sensor = Timings(), Timings()
            for n, opened in enumerate(_left(pipeline)):
                if n and n >= runs:
                    receiver.faults.append(Status(503))
                part = _one(ask, pipeline, receiver, opened)
                if part is None or not n:  # the first one warms up
                    receiver.faults.clear()
                    continue
                for name, milliseconds in part.items():
                    (by_sensor if n >= runs else timings).add(name, milliseconds)
    return Sent(timings, by_sensor)


def _environment(folder: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPIKE_", "DAGSTER_"))}
    return kept | {
        "SPIKE_DATABASE": str(folder / "spike.duckdb"),
        "SPIKE_HISTORY_START": f"{datetime.now(UTC) - HISTORY:%Y-%m-%d}",
        "SPIKE_WEBHOOK_URL": f"{url}/hook",
        "SPIKE_WEBHOOK_SECRET": SECRET,
        "SPIKE_WEBHOOK_ALLOW_PRIVATE": "1",
        "SPIKE_ALERT_MAX_AGE": "30d",  # measured on a weekend, too
        "DAGSTER_HOME": str(folder / "home"),
    }


def _loaded(environment: dict[str, str], left: int) -> Pipeline:
    """Load history up to so many candles before the newest one."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        pipeline = Pipeline.from_settings(load_settings())
    finally:
        os.environ.clear()
        os.environ.update(before)
    newest = market_hours.last_closed(H1, pipeline.clock())
    end = market_hours.nth_candle_before(H1, newest.end, left)
    backfill(pipeline, H1, Window(end - HISTORY, end))
    with pipeline.store.writing(Deadline.after(timedelta(seconds=10)), "bench") as session, session.transaction():
        state = session.ops.state(H1)
        assert state
        session.ops.write_state(H1, replace(state, live_since=end))  # else this was history, which nobody is told of
    return pipeline


def _left(pipeline: Pipeline) -> list[datetime]:
    with pipeline.store.reading(Deadline.after(timedelta(seconds=10))) as session:
        newest = session.data.last_time(H1)
    assert newest is not None
    end = market_hours.last_closed(H1, pipeline.clock()).end
    times = market_hours.candle_times(H1, Window(market_hours.close_of(H1, newest), end))
    return [time.to_pydatetime() for time in times]


@contextmanager
def _up(folder: Path, environment: dict[str, str]) -> Iterator[Callable[[str, dict[str, str]], Any]]:
    """Run `spike up`, its H1 schedule stopped: it would take the candles that are to be measured."""
    command = [str(Path(sys.executable).with_name("spike")), "up", "--port", str(PORT)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(lambda: "the schedules run" in (folder / "up.log").read_text())
        _wait(_daemon_is_up)
        yield _ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _daemon_is_up() -> bool:
    health = _ask("query Q { instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }", {})
    statuses = health["instance"]["daemonHealth"]["allDaemonStatuses"]
    return all(one["healthy"] for one in statuses if one["required"])


def _one(
    ask: Callable[[str, dict[str, str]], Any], pipeline: Pipeline, receiver: Receiver, opened: datetime
) -> dict[str, float] | None:
    """Launch the run of one candle; give its parts, None where it had no alert."""
    from spike_assets.defs.partitions import partition_key  # noqa: PLC0415

    heard, launched = len(receiver.received), time.time()
    answer = ask(_LAUNCH, {"job": "h1_pass", "key": partition_key(H1, opened)})["launchRun"]
    run_id = answer["run"]["runId"]
    run = _wait(lambda: _ended(ask, run_id))
    if run["status"] != "SUCCESS":
        raise RuntimeError(f"a measured run ended as {run['status']}")
    if len(receiver.received) == heard:
        return None
    first = receiver.received[heard]
    stored = _fetched_at(pipeline, opened)
    if first.status == 200:
        return {
            "launch → run starts": (run["startTime"] - launched) * 1000,
            "run starts → candle received": (stored - run["startTime"]) * 1000,
            "candle received → alert received": (first.at - stored) * 1000,
            "launch → alert received": (first.at - launched) * 1000,
        }
    _wait(lambda: len(receiver.received) > heard + 1)
    return {"refused → received again, by sensor": (receiver.received[heard + 1].at - first.at) * 1000}


def _ended(ask: Callable[[str, dict[str, str]], Any], run_id: str) -> dict[str, Any] | None:
    run: dict[str, Any] = ask(_RUN, {"id": run_id})["runOrError"]
    return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None


def _fetched_at(pipeline: Pipeline, opened: datetime) -> float:
    window = Window(opened, opened + timedelta(microseconds=1))
    with pipeline.store.reading(Deadline.after(timedelta(seconds=10))) as session:
        rows = session.data.read(H1, CANDLES, window, ["instrument", "time", "fetched_at"])
    return float(rows["fetched_at"].max().timestamp())


def _ask(query: str, variables: dict[str, str]) -> Any:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=30)
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if "data" not in answer or answer["data"] is None:
        raise RuntimeError(str(answer)[:500])
    return answer["data"]


def _wait(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            found = look()
        except (OSError, HTTPException):
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError("the measured thing never came")
