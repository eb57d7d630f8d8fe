"""Events and features: as a table to look at, or as a file."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import pandas as pd
from rich.table import Table as RichTable

from spike_assets import market_hours
from spike_assets.cli import console, export
from spike_assets.cli.group import Failure
from spike_assets.cli.parameters import GranularityType, InstrumentType, TimeType
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.instruments import instrument as declared
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.status import opened_since
from spike_assets.settings import load_settings
from spike_assets.store.tables import ALERTS, EVENTS, FEATURES, Table

_LIMIT = timedelta(seconds=30)
_SHOWN = 50

_OPTIONS = (
    click.option("--instrument", "-i", type=InstrumentType(), multiple=True, help="Only this one; may be repeated."),
    click.option("--granularity", "-g", type=GranularityType(), default="H1", help="Which candles; H1 unless given."),
    click.option("--since", type=TimeType(ago=True), help="Only what closed since: a date, an ISO time, 24h, 7d, 2w."),
    click.option(
        "--limit", "-n", type=click.IntRange(min=1), metavar="N", help="Newest so many; 50 in a table, else all."
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "parquet", "json"]),
        default="table",
        help="table unless given.",
    ),
    click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."),
)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all tables have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command
@filtered
def events(**asked: Any) -> None:
    """Print or export events (new resistance levels).

    The table has the essentials, newest first; csv, json and parquet have every column in full precision, oldest
    first, NULL empty, times in UTC.
    """
    show(EVENTS, events_table, **asked)


@click.command
@filtered
def features(**asked: Any) -> None:
    """Print or export the features of events.

    The table has the essentials, newest first; csv, json and parquet have every column in full precision, oldest
    first, NULL empty, times in UTC.
    """
    show(FEATURES, features_table, **asked)


SIMULATED = "simulated"

Tabulate = Callable[[pd.DataFrame, Granularity, Pipeline], RichTable]
"""Makes a table to look at, of rows that are newest first."""


def show(
    table: Table,
    as_table: Tabulate,
    instrument: tuple[str, ...],
    granularity: tuple[Granularity, ...],
    since: datetime | None,
    limit: int | None,
    form: str,
    output: Path | None,
) -> None:
    """Print the rows that were asked for as a table, or write them."""
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; give --output FILE")
    if form == "table" and output is not None:
        raise click.UsageError("--output goes with --format csv, json or parquet")
    shown = limit or (_SHOWN if form == "table" else None)
    pipeline = Pipeline.from_settings(load_settings())
    rows = read(pipeline, table, granularity[0], instrument, since, shown)
    if form == "table":
        if rows.empty:
            click.echo(f"no {granularity[0]} {'alerts' if table is ALERTS else 'events'}")
        else:
            _print(as_table(rows, granularity[0], pipeline), complete=len(rows) < (shown or 0), shown=len(rows))
        if source_of(pipeline) == SIMULATED:
            click.echo("simulated: a made-up market, no price is real", err=True)
    else:
        _write(table, rows.sort_values(["time", "instrument"], ignore_index=True), form, output)


def read(
    pipeline: Pipeline,
    table: Table,
    granularity: Granularity,
    instruments: tuple[str, ...] = (),
    since: datetime | None = None,
    limit: int | None = _SHOWN,
) -> pd.DataFrame:
    """Give rows newest first; `since` is held against the close of the event's candle."""
    opened = opened_since(granularity, since) if since else None
    with pipeline.store.reading(Deadline.after(_LIMIT), f"reading {table.name}") as session:
        return session.data.newest_rows(granularity, table, since=opened, instruments=instruments, limit=limit)


def source_of(pipeline: Pipeline) -> str | None:
    """Give the source of the stored candles; None while there are none."""
    with pipeline.store.reading(Deadline.after(_LIMIT), "reading the provenance") as session:
        stored = session.ops.provenance()
    return stored.source if stored else None


def events_table(rows: pd.DataFrame, granularity: Granularity, pipeline: Pipeline) -> RichTable:  # noqa: ARG001
    """Give the essentials of events, prices with the instrument's decimals."""
    table = console.plain_table(
        ("closed (UTC)", False),
        ("instrument", False),
        ("level", True),
        ("ATR", True),
        ("rebound", True),
        ("in ATRs", True),
        ("volume", True),
        ("", False),
    )
    for row in rows.to_dict("records"):
        decimals = declared(row["instrument"]).decimals
        prices = (f"{row[name]:.{decimals}f}" for name in ("level", "atr", "rebound"))
        remark = "suspect" if row["suspect"] else ""
        table.add_row(
            console.minute(row["closed_at"]),
            row["instrument"],
            *prices,
            format(row["rebound_atr"], ".2f"),
            format(row["volume"], ","),
            remark,
        )
    return table


def features_table(rows: pd.DataFrame, granularity: Granularity, pipeline: Pipeline) -> RichTable:  # noqa: ARG001
    """Give the essentials of features."""
    table = console.plain_table(
        ("closed (UTC)", False),
        ("instrument", False),
        ("pattern", False),
        ("run", True),
        ("ATRs", True),
        ("hours", True),
        ("volume", True),
        ("z", True),
        ("of 30", True),
    )
    closes = market_hours.candle_close(granularity, pd.DatetimeIndex(rows["time"]))
    for row, closed in zip(rows.to_dict("records"), closes, strict=True):
        table.add_row(
            console.minute(closed.to_pydatetime()),
            row["instrument"],
            _or_dash(row["pattern"]),
            _or_dash(row["pattern_run"]),
            _or_dash(row["distance_atr"], "+.2f"),
            _or_dash(row["hours_since_previous"], ".0f"),
            _or_dash(row["relative_volume"], ".1f"),
            _or_dash(row["volume_z"], "+.1f"),
            str(row["resistances_30"]),
        )
    return table


def _or_dash(value: Any, form: str = "") -> str:
    return "–" if pd.isna(value) else f"{value:{form}}"


def _print(table: RichTable, *, complete: bool, shown: int) -> None:
    console.out().print(table)
    if not complete:
        click.echo(f"\nthe newest {shown}; --limit shows more, --format csv every column", err=True)


def _write(table: Table, rows: pd.DataFrame, form: str, output: Path | None) -> None:
    try:
        if form == "parquet":
            export.write_parquet(table, rows, output)
        else:
            write = export.write_csv if form == "csv" else export.write_json
            with click.open_file(str(output or "-"), "w", encoding="utf-8") as file:
                write(table, rows, file)
    except (OSError, duckdb.Error) as error:
        if isinstance(error, BrokenPipeError):
            raise
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Failure(f"cannot write {output or 'to stdout'}: {why}") from error
    if output:
        click.echo(f"{console.count(len(rows), 'row')} in {output}", err=True)
