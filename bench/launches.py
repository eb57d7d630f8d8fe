"""From the launch of a run to its success, in a running `spike up`: Dagster's own settings against the shipped ones."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import ticks
from bench.launched import VARIABLE
from bench.passes import Timings
from bench.up import Ask, environment, pipeline_of, spike_up, wait_for
from spike_assets import market_hours
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window
from spike_assets.partition_keys import partition_key
from spike_assets.pipeline.backfill import backfill

STOCK, OURS = "Dagster's own settings", "as shipped"
HISTORY = 500
"""Candles of each instrument and granularity that are stored before."""
PATIENCE = 300.0
SETTINGS = {STOCK: "telemetry: {enabled: false}\n", OURS: None}
"""What stands in dagster.yaml; None for what `spike up` puts there."""

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


def measure(folder: Path, n: int) -> dict[str, Timings]:
    """Run `n` times one run, and four at once (one of each granularity), with either settings; give milliseconds."""
    return {name: _measure(folder / f"{i}", n, settings) for i, (name, settings) in enumerate(SETTINGS.items())}


def ticked(folder: Path, n: Mapping[str, int]) -> dict[str, Timings]:
    """Measure so many ticks with each of the settings, as `ticks.measure` does."""
    found = {}
    for i, (name, settings) in enumerate(SETTINGS.items()):
        home(folder / f"ticks{i}", settings)
        found[name] = ticks.measure(folder / f"ticks{i}", n[name])
    return found


def home(folder: Path, settings: str | None) -> None:
    """Make the folder of a `spike up`, with other settings of Dagster's than the shipped ones where any are given."""
    (folder / "home").mkdir(parents=True)
    if settings is not None:
        (folder / "home" / "dagster.yaml").write_text(settings, encoding="utf-8")


def _measure(folder: Path, n: int, settings: str | None) -> Timings:
    home(folder, settings)
    (folder / "workspace.yaml").write_text(_WORKSPACE.format(Path(__file__).parents[1]), encoding="utf-8")
    now = datetime.now(UTC)
    variables = environment(folder, "http://127.0.0.1:1", now - timedelta(weeks=HISTORY + 3 * n)) | {VARIABLE: "1"}
    for name in [name for name in variables if name.startswith("SPIKE_WEBHOOK")]:
        del variables[name]
    times = {granularity: _loaded(variables, granularity, now, n) for granularity in GRANULARITIES.values()}
    timings = Timings()
    with spike_up(folder, variables) as ask:
        _runs(ask, {H1: next(times[H1])})  # the first one loads what there is
        for _ in range(n):
            _note(timings, "one run", _runs(ask, {H1: next(times[H1])}))
        for _ in range(n):
            _note(timings, "four at once", _runs(ask, {g: next(opens) for g, opens in times.items()}))
    return timings


def _loaded(variables: dict[str, str], granularity: Granularity, now: datetime, n: int) -> Iterator[datetime]:
    """Store history up to what the runs bring; give the candle times that these bring."""
    until = market_hours.last_closed(granularity, now).start
    opens = market_hours.candle_times(granularity, Window(until - 4 * granularity.step * (HISTORY + 2 * n), until))
    times = [open_.to_pydatetime() for open_ in opens[-HISTORY - 2 * n - 1 :]]
    backfill(pipeline_of(variables), granularity, Window(times[0], times[HISTORY]))
    return iter(times[HISTORY:])


def _note(timings: Timings, what: str, runs: list[dict[str, float]]) -> None:
    """Note when the last of the runs had succeeded, and where the first one's time went."""
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
