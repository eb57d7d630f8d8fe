"""Passes over new candles, and backfills of old ones."""

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import click
from rich.table import Table

from spike_assets import market_hours
from spike_assets.cli import console
from spike_assets.cli.group import INTERRUPTED, Failure
from spike_assets.cli.parameters import GranularityType, TimeType
from spike_assets.cli.progress import progress
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import BackfillResult, Progress
from spike_assets.pipeline.backfill import backfill as pipeline_backfill
from spike_assets.reporting import Reported, Reporter
from spike_assets.settings import load_settings

_TELLING = timedelta(minutes=2)
"""What telling Dagster of a backfill may take: a thousand requests of 30 ms, four times over."""


@click.command
@click.argument("granularity", type=GranularityType())
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="What the pass may take at most.")
def run(granularity: tuple[Granularity, ...], timeout: float | None) -> None:
    """Run one pass now and print what it did, as JSON.

    Fetches the candles that have closed since the last pass, then works off ATR, events and features. The JSON's
    status is success, no_new_data or failed (exit code 1); processed lists the instruments that had news. With
    DAGSTER_WEBSERVER_URL set, Dagster is told of the partitions.
    """
    settings = load_settings()
    pipeline = Pipeline.from_settings(settings)
    deadline = Deadline.after(timedelta(seconds=timeout) if timeout else granularity[0].timeout)
    start = time.perf_counter()
    try:
        result = process(pipeline, granularity[0], deadline=deadline)
    except SpikeError as error:
        took = round((time.perf_counter() - start) * 1000, 1)
        click.echo(json.dumps({"status": "failed", "processed": [], "duration_ms": took}))
        raise Failure(str(error)) from error
    click.echo(json.dumps(result.as_json()))
    _say(granularity[0], Reporter.from_settings(settings).report(granularity[0], result.window, "cli", deadline))
    if result.behind:
        click.echo(f"{result.behind:,} closed candle times are still to be processed: run again", err=True)


@click.command
@click.argument("granularity", type=GranularityType(or_all=True))
@click.option("--from", "start", type=TimeType(), help="Where to begin; SPIKE_HISTORY_START unless given.")
@click.option("--to", "end", type=TimeType(), help="Where to end; now unless given.")
def backfill(granularity: tuple[Granularity, ...], start: datetime | None, end: datetime | None) -> None:
    """Load history; interrupted, the same command goes on.

    Fetches every candle that opened in the window and computes all that follows from it. What is stored already is
    fetched again, so corrections and late candles come in. Times are UTC. With DAGSTER_WEBSERVER_URL set, Dagster is
    told of the newest partitions.
    """
    settings = load_settings()
    pipeline = Pipeline.from_settings(settings)
    window = Window(start or pipeline.history_start, end or pipeline.clock())
    if not window:
        asked = f"from {console.minute(window.start)} to {console.minute(window.end)} UTC"
        raise click.UsageError(f"the window {asked} is empty; --from has to lie before --to")
    for one in granularity:
        if window.start >= market_hours.last_closed(one, pipeline.clock()).end:
            raise click.UsageError(f"no {one} candle that opened at {console.minute(window.start)} UTC has closed yet")
    results = load(pipeline, granularity, window)
    if any(result.by_instrument for result in results):
        console.out().print(summary(results))
        click.echo()
    else:
        click.echo("nothing new: every candle of the window is stored as it is")
    click.echo("\n".join(remarks(results)))
    reporter = Reporter.from_settings(settings)
    for result in results:
        within = Deadline.after(_TELLING)
        _say(result.granularity, reporter.report(result.granularity, result.window, "backfill", within))


def _say(granularity: Granularity, told: Reported | None) -> None:
    """Say what Dagster was told, where it was anything."""
    if told:
        click.echo(f"{'warning: ' if told.why else ''}{granularity}: {told}", err=True)


def load(pipeline: Pipeline, granularities: Sequence[Granularity], window: Window) -> list[BackfillResult]:
    """Backfill with progress; Ctrl-C leaves with a word on how to go on."""
    until = ""
    results = []
    try:
        with progress() as tell:
            for granularity in granularities:

                def told(step: Progress, granularity: Granularity = granularity) -> None:
                    nonlocal until
                    until = f"{granularity} {console.minute(step.until)}"
                    tell(granularity.name, step.done, step.total, f"{console.minute(step.until)} UTC")

                results.append(pipeline_backfill(pipeline, granularity, window, progress=told))
    except KeyboardInterrupt:
        click.echo(f"interrupted behind {until or 'nothing'} UTC; the same command goes on from there", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    return results


def summary(results: Sequence[BackfillResult]) -> Table:
    """Give a table of what backfills did, an instrument per row; totals are its footer."""
    table = console.plain_table(("instrument", False))
    instruments = sorted({instrument for result in results for instrument in result.by_instrument})
    for result in results:
        name = f"{result.granularity} " if len(results) == 1 else f"{result.granularity}\n"
        for header, which in (("candles", 0), ("events", 1)):
            total = sum(counts[which] for counts in result.by_instrument.values())
            table.add_column(name + header, justify="right", footer=f"{total:,}", no_wrap=True)
    for instrument in instruments:
        counts = [n for result in results for n in result.by_instrument.get(instrument, (0, 0))]
        table.add_row(instrument, *(f"{n:,}" for n in counts))
    table.columns[0].footer = "total"
    table.show_footer = True
    return table


def remarks(results: Sequence[BackfillResult]) -> list[str]:
    """Say what else came of backfills."""
    stages = [stage for result in results for stage in result.totals]
    quarantined = sum(stage.quarantined for stage in stages)
    unavailable = sorted({instrument for stage in stages for instrument in stage.unavailable})
    candles = sum(stage.rows for stage in stages if stage.stage == "candles")
    seconds = sum(result.milliseconds for result in results) / 1000
    lines = [
        f"{result.granularity}: resumed at {console.minute(result.resumed_at)} UTC"
        for result in results
        if result.resumed_at
    ]
    lines.append(f"quarantined: {quarantined:,}")
    lines.append(f"unavailable: {', '.join(unavailable) or 'none'}")
    lines.append(f"{console.count(candles, 'candle')} in {seconds:.1f} s ({candles / max(seconds, 0.001):,.0f} rows/s)")
    return lines
