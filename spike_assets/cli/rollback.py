"""Going back to a time."""

from datetime import datetime

import click

from spike_assets.cli import console
from spike_assets.cli.parameters import GranularityType, TimeType
from spike_assets.cli.progress import progress
from spike_assets.granularity import Granularity
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import Progress
from spike_assets.pipeline.rollback import Plan, plan
from spike_assets.pipeline.rollback import rollback as roll_back
from spike_assets.pipeline.stages import STAGES
from spike_assets.settings import load_settings
from spike_assets.store.tables import CANDLES


@click.command
@click.option("--granularity", "-g", "names", type=GranularityType(), required=True, help="Which candles.")
@click.option("--to", type=TimeType(ago=True), required=True, help="Back to: a date, an ISO time, 24h, 7d.")
@click.option("--candles", is_flag=True, help="Fetch the candles anew too; those that the source lacks go.")
@click.option("--yes", is_flag=True, help="Do it; without, it is only said what would go.")
def rollback(names: tuple[Granularity, ...], to: datetime, candles: bool, yes: bool) -> None:
    """Remove what was derived after a time, and rebuild it.

    ATR, events, features and alerts of candles that closed after it are removed in one transaction and computed anew
    from the stored candles; with --candles these are fetched again too, for when the broker's were bad. Nobody is told
    anything twice; what was told and is not true any more is taken back by the next pass. Passes of the granularity
    wait meanwhile. Interrupted, the same command goes on; so does the next pass with what is to be computed.
    """
    granularity = names[0]
    pipeline = Pipeline.from_settings(load_settings())
    planned = plan(pipeline, granularity, to)
    if not planned.window:
        raise click.UsageError(f"no {granularity} candle that closed since {console.minute(to)} UTC is stored")
    _print(planned, candles=candles)
    if not yes:
        click.echo("nothing was changed; --yes does it")
        return
    stages = [stage.name for stage in STAGES]
    with progress() as tell:

        def fetching(step: Progress) -> None:
            tell("candles", step.done, step.total, f"{console.minute(step.until)} UTC")

        done = roll_back(
            pipeline,
            granularity,
            to,
            candles=candles,
            fetching=fetching,
            progress=lambda stage: tell("rollback", stages.index(stage), len(stages), stage),
        )
        tell("rollback", len(stages), len(stages), "done")
    made = ", ".join(f"{summary.stage} {summary.added:,}" for summary in done)
    click.echo(f"rebuilt: {made}")


def _print(planned: Plan, *, candles: bool) -> None:
    granularity, window = planned.granularity, planned.window
    click.echo(f"{granularity} candles that opened from {console.minute(window.start)} UTC on:")
    table = console.plain_table(("table", False), ("rows", True), ("", False), ("before", True))
    for name, rows in planned.going.items():
        kept = "fetched anew" if candles else "stay"
        what = kept if name == CANDLES.name else "go, and are rebuilt"
        table.add_row(f"{granularity.schema}.{name}", f"{rows:,}", what, f"{planned.staying[name]:,}")
    console.out().print(table)
    click.echo(
        f"alerts told of, which stays remembered: {planned.told:,}; still to be told, if they hold: {planned.untold:,}"
    )
