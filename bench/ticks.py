"""From the tick of the H1 schedule to a received alert, in a running `spike up` (see `bench.shifted` for its clock)."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.passes import Timings
from bench.shifted import VARIABLE, Shift
from bench.up import SECRET, Ask, environment, pipeline_of, spike_up, wait_for
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.store.tables import ALERTS, CANDLES, Table
from spike_assets_tests.receiver import Received, Receiver, Status

HISTORY = timedelta(days=120)
LEAD = 2
"""Minutes from the start of `spike up` to the first tick that is measured; those before load what there is."""
EVERY = 13
"""The webhook refuses the first message of every thirteenth tick."""
HOUR = datetime(2026, 11, 17, 6, tzinfo=UTC)
"""Where the hours begin that go by: a Tuesday of the simulated market, the same whenever this is run."""
SHARE = 0.05
"""Three instruments with an event make a group here, so that almost every tick has an alert."""
QUIETLY = 40.0
"""Seconds behind a run's end in which the sensor would have sent what was to be sent."""

_WORKSPACE = """
load_from:
  - python_module:
      module_name: bench.shifted
      location_name: spike
      working_directory: {}
"""
_RUNS = """
query Runs { runsOrError(filter: {pipelineName: "h1_pass"}, limit: 3) {
  ... on Runs { results { runId status startTime endTime } } } }"""


def measure(folder: Path, ticks: int, more: Mapping[str, str]) -> Timings:
    """Run `spike up`, told some more, over so many ticks, one a minute; not each of them has an alert."""
    now = datetime.now(UTC)
    shift = Shift(now.replace(second=0, microsecond=0) + timedelta(minutes=LEAD), HOUR)
    (folder / "workspace.yaml").write_text(_WORKSPACE.format(Path(__file__).parents[1]), encoding="utf-8")
    timings = Timings()
    with Receiver(SECRET) as receiver:
        variables = environment(folder, receiver.url, shift.hour - HISTORY)
        variables |= {VARIABLE: str(shift), "SPIKE_SIMULTANEOUS_SHARE": str(SHARE), **more}
        pipeline = _loaded(variables, shift)
        with spike_up(folder, variables) as ask:
            n = max(0, -((shift.real - datetime.now(UTC)) // timedelta(minutes=1)))
            for _ in range(ticks):
                due = shift.real + timedelta(minutes=n)
                time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))  # messages of before are through
                receiver.faults[:] = [Status(503)] if n % EVERY == EVERY - 1 else []
                for name, milliseconds in _one(ask, pipeline, receiver, due, shift).items():
                    timings.add(name, milliseconds)
                n = (datetime.now(UTC) - shift.real) // timedelta(minutes=1) + 1
    return timings


def _loaded(variables: dict[str, str], shift: Shift) -> Pipeline:
    """Load history up to what the first minutes bring."""
    pipeline = pipeline_of(variables)
    end = shift.hour - timedelta(hours=LEAD + 1)
    backfill(pipeline, H1, Window(shift.hour - HISTORY, end))
    with pipeline.store.writing(Deadline.after(timedelta(seconds=10)), "bench") as session, session.transaction():
        state = session.ops.state(H1)
        assert state
        session.ops.write_state(H1, replace(state, live_since=end))  # else this was history, which nobody is told of
    return pipeline


def _one(ask: Ask, pipeline: Pipeline, receiver: Receiver, due: datetime, shift: Shift) -> dict[str, float]:
    """Wait for the run of a tick and its alert; give the parts, fewer where the candle had none."""
    opened, heard = shift(due).replace(minute=0, second=0) - timedelta(hours=1), len(receiver.received)
    run = wait_for(lambda: _ended(ask, due))
    if run["status"] != "SUCCESS":
        raise RuntimeError(f"a measured run ended as {run['status']}")
    ticked = due.timestamp()
    parts = {
        "tick due → run starts": run["startTime"] - ticked,
        "tick due → run succeeded": run["endTime"] - ticked,
    }
    if not _read(pipeline, ALERTS, opened, "time").empty:
        parts |= _heard(pipeline, receiver, opened, heard, run["startTime"], ticked, shift)
    return {name: seconds * 1000 for name, seconds in parts.items()}


def _heard(
    pipeline: Pipeline,
    receiver: Receiver,
    opened: datetime,
    heard: int,
    started: float,
    ticked: float,
    shift: Shift,
) -> dict[str, float]:
    """Wait for the alert, and give when it was received, in seconds."""
    good = wait_for(lambda: _taken(receiver.received[heard:], opened), QUIETLY)
    stored = shift.back(_read(pipeline, CANDLES, opened, "fetched_at").max().to_pydatetime()).timestamp()
    first = next(one for one in receiver.received[heard:] if _about(one) == ("H1", opened))
    if first.status != 200:
        return {"refused → received, sent by the sensor's run": good.at - first.at}
    return {
        "run starts → candle received": stored - started,
        "candle received → alert received": good.at - stored,
        "tick due → alert received": good.at - ticked,
    }


def _taken(received: list[Received], opened: datetime) -> Received | None:
    """Give the message about a candle time, once it was taken."""
    return next((one for one in received if one.status == 200 and _about(one) == ("H1", opened)), None)


def _about(one: Received) -> tuple[str | None, datetime | None]:
    digest = json.loads(one.body)
    return digest["granularity"], digest["time"] and datetime.fromisoformat(digest["time"])


def _ended(ask: Ask, due: datetime) -> dict[str, Any] | None:
    runs: list[dict[str, Any]] = ask(_RUNS, {})["runsOrError"]["results"]
    ended = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
    return next((run for run in ended if run["startTime"] >= due.timestamp()), None)


def _read(pipeline: Pipeline, table: Table, opened: datetime, column: str) -> Any:
    window = Window(opened, opened + timedelta(microseconds=1))
    with pipeline.store.reading(Deadline.after(timedelta(seconds=10))) as session:
        return session.data.read(H1, table, window, ["instrument", "time", column])[column]
