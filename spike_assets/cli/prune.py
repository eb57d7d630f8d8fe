"""Removing old records of running, behind an archive of them."""

from datetime import timedelta
from pathlib import Path

import click

from spike_assets.cli import console
from spike_assets.cli.parameters import ALL, GranularityType, LengthType
from spike_assets.granularity import Granularity
from spike_assets.pipeline.context import utc_now
from spike_assets.settings import load_settings
from spike_assets.store import open_store
from spike_assets.store.prune import LEAST, Pruned, prunable
from spike_assets.store.prune import prune as archive_and_remove


@click.command
@click.option("--older-than", "age", type=LengthType(), required=True, help="How old: 90d, 52w; at least 30d.")
@click.option("--granularity", "-g", type=GranularityType(or_all=True), default=ALL, help="Whose; all unless given.")
@click.option("--archive", type=click.Path(path_type=Path), metavar="FOLDER", help="Where it goes, a new folder.")
@click.option("--yes", is_flag=True, help="Do it; without, it is only said what would go.")
def prune(age: timedelta, granularity: tuple[Granularity, ...], archive: Path | None, yes: bool) -> None:
    """Archive and remove old records of running.

    Passes, messages that were sent with what is remembered of whom they told, and quarantined candles. The archive is
    Parquet files and a manifest like a backup's, read again before anything is removed. Candles and what is derived of
    them stay: every row follows from all candles before it. What waits, was given up or is not settled stays too. An
    alert of so long ago that is corrected later is no longer taken back.
    """
    if age < LEAST:
        raise click.BadParameter(f"what is younger than {LEAST.days} days is not pruned", param_hint="--older-than")
    store, now = open_store(load_settings().database_url), utc_now()
    if not yes:
        _print(prunable(store, now - age, granularity), "would go")
        click.echo("nothing was changed; --archive FOLDER --yes does it")
        return
    if archive is None:
        raise click.UsageError("say with --archive where it goes")
    pruned = archive_and_remove(store, now - age, granularity, archive, now)
    _print(pruned, "went")
    click.echo(f"{console.count(sum(one.going for one in pruned), 'row')} moved to {archive}")


def _print(pruned: list[Pruned], went: str) -> None:
    table = console.plain_table(("table", False), (went, True), ("stay", True))
    for one in pruned:
        table.add_row(one.name, f"{one.going:,}", f"{one.staying:,}")
    console.out().print(table)
