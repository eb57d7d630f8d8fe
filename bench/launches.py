"""From the launch of a run to its success, in a running `spike up`: Dagster's own settings against the shipped ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import ticks
from bench.launched import STEP_PROCESSES, VARIABLE
from bench.passes import Timings
from bench.up import Ask, environment, pipeline_of, spike_up, wait_for
from spike_assets import market_hours
from spike_assets.defs import EVENT_BATCHES
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline.backfill import backfill

HISTORY = 500
"""Candles of each instrument and granularity that are stored before."""
PATIENCE = 300.0


@dataclass(frozen=True)
class Setting:
    """How Dagster is set, and how often with that.

    Attributes
    ----------
    yaml
        What stands in dagster.yaml; None for what `spike up` puts there.
    step_processes
        Whether each stage has a process of its own.
    runs, at_once, ticks
        How many runs alone, fours of runs, and ticks are measured.
    """

    name: str
    yaml: str | None
    step_processes: bool = False
    runs: int = 20
    at_once: int = 20
    ticks: int = 0

    @property
    def variables(self) -> dict[str, str]:
        """What the environment says of it; where nothing is set, events are not batched, which `spike up` would do."""
        unbatched = dict.fromkeys(EVENT_BATCHES, "0") if self.yaml else {}
        return unbatched | ({STEP_PROCESSES: "1"} if self.step_processes else {})


_NOTHING_SET = "telemetry: {enabled: false}\n"
STOCK = Setting("Dagster's own settings", _NOTHING_SET, step_processes=True, at_once=2, ticks=12)
ONE_PROCESS = Setting("Dagster's own, stages in one process", _NOTHING_SET, at_once=5)
OURS = Setting("as shipped", None, ticks=26)
SETTINGS = (STOCK, ONE_PROCESS, OURS)

_WORKSPACE = """
load_from:
  - python_module:
      module_name: bench.launched
      location_name: spike
      working_directory: {}
"""
_LAUNCH = """
mutation Launch($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "spike", repositoryName: "__repository__", pipelineName: $job}
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
_RUN = """
query Run($id: ID!) { runOrError(runId: $id) { ... on Run {
  status stats { ... on RunStatsSnapshot { enqueuedTime launchTime startTime endTime } } } } }"""


def measure(folder: Path) -> dict[str, Timings]:
    """Run one run, and four at once (one of each granularity), with each of the settings; give milliseconds."""
    return {setting.name: _measure(folder / f"{i}", setting) for i, setting in enumerate(SETTINGS)}


def ticked(folder: Path) -> dict[str, Timings]:
    """Measure ticks with each of the settings that have some, as `ticks.measure` does."""
    found = {}
    for i, setting in enumerate(setting for setting in SETTINGS if setting.ticks):
        home(folder / f"ticks{i}", setting)
        found[setting.name] = ticks.measure(folder / f"ticks{i}", setting.ticks, setting.variables)
    return found


def home(folder: Path, setting: Setting) -> None:
    """Make the folder of a `spike up`, with other settings of Dagster's than the shipped ones where it has any."""
    (folder / "home").mkdir(parents=True)
    if setting.yaml is not None:
        (folder / "home" / "dagster.yaml").write_text(setting.yaml, encoding="utf-8")


def _measure(folder: Path, setting: Setting) -> Timings:
    home(folder, setting)
    (folder / "workspace.yaml").write_text(_WORKSPACE.format(Path(__file__).parents[1]), encoding="utf-8")
    now = datetime.now(UTC)
    n = setting.runs + setting.at_once
    variables = environment(folder, "http://127.0.0.1:1", now - timedelta(weeks=HISTORY + 3 * n))
    variables |= setting.variables | {VARIABLE: "1"}
    for name in [name for name in variables if name.startswith("SPIKE_WEBHOOK")]:
        del variables[name]
    times = {granularity: _loaded(variables, granularity, now, n) for granularity in GRANULARITIES.values()}
    timings = Timings()
    with spike_up(folder, variables) as ask:
        _runs(ask, {H1: next(times[H1])})  # the first one loads what there is
        for _ in range(setting.runs):
            _note(timings, "one run", _runs(ask, {H1: next(times[H1])}))
        for _ in range(setting.at_once):
            _note(timings, "four at once", _runs(ask, {g: next(opens) for g, opens in times.items()}))
    return timings


def _loaded(variables: dict[str, str], granularity: Granularity, now: datetime, n: int) -> Iterator[datetime]:
    """Store history up to what the runs bring; give the candle times that these bring."""
    until = market_hours.last_closed(granularity, now).start
    opens = market_hours.candle_times(granularity, Window(until - 4 * granularity.step * (HISTORY + n), until))
    times = [open_.to_pydatetime() for open_ in opens[-HISTORY - n - 1 :]]
    backfill(pipeline_of(variables), granularity, Window(times[0], times[HISTORY]))
    return iter(times[HISTORY:])


def _note(timings: Timings, what: str, runs: list[dict[str, float]]) -> None:
    """Note how long it was from the first launch to the first start, and to the last success."""
    first = min(run["launchTime"] for run in runs)
    asked = min(run["asked"] for run in runs)
    last = max(run["endTime"] for run in runs)
    timings.add(f"{what}: launch → succeeded", (last - first) * 1000)
    timings.add(f"{what}: asked → succeeded", (last - asked) * 1000)
    timings.add(f"{what}: launch → started", (min(run["startTime"] for run in runs) - first) * 1000)


def _runs(ask: Ask, opens: dict[Granularity, datetime]) -> list[dict[str, float]]:
    """Ask for a pass of each granularity, and give when what happened, once all have succeeded."""
    asked = [_ask_for(ask, granularity, open_) for granularity, open_ in opens.items()]
    return [wait_for(lambda run=run: _succeeded(ask, *run), PATIENCE) for run in asked]  # type: ignore[misc]


def _ask_for(ask: Ask, granularity: Granularity, open_: datetime) -> tuple[str, float]:
    tags = [{"key": "dagster/partition", "value": partition_key(granularity, open_)}]
    asked = datetime.now(UTC).timestamp()
    said = ask(_LAUNCH, {"job": f"{granularity.schema}_pass", "tags": tags})["launchRun"]
    if said["__typename"] != "LaunchRunSuccess":
        raise RuntimeError(f"a run was not launched: {said}")
    return said["run"]["runId"], asked


def _succeeded(ask: Ask, run_id: str, asked: float) -> dict[str, Any] | None:
    run = ask(_RUN, {"id": run_id})["runOrError"]
    if run["status"] in ("FAILURE", "CANCELED"):
        raise RuntimeError(f"a measured run ended as {run['status']}")
    return run["stats"] | {"asked": asked} if run["status"] == "SUCCESS" else None
