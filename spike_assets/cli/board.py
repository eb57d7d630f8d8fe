"""The status board."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

import click
from rich.live import Live
from rich.text import Text

from spike_assets.cli import console
from spike_assets.cli.console import count, rough
from spike_assets.errors import TransientError
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.status import GranularityStatus, Status
from spike_assets.pipeline.status import status as read_status
from spike_assets.settings import load_settings

_SECOND = 1.0
_MARKS = {"ok": "✓", "failed": "✗", "never": "…"}


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--watch", is_flag=True, help="Draw the board anew every second, until Ctrl-C.")
def status(*, as_json: bool, watch: bool) -> None:
    """Print the status board.

    ✓ the last pass went well, ✗ it failed, … none has run. Next is when the next pass finds a closed candle to work
    on. Degraded names what is wrong: failed passes, closed candles that were not processed in time, ranges that are
    still to be recomputed.
    """
    if watch and as_json:
        raise click.UsageError("--watch draws the board; leave out --json")
    pipeline = Pipeline.from_settings(load_settings())
    if watch:
        _watch(pipeline)
    found = read_status(pipeline)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else board(found))


def _watch(pipeline: Pipeline) -> NoReturn:
    """Draw the board again and again, in place where there is a terminal."""
    out = console.out()
    if not out.is_terminal:
        while True:
            click.echo(f"{_drawn(pipeline)}\n")
            time.sleep(_SECOND)
    with Live(console=out, auto_refresh=False, screen=True) as live:
        while True:
            live.update(Text(_drawn(pipeline)), refresh=True)
            time.sleep(_SECOND)


def _drawn(pipeline: Pipeline) -> str:
    """Give the board; a store that cannot be had for once is no reason to stop."""
    try:
        return board(read_status(pipeline))
    except TransientError as error:
        return str(error)


def board(found: Status) -> str:
    """Give the board as text."""
    last_runs = [f"Last run: {_ago(found.at, one.last_run)}" for one in found.granularities]
    width = max(map(len, last_runs))
    lines = ["Spike Processing Status", "======================"]
    lines += [
        f"{one.granularity.name + ':':<4} {_MARKS[one.outcome]} {last_run:<{width}} | Next: {_next(found.at, one)}"
        for one, last_run in zip(found.granularities, last_runs, strict=True)
    ]
    lines.append(f"Recent Events: {found.recent_events}")
    health = "Healthy" if found.healthy else f"Degraded: {'; '.join(found.reasons)}"
    lines.append(f"System Health: {health}")
    return "\n".join([*lines, *_remarks(found)])


def _remarks(found: Status) -> list[str]:
    lines = [f"Source: {found.source}{' (a made-up market, no real prices)' if found.simulated else ''}"]
    lines.append(f"Database: {found.database}")
    if found.catching_up:
        lines.append(f"Catching up: {'; '.join(found.catching_up)}")
    lines += [
        f"Running: {one.granularity}, since {one.running_since:%H:%M:%S} UTC"
        for one in found.granularities
        if one.running_since
    ]
    lines += [f"Unavailable in {names}" for names in _together(found, lambda one: tuple(one.unavailable))]
    lines += [f"Late in {names}" for names in _together(found, lambda one: one.late)]
    quarantined = [f"{one.granularity} {one.quarantined:,}" for one in found.granularities if one.quarantined]
    if quarantined:
        lines.append(f"In quarantine: {count(sum(one.quarantined for one in found.granularities), 'candle')}")
        lines[-1] += f" ({', '.join(quarantined)})"
    return lines


def _together(found: Status, which: Callable[[GranularityStatus], tuple[str, ...]]) -> list[str]:
    """Name instruments, and the granularities that have the same ones, once."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in found.granularities:
        alike.setdefault(which(one), []).append(one.granularity.name)
    return [f"{', '.join(names)}: {', '.join(instruments)}" for instruments, names in alike.items() if instruments]


def _ago(now: datetime, time: datetime | None) -> str:
    if time is None:
        return "never"
    ago = rough(now - time)
    return "just now" if ago == "0 min" else f"{ago} ago"


def _next(now: datetime, one: GranularityStatus) -> str:
    left = rough(one.next_run - now)
    return "now" if left == "0 min" else left
