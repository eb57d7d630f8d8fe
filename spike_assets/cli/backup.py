"""Saving everything in a folder, and writing it back into a database."""

import time
from pathlib import Path

import click

from spike_assets.cli import console
from spike_assets.cli.copy import show
from spike_assets.cli.progress import Tell, progress
from spike_assets.pipeline.backup import Backup
from spike_assets.pipeline.backup import backup as save
from spike_assets.pipeline.backup import restore as write_back
from spike_assets.pipeline.context import utc_now
from spike_assets.settings import load_settings
from spike_assets.store import open_store
from spike_assets.store.copy import Progress


@click.command
@click.argument("target", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="DATABASE", help="What is saved; SPIKE_DATABASE unless given.")
def backup(target: Path, source: str | None) -> None:
    """Save everything as it is now in a new folder.

    Passes may run meanwhile: it is one state of all tables, of what was sent to whom too. A Parquet file or more per
    table, of either engine for either engine, and a manifest with counts and content hashes; all is read again before
    the folder gets its name, so a backup that was killed is none (what it leaves is FOLDER.partial). The digits are the
    first 40 of the SHA-256 of every bit of a table, as `spike copy` prints them.
    """
    store = open_store(source or load_settings().database_url)
    start = time.perf_counter()
    with progress() as tell:
        saved = save(store, target, utc_now(), _telling(tell, "backup"))
    _say(saved, f"of {store.url} in {target}", time.perf_counter() - start)


@click.command
@click.argument("source", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--to", "target", metavar="DATABASE", help="Where to; SPIKE_DATABASE unless given.")
@click.option("--replace", is_flag=True, help="Remove all that the database holds.")
@click.option("--yes", is_flag=True, help="Do not ask before it is removed.")
def restore(source: Path, target: str | None, replace: bool, yes: bool) -> None:
    """Write a backup into an empty database.

    Stop `spike up`, Dagster, schedulers and senders before. Every file is held against the manifest, and what is
    written is read back, in one transaction: interrupted or refused, the database is as it was. A DuckDB file is made;
    a Postgres database has to exist. The next pass goes on from the backup's state: it fetches what has closed since,
    and tells of it as after any outage.
    """
    store = open_store(target or load_settings().database_url)
    if replace and not yes:
        click.confirm(f"Remove everything in {store.url}?", abort=True, err=True)
    start = time.perf_counter()
    with progress() as tell:
        written = write_back(source, store, utc_now(), replace=replace, progress=_telling(tell, "restore"))
    taken = f"{console.minute(written.manifest.created_at)} UTC"
    _say(written, f"as of {taken} written to {store.url}, and equal there", time.perf_counter() - start)


def _telling(tell: Tell, name: str) -> Progress:
    return lambda table, done, total: tell(name, done, total, table)


def _say(moved: Backup, where: str, seconds: float) -> None:
    show(moved.tables)
    rows, megabytes = console.count(moved.manifest.rows, "row"), moved.size / 1e6
    click.echo(f"{rows} {where}: {megabytes:,.1f} MB, {seconds:.1f} s")
