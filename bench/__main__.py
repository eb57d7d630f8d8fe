"""Run every measurement once, print the tables, and write `bench/RESULTS.md`."""

import os
import platform
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from bench import dashboard, passes, ticks
from bench.stores import Filled, fill

PASSES = 60
"""How many passes a median is of."""
DAGSTER_RUNS = 30
RANGE = 200
TICKS = 15
LOADS = 20
"""How often the page is loaded."""
LATENCY = 50
"""Milliseconds that the loopback broker takes to answer."""

_NOTE = f"""\
Milliseconds over {PASSES} passes, each with one new candle per instrument, on stores with 1,000 and with 140,000
candles per instrument. *Dagster run*: the same pass as a run of five assets in a warm process with the shipped
`dagster.yaml` ({DAGSTER_RUNS} runs).
"""

_WHERE = """\
Where the time goes: the database is opened twice, once to say that a pass has begun and once to work; seven commits and
dozens of statements on it, and one checkpoint when it is closed, are half of a pass, pandas around them the other.
"""

_TICKS = """\
Milliseconds. The H1 schedule ticks each minute, and each minute is another trading hour (`bench/shifted.py`); the
daemon, the run queue, the stock launcher and their time are the real ones. The run sends the alert itself, to a signed
webhook on loopback. In the last row the webhook answered 503 first: the message waited for its next try (2.5 to
5 s), and the sensor had it sent by a run of its own.
"""

_TICK_TIME = """\
Where the time goes: the tick is evaluated, queued and launched; a run's process starts and imports Dagster and spike
before it does anything; from the candle on it is five stages with their bookkeeping, and one request.
"""

_DASHBOARD = f"""\
Milliseconds. The page in chromium on the store with 140,000 candles per instrument, each time in a browser context of
its own; and {dashboard.PASSES} passes, one a second, over six instruments, that pages listen to.
"""

_RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = fill(Path(folder) / "small.duckdb", 1_000), fill(Path(folder) / "large.duckdb", 140_000)
        of_small, of_large = (passes.bare(store.path, 0, PASSES) for store in (small, large))
        home = Path(folder) / "home"
        runs = [passes.as_dagster_run(store.path, home, PASSES + 1, DAGSTER_RUNS) for store in (small, large)]
        partitions, per_partition = passes.partition_backfill(large.path, home, PASSES + DAGSTER_RUNS + 2, RANGE)
        latency = timedelta(milliseconds=LATENCY)
        asked = passes.on_oanda(large.path, PASSES + DAGSTER_RUNS + 2 + RANGE, PASSES, latency)
        page, up = Path(folder) / "page", Path(folder) / "up"
        page.mkdir()
        seen = dashboard.measure(large.path, page, LOADS)
        up.mkdir()
        ticked = ticks.measure(up, TICKS)
        report = "\n".join(
            [
                _head(),
                _passes(of_small, of_large, *runs),
                _oanda(*asked),
                _backfill(large),
                _range(partitions, per_partition),
                _dashboard(seen),
                _ticks(ticked),
            ]
        )
    print(report)
    _RESULTS.write_text(report, encoding="utf-8")


def _head() -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "pandas", "numpy", "dagster"))
    return f"""\
# Results

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine}; {versions}.
One run; load average {os.getloadavg()[2]:.1f} over the last 15 minutes, of which about 1 is this run.
29 instruments, simulated candles, DuckDB on local disk.
"""


def _passes(small: passes.Timings, large: passes.Timings, small_run: passes.Timings, large_run: passes.Timings) -> str:
    lines = [
        "## The H1 pass, 29 instruments",
        "",
        _NOTE,
        "",
        "| | 1,000: p50 | p95 | 140,000: p50 | p95 | growth of p50 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    parts = ["fetch", "candles", "atr", "events", "features", "alerts", "open, plan, record, close", "pass"]
    lines += [_row(f"**{part}**" if part == "pass" else part, small, large, part) for part in parts]
    lines.append(_row("**Dagster run**", small_run, large_run, "Dagster run"))
    verdict = [
        _against("`process()` p95", large.p95("pass"), 200, "ms"),
        _against("Dagster run p95", large_run.p95("Dagster run"), 1000, "ms"),
    ]
    return "\n".join([*lines, "", *verdict, "", _WHERE])


def _oanda(timings: passes.Timings, requests: float) -> str:
    return f"""\
## The H1 pass on a broker, 29 instruments

{PASSES} passes on the large store, from the request to everything stored, with a loopback OANDA that answers after
{LATENCY} ms: p50 **{timings.p50("pass"):.0f} ms**, p95 {timings.p95("pass"):.0f} ms; {requests:.2f} requests a pass.

{_against("p95", timings.p95("pass"), 1000, "ms")}
"""


def _row(title: str, small: passes.Timings, large: passes.Timings, part: str) -> str:
    growth = large.p50(part) / small.p50(part)
    figures = (small.p50(part), small.p95(part), large.p50(part), large.p95(part))
    return f"| {title} | " + " | ".join(f"{figure:.0f}" for figure in figures) + f" | {growth:.2f} × |"


def _backfill(filled: Filled) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in filled.stage_seconds.items())
    return f"""\
## A backfill of 29 × 140,000 H1 candles

| candles | seconds | candles/s | peak memory | database |
|---:|---:|---:|---:|---:|
| {filled.candles:,} | {filled.seconds:.1f} | {filled.candles / filled.seconds:,.0f} | {filled.peak_mb:.0f} MB \
| {filled.megabytes:.0f} MB |

Of which {stages}; the rest is making the candles and checkpoints.

{_against("time", filled.seconds, 60, "s")}
{_against("peak memory", filled.peak_mb, 4096, "MB")}
"""


def _range(partitions: int, per_partition: float) -> str:
    return f"""\
## A Dagster partition backfill

One range run over {partitions} H1 partitions, five assets, SQLite event log, in a warm process:
**{per_partition:.1f} ms** per partition and asset.
"""


def _ticks(done: ticks.Ticked) -> str:
    rows = [
        f"| {part}{note} | {len(of.parts[part])} | {of.p50(part):,.0f} | {max(of.parts[part]):,.0f} |"
        for of, note in ((done.at_once, ""), (done.refused, " (refused at first)"))
        for part in of.parts
        if of is done.at_once or part.startswith("refused")
    ]
    return "\n".join(
        [
            "## From a tick to a received alert, in a running `spike up`",
            "",
            _TICKS,
            "| | ticks | p50 | longest |",
            "|---|---:|---:|---:|",
            *rows,
            "",
            _TICK_TIME,
        ]
    )


def _dashboard(seen: dashboard.Looked) -> str:
    budgets = {"first paint": 2000, "candles drawn": 2000, "another instrument drawn": 300, "1,000 events": 200}
    lines = ["## The dashboard", "", _DASHBOARD, "| | p50 | p95 | budget |", "|---|---:|---:|---:|"]
    lines += [
        f"| {part} | {seen.page.p50(part):.0f} | {seen.page.p95(part):.0f} | {budgets[part]:,} |" for part in budgets
    ]
    heard = "pass ended → last page heard"
    lines.append(f"| a pass, one page open | {seen.alone.p50('pass'):.0f} | {seen.alone.p95('pass'):.0f} | |")
    lines.append(
        f"| a pass, {dashboard.PAGES} open | {seen.crowded.p50('pass'):.0f} | {seen.crowded.p95('pass'):.0f} | |"
    )
    lines.append(f"| {heard}, one open | {seen.alone.p50(heard):.0f} | {seen.alone.p95(heard):.0f} | 1,000 |")
    lines.append(
        f"| {heard}, {dashboard.PAGES} open | {seen.crowded.p50(heard):.0f} | {seen.crowded.p95(heard):.0f} | 1,000 |"
    )
    ratio = seen.crowded.p50("pass") / seen.alone.p50("pass")
    return "\n".join(
        [*lines, "", f"With {dashboard.PAGES} pages open a pass takes {ratio:.2f} × as long as with one.", ""]
    )


def _against(what: str, figure: float, budget: float, unit: str) -> str:
    verdict = "within" if figure <= budget else f"**missed by {figure - budget:.0f} {unit}**:"
    return f"* {what}: {figure:.0f} {unit}, {verdict} the budget of {budget:,.0f} {unit} (design §11)"


if __name__ == "__main__":
    main()
