"""The demo: everything on a simulated market, in a folder of its own, ready to look at within minutes."""

import json
import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from spike_assets import market_hours
from spike_assets.cli import console, dagster_home, replay
from spike_assets.cli.board import board
from spike_assets.cli.children import HOST, require_free, run_to_end
from spike_assets.cli.passes import load
from spike_assets.cli.serve import PORT
from spike_assets.cli.tables import events_table, read
from spike_assets.deadline import Deadline
from spike_assets.errors import PermanentError
from spike_assets.granularity import GRANULARITIES, H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.status import status
from spike_assets.reporting import Reporter
from spike_assets.settings import Settings, load_settings
from spike_assets.store.tables import EVENTS

_FIXED = ("history_start", "instruments", "atr_period", "warmup")
"""Settings that a demo keeps from its first start, whatever the environment says later."""
_LIMIT = timedelta(seconds=30)
_NEWEST = 10


@dataclass(frozen=True)
class Demo:
    """A demo's folder and what was fixed when it was first started."""

    home: Path
    loaded_from: datetime
    settings: Settings

    @property
    def environment(self) -> dict[str, str]:
        """What Dagster's processes are told on top of the environment."""
        in_force = self.settings.in_force()
        names = ("source", "database", *_FIXED)
        return {name: in_force[name] for name in (f"SPIKE_{name.upper()}" for name in names)}


@click.command
@PORT
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=".demo",
    show_default=True,
    help="The demo's own folder; remove it to start afresh.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    metavar="N",
    default=730,
    show_default="730",
    help="How much history is loaded.",
)
@click.option(
    "--partition-days",
    type=click.IntRange(min=1),
    metavar="N",
    default=30,
    show_default="30",
    help="How much of it Dagster shows as partitions.",
)
@click.option(
    "--live-hours",
    type=click.IntRange(min=1),
    metavar="N",
    default=48,
    show_default="48",
    help="How many hours of trading are kept to pass live.",
)
@click.option(
    "--pace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=1,
    show_default="1",
    help="How long an hour takes that passes live.",
)
@click.option(
    "--once", is_flag=True, envvar="DEMO_ONCE", help="Leave after the status in place of serving; so does DEMO_ONCE=1."
)
def demo(port: int, home: Path, days: int, partition_days: int, live_hours: int, pace: float, once: bool) -> None:
    """Show everything on a simulated market.

    The market is made up; no price is real. Loads two years of it at all four granularities, materialises the
    partitions of the last 30 days through Dagster, prints the status and the newest events, and serves the dashboard
    and the Dagster UI with its schedules running until Ctrl-C. The last 48 hours are kept for then: they pass live, an
    hour a second, and after them the market goes on at real time. A later start goes on with what is in the folder.
    """
    say = _Say()
    if not once:
        require_free(port)
        dagster_home.require_dashboard(load_settings(source="simulated"))
    demo = open_demo(home, days, partition_days)
    pipeline = Pipeline.from_settings(demo.settings)
    until = pipeline.clock() if once else _until(pipeline, live_hours)
    say(f"a simulated market of {len(pipeline.instruments)} instruments, kept in {home}; no price is real")
    past = replace(pipeline, clock=lambda: until)
    _load(demo, past, say)
    dagster = dagster_home.prepare(home / "dagster", fresh=True)
    _materialize(demo, dagster, until, say)
    click.echo(f"\n{board(status(past))}\n\nThe newest events at {H1}:\n")
    console.out().print(events_table(read(pipeline, EVENTS, H1, limit=_NEWEST), H1, pipeline))
    click.echo()
    if not once:
        reporter = Reporter(f"http://{HOST}:{port}", demo.settings.history_start)
        live = partial(_replay, pipeline, reporter, pace, say)
        dagster_home.serve(dagster, port, demo.environment, say, demo.settings, live)


class _Say:
    """Prints lines with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._start:4.0f} s] {text}")


def open_demo(home: Path, days: int, partition_days: int) -> Demo:
    """Give the demo in a folder, or make it; its history and partitions begin where they did at its first start."""
    home = home.resolve()
    notes = home / "demo.json"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not notes.exists():
            notes.write_text(json.dumps(_first_start(days, partition_days), indent=2) + "\n", encoding="utf-8")
        noted = json.loads(notes.read_text(encoding="utf-8"))
        loaded_from = datetime.fromisoformat(noted["loaded_from"])
        fixed = {name: noted["settings"][name] for name in _FIXED}
    except OSError as error:
        raise PermanentError(
            f"cannot keep a demo in {home}: {error.strerror}; choose another folder with --home"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"{notes} is damaged; remove {home} and start the demo afresh") from error
    settings = load_settings(source="simulated", database=str(home / "spike.duckdb"), **fixed)
    return Demo(home, loaded_from, settings)


def _first_start(days: int, partition_days: int) -> dict[str, object]:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=partition_days)
    chosen = load_settings(source="simulated", history_start=start).model_dump(mode="json", include=set(_FIXED))
    return {"loaded_from": (today - timedelta(days=days)).isoformat(), "settings": chosen}


def _until(pipeline: Pipeline, live_hours: int) -> datetime:
    """Give up to when history is loaded: to where the hours begin that pass live, or to where they have come."""
    with pipeline.store.reading(Deadline.after(_LIMIT), "the demo") as session:
        state = session.ops.state(H1)
    begins = replay.begins(pipeline.clock(), live_hours)
    return max(begins, state.last_processed) if state and state.last_processed else begins


def _load(demo: Demo, pipeline: Pipeline, say: _Say) -> None:
    """Load the history of what has none, interrupted or new; what came since is the partitions' business."""
    with pipeline.store.reading(Deadline.after(_LIMIT), "the demo") as session:
        states = {granularity: session.ops.state(granularity) for granularity in GRANULARITIES.values()}
    empty = [granularity for granularity, state in states.items() if state is None or state.last_processed is None]
    if not empty:
        say("its history is loaded already")
        return
    say(f"loading candles since {demo.loaded_from:%Y-%m-%d} at {', '.join(map(str, empty))}")
    results = load(pipeline, empty, Window(demo.loaded_from, pipeline.clock()))
    counts = [counts for result in results for counts in result.by_instrument.values()]
    say(f"{sum(c for c, _ in counts):,} candles stored, {sum(e for _, e in counts):,} events found")


def _materialize(demo: Demo, dagster: Path, until: datetime, say: _Say) -> None:
    say(f"materialising the partitions since {demo.settings.history_start:%Y-%m-%d} through Dagster")
    arguments = ["spike_assets.defs.materialize", until.isoformat(), *GRANULARITIES]
    environment = {**os.environ, **demo.environment, "DAGSTER_HOME": str(dagster)}
    for line in run_to_end("materialising", arguments, environment, dagster / "materialize.log"):
        say(line)


def _replay(pipeline: Pipeline, reporter: Reporter, pace: float, say: _Say, pause: dagster_home.Pause) -> None:
    left = replay.due(pipeline)
    if left:
        say(f"the hours up to now pass live, {pace:g} s each: watch them in the dashboard")
        replay.replay(pipeline, left, reporter, say, pause, pace)
    if not pause(0.0):
        closes = market_hours.next_close(H1, pipeline.clock())
        say(f"from here on at real time: the next candle of {H1} closes at {closes:%Y-%m-%d %H:%M} UTC")
