"""Moving everything into another database."""

from collections.abc import Iterable
from datetime import timedelta

import click

from spike_assets.cli import console
from spike_assets.cli.progress import progress
from spike_assets.deadline import Deadline
from spike_assets.settings import load_settings
from spike_assets.store import open_store
from spike_assets.store.copy import Copied
from spike_assets.store.copy import copy as copy_store

_LIMIT = timedelta(hours=12)
_DIGITS = 40
"""How much of a hash is printed, so that a line fits 80 columns."""


@click.command
@click.option("--from", "source", metavar="DATABASE", help="What is copied; SPIKE_DATABASE unless given.")
@click.option("--to", "target", metavar="DATABASE", help="Where to; SPIKE_DATABASE unless given.")
def copy(source: str | None, target: str | None) -> None:
    """Copy everything into another, empty database.

    A database is the path of a DuckDB file or a Postgres address, postgresql://user@host/database; its password is
    best left to PGPASSWORD or ~/.pgpass, where no list of processes shows it. All tables are copied as they are at one
    moment, in one transaction, and read back; the digits are the first 40 of the SHA-256 of every bit of a table. The
    other database has to exist and to be empty. Stop whatever writes before, and set SPIKE_DATABASE behind it.
    """
    if source is None and target is None:
        raise click.UsageError("say --from or --to")
    ours = load_settings().database_url
    here, there = open_store(source or ours), open_store(target or ours)
    with progress() as tell:
        copied = copy_store(
            here, there, Deadline.after(_LIMIT), lambda name, done, total: tell("copy", done, total, name)
        )
    show(copied)
    rows = sum(one.rows for one in copied)
    click.echo(f"{console.count(rows, 'row')} copied to {there.url}, and equal there")


def show(copied: Iterable[Copied]) -> None:
    """Print rows and content hash of each table that has any."""
    table = console.plain_table(("table", False), ("rows", True), ("SHA-256", False))
    for one in copied:
        if one.rows:
            table.add_row(one.name, f"{one.rows:,}", one.sha256[:_DIGITS])
    console.out().print(table)
