"""Proving that the stored tables are right, putting them right, and making them anew."""

import click

from spike_assets.cli import console
from spike_assets.cli.group import Failure
from spike_assets.cli.parameters import GranularityType
from spike_assets.cli.progress import progress
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.rebuild import rebuild as pipeline_rebuild
from spike_assets.pipeline.reconcile import DAYS, Reconciled
from spike_assets.pipeline.reconcile import reconcile as pipeline_reconcile
from spike_assets.pipeline.stages import STAGES
from spike_assets.pipeline.verify import Verified
from spike_assets.pipeline.verify import verify as pipeline_verify
from spike_assets.settings import load_settings

_DIGITS = 40
"""How much of a hash is printed, so that a line fits 80 columns."""
_MOST_DAYS = 366
"""Longer stretches are a backfill's business: it works in chunks."""


@click.command
@click.argument("granularity", nargs=-1, type=GranularityType())
def verify(granularity: tuple[tuple[Granularity, ...], ...]) -> None:
    """Recompute everything from the stored candles and compare.

    All granularities unless some are named; every bit counts. Prints rows and content hash (the first 40 digits of
    its SHA-256) of each table: equal hashes on two machines mean equal content. The first difference of each
    granularity goes to stderr, with exit code 1.
    """
    asked = [one for names in granularity for one in names] or list(GRANULARITIES.values())
    pipeline = Pipeline.from_settings(load_settings())
    found = []
    with progress() as tell:
        for one in dict.fromkeys(asked):

            def told(done: int, of: int, name: str = f"{one} instruments") -> None:
                tell(name, done, of)

            found.append(pipeline_verify(pipeline, one, told))
            tell(f"{one} instruments", 1, 1)
    _print(found)
    if different := [verified.difference for verified in found if verified.difference]:
        raise Failure("; ".join(different))
    click.echo("all as recomputed")


def _print(found: list[Verified]) -> None:
    table = console.plain_table(("table", False), ("rows", True), ("SHA-256", False))
    for verified in found:
        for name, rows in verified.rows.items():
            table.add_row(f"{verified.granularity.schema}.{name}", f"{rows:,}", verified.hashes[name][:_DIGITS])
    console.out().print(table)


@click.command
@click.option("--discard-candles", is_flag=True, help="Remove the candles too: the way to another source.")
@click.option("--yes", is_flag=True, help="Do not ask before candles are removed.")
def rebuild(discard_candles: bool, yes: bool) -> None:
    """Recompute the derived tables after a change of setting or formula.

    ATR, events and features of all granularities are made anew under the settings in force. Interrupted, the same
    command goes on, and so does the next pass.
    """
    pipeline = Pipeline.from_settings(load_settings())
    if discard_candles and not yes:
        click.confirm(f"Remove every candle in {pipeline.store.url}?", abort=True, err=True)
    steps = [(granularity, stage.name) for granularity in GRANULARITIES.values() for stage in STAGES]
    with progress() as tell:
        pipeline_rebuild(
            pipeline,
            discard_candles=discard_candles,
            progress=lambda granularity, stage: tell(
                "rebuild", steps.index((granularity, stage)), len(steps), f"{granularity} {stage}"
            ),
        )
        tell("rebuild", len(steps), len(steps), "done")
    if discard_candles:
        click.echo(
            f"{pipeline.store.url} is empty, for {pipeline.source.name} candles; `spike backfill all` loads some"
        )
    else:
        click.echo(f"{pipeline.store.url} is rebuilt with ATR {pipeline.atr_period}")


@click.command
@click.argument("granularity", type=GranularityType(or_all=True))
@click.option(
    "--days",
    type=click.IntRange(1, _MOST_DAYS),
    metavar="N",
    default=DAYS,
    show_default=str(DAYS),
    help="How far back to look.",
)
def reconcile(granularity: tuple[Granularity, ...], days: int) -> None:
    """Fetch the last days once more, for corrections and late candles.

    What came in late or was corrected is stored, and all that follows from it is computed; Dagster does the same once
    a day. Times are UTC. What no pass has come to yet is left to the next one.
    """
    pipeline = Pipeline.from_settings(load_settings())
    found = []
    with progress() as tell:
        for i, one in enumerate(granularity):
            tell("reconcile", i, len(granularity), one.name)
            found.append(pipeline_reconcile(pipeline, one, days=days))
        tell("reconcile", len(granularity), len(granularity), "done")
    _print_changes(found)


def _print_changes(found: list[Reconciled]) -> None:
    table = console.plain_table(
        ("table", False), ("added", True), ("updated", True), ("removed", True), ("first", False), ("last", False)
    )
    summaries = [(done.granularity.schema, summary) for done in found for summary in done.summaries]
    for schema, summary in summaries:
        if span := summary.changed_range:
            counts = (f"{n:,}" for n in (summary.added, summary.updated, summary.removed))
            table.add_row(f"{schema}.{summary.stage}", *counts, *map(console.minute, span))
    if table.row_count:
        console.out().print(table)
    rows = sum(summary.rows for _, summary in summaries)
    quarantined = sum(summary.quarantined for _, summary in summaries)
    said = f"{console.count(rows, 'row')} changed" if rows else "nothing changed"
    click.echo(said + (f", {console.count(quarantined, 'candle')} quarantined" if quarantined else ""))
