"""How often each rule hits, against chance."""

import click
from rich.table import Table

from spike_assets.cli import console
from spike_assets.cli.parameters import GranularityType
from spike_assets.cli.progress import progress
from spike_assets.granularity import Granularity
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.significance import Groups, Hits, Significance
from spike_assets.pipeline.significance import significance as find
from spike_assets.settings import load_settings

_HEADERS = {"psychological_level": "number", "volume_spike": "volume", "pattern_completion": "pattern"}


@click.command
@click.option("--granularity", "-g", type=GranularityType(), default="H1", help="Which candles; H1 unless given.")
def significance(granularity: tuple[Granularity, ...]) -> None:
    """Print how often each rule hits, against chance.

    For every rule: hits among the stored events, how many chance alone would give, and how many times that is.
    A round number is hit by chance as often as levels fall near one; a volume spike as often as among all candles; a
    pattern as often as a fair coin completes one; a group as often as instruments would meet by accident.
    """
    pipeline = Pipeline.from_settings(load_settings())
    with progress() as tell:
        found = find(pipeline, granularity[0], lambda done, of: tell(f"{granularity[0]} instruments", done, of))
        tell(f"{granularity[0]} instruments", 1, 1)
    if not found.hits:
        click.echo(f"no {granularity[0]} events are stored yet; `spike backfill {granularity[0]}` finds some")
        return
    console.out().print(_table(found))
    click.echo(_groups(found.groups))


def _table(found: Significance) -> Table:
    table = console.plain_table(("instrument", False), ("events", True))
    table.padding = (0, 1, 0, 0)  # eleven columns in eighty
    for header in _HEADERS.values():
        for column in (header, "chance", "×"):
            table.add_column(column, justify="right", no_wrap=True)
    by_instrument: dict[str, list[Hits]] = {}
    for hits in found.hits:
        by_instrument.setdefault(hits.instrument, []).append(hits)
    for name, rows in by_instrument.items():
        table.add_row(name, f"{rows[0].events:,}", *_cells(rows))
    everything = [_sum([hits for hits in found.hits if hits.rule == rule]) for rule in _HEADERS]
    table.add_section()
    table.add_row("total", f"{everything[0].events:,}", *_cells(everything), style="bold")
    return table


def _cells(rows: list[Hits]) -> list[str]:
    return [
        text
        for hits in rows
        for text in (f"{hits.observed:,}", f"{hits.expected:,.0f}", _times(hits.observed, hits.expected))
    ]


def _sum(hits: list[Hits]) -> Hits:
    return Hits(
        hits[0].rule, "total", sum(h.events for h in hits), sum(h.observed for h in hits), sum(h.expected for h in hits)
    )


def _times(observed: float, expected: float) -> str:
    return f"{observed / expected:.2f}" if expected else "–"


def _groups(groups: Groups) -> str:
    a_day = groups.observed / groups.days * 7 / 5 if groups.days else 0.0
    return (
        f"simultaneous: {console.count(groups.observed, 'group')} at {groups.times:,} candle times with an event,"
        f" {groups.expected:,.1f} by chance (× {_times(groups.observed, groups.expected)});"
        f" {a_day:.2f} a trading day"
    )
