"""Two machines with all that runs on one, on one Postgres: schedules, sensors, backfills and functions at once.

A trading hour passes each minute, for spike's clock only (`bench.shifted`); Dagster's daemons, queues and launchers are
the real ones, and the homes are made of deploy/dagster-postgres.yaml.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bench.shifted import VARIABLE, Shift
from spike_assets.cli.children import Child
from spike_assets.granularity import H1
from spike_assets.market_hours import Window, last_closed
from spike_assets.partition_keys import partition_key, partition_times
from spike_assets.reporting import ASSETS
from spike_assets_tests.cli.test_children import free_port
from spike_assets_tests.faults.fleet import Fleet, fleet, function, older
from spike_assets_tests.faults.machines import ROOT, Machine, site
from spike_assets_tests.postgres import Server
from spike_assets_tests.processes import PATIENCE
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import FOREVER

pytestmark = pytest.mark.soak

HOURS = 6
"""How many candles close while all of it runs."""
BACK = 30
"""Partitions of each backfill that is launched by hand, in Dagster."""
UNFINISHED = [dg.DagsterRunStatus(name) for name in ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")]

_WORKSPACE = """
load_from:
  - python_module: {{module_name: bench.shifted, location_name: spike, working_directory: {}}}
"""
_BACKFILL = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""


def a_week_ago() -> Shift:
    """Give a clock that is at a trading hour of last Tuesday now."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    tuesday = midnight - timedelta(days=(now.weekday() - 1) % 7 or 7)
    return Shift(now.replace(second=0, microsecond=0), tuesday + timedelta(hours=3))


def ask(port: int, query: str, **variables: Any) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        body = json.dumps({"query": query, "variables": variables})
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["data"]
    finally:
        connection.close()


def answers(port: int) -> bool:
    """Tell whether a webserver, and the code behind it, is there."""
    try:
        return bool(ask(port, '{ assetNodes(assetKeys: [{path: ["h1", "events"]}]) { id } }')["assetNodes"])
    except (OSError, HTTPException, TypeError):
        return False


@contextmanager
def dagster(machine: Machine, *, daemon: bool) -> Iterator[int]:
    """Run a webserver on a machine, and a daemon or none; give its port."""
    workspace, port = machine.folder / "workspace.yaml", free_port()
    workspace.write_text(_WORKSPACE.format(ROOT), encoding="utf-8")
    programs = {"webserver": ["dagster_webserver", "--host", "127.0.0.1", "--port", str(port)]}
    if daemon:
        programs["daemon"] = ["dagster._daemon", "run"]
    with ExitStack() as stack, machine.visited():
        for name, arguments in programs.items():
            command = [*arguments, "--workspace", str(workspace)]
            child = Child(name, command, machine.environment, machine.folder / f"{name}.log")
            stack.callback(child.stop)
        running = stack.pop_all()
    with running:
        yield port


def launch_backfill(port: int, keys: Sequence[str]) -> str:
    assets = [{"path": [H1.schema, asset]} for asset in ASSETS]
    told = ask(port, _BACKFILL, params={"assetSelection": assets, "partitionNames": keys, "tags": []})
    backfill: str = told["launchPartitionBackfill"]["backfillId"]
    return backfill


def tick_until(running: Fleet, shift: Shift, done: Callable[[], bool], seconds: float) -> None:
    """Let functions and a backfill run once a minute, before Dagster's tick or behind it, until something has come."""
    end = time.monotonic() + seconds
    due = datetime.now(UTC)
    while not done():
        assert time.monotonic() < end, [each.last_words() for each in running.programs]
        if datetime.now(UTC) >= due:
            running.tick(shift(datetime.now(UTC)))
            due = datetime.now(UTC).replace(second=0) + timedelta(seconds=60 + running.chance.uniform(0, 40))
        time.sleep(0.2)


def ended(instance: dg.DagsterInstance, backfills: Sequence[str]) -> list[str]:
    """Give how those backfills ended that have."""
    statuses = [found.status.value for one in backfills if (found := instance.get_backfill(one))]
    return [status for status in statuses if status.startswith("COMPLETED")]


def is_quiet(instance: dg.DagsterInstance) -> bool:
    """Tell whether no run is under way, nor about to be: ticks come with the minute."""
    return 20 <= datetime.now(UTC).second < 40 and not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))


@pytest.mark.parametrize("daemons", [1, 2])
def test_all_runs_on_both_at_once(daemons: int, server: Server, tmp_path: Path, record_property: Tell) -> None:
    """Dagster wants one daemon: two may launch a run twice, and then call it failed. Tables and messages are right."""
    shift = a_week_ago()
    with ExitStack() as stack:
        database, storage = (stack.enter_context(server.database(empty=empty)) for empty in (False, True))
        here = stack.enter_context(site(tmp_path, database, storage, shift.hour))
        for machine in here.machines:
            machine.environment[VARIABLE] = str(shift)
        with here.machines[0].visited():  # two that make Dagster's tables at once: one of them fails
            instance = stack.enter_context(dg.DagsterInstance.get())
            assert not instance.get_runs()
        running = stack.enter_context(fleet(here, (function, 0, 0.0), (function, 1, 0.0), (older, 1, 0.0)))
        with ExitStack() as dagsters:
            ports = [
                dagsters.enter_context(dagster(machine, daemon=n < daemons)) for n, machine in enumerate(here.machines)
            ]
            tick_until(running, shift, lambda: all(map(answers, ports)), 2 * PATIENCE)
            history = Window(here.pipeline.history_start, here.first)
            keys = [partition_key(H1, open_) for open_ in partition_times(H1, history).to_pydatetime()]
            backfills = [launch_backfill(port, keys[n * BACK : (n + 1) * BACK]) for n, port in enumerate(ports)]
            end = datetime.now(UTC) + HOURS * timedelta(minutes=1)
            tick_until(running, shift, lambda: datetime.now(UTC) > end and len(ended(instance, backfills)) == 2, 900)
            tick_until(running, shift, lambda: is_quiet(instance), PATIENCE)
        now = shift(datetime.now(UTC))
        running.tick(now)
        here.close(last_closed(H1, now).end, 0)
        with here.pipeline.store.reading(FOREVER) as session:
            passes = session.queries.passes(H1, 10_000)
        kinds = zip(passes["trigger"], passes["status"], strict=True)
        counted = Counter(f"{trigger} {status}" for trigger, status in kinds)
        runs = Counter(f"{run.job_name} {run.status.value}" for run in instance.get_runs())
        ticks = Counter(
            tick.status.value
            for schedule in instance.all_instigator_state()
            if schedule.name == "h1_schedule"
            for tick in instance.get_ticks(schedule.instigator_origin_id, schedule.selector_id)
        )
    for name, each in {"passes": counted, "runs of Dagster": runs, "ticks of its schedule": ticks}.items():
        record_property(name, ", ".join(f"{count} {what}" for what, count in sorted(each.items())))
    assert counted["schedule success"]
    assert counted["function success"]
    assert daemons == 2 or not [what for what in runs if not what.endswith(" SUCCESS")], runs
