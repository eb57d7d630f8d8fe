"""Measure, print the tables, and write `bench/RESULTS.md`: `python -m bench [part …]`."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench import dashboard, instruments, launches, passes, plots, ranges, rivals, starts
from bench.stores import Filled, fill

PASSES = 60
"""How many passes a median is of."""
DAGSTER_RUNS = 30
HISTORIES = (1_000, 12_000, 140_000)
"""Candles per instrument."""
GROWTH = 20
STARTS = 20
LOADS = 20
"""How often the page is loaded."""
LATENCY = 50
"""Milliseconds that the loopback broker takes to answer."""

_NOTE = f"""\
Milliseconds over {PASSES} passes, each with one new candle per instrument, on stores with 1,000 and with 140,000
candles per instrument. *Dagster run*: the same pass as a run of five assets in a warm process with the shipped
`dagster.yaml` ({DAGSTER_RUNS} runs). *Received → stored* is what design §11 counts: from the candles' arrival on.
"""

_WHERE = """\
The database is opened twice, once to say that a pass has begun and once to work. *Tidying up* (the log written into the
file) is done by a thread behind the pass.
"""

_RANGES = f"""\
A range run of H1 over all assets into an empty store, fetching and computing included, in a process of its own. With
Dagster's own settings over {ranges.FEW} partitions only. The store is a DuckDB file each time; Postgres is where
Dagster keeps its events, on the same machine, with fsync.
"""

_TICKS = """\
Milliseconds. The H1 schedule ticks each minute, and each minute is another trading hour (`bench/shifted.py`); the
daemon, the run queue, the launcher and their time are the real ones. The run sends the alert itself, to a signed
webhook on loopback; not every tick has one. Where it says *refused*, the webhook answered 503 first: the message waited
for its next try (2.5 to 5 s), and the sensor had it sent by a run of its own.
"""

_TICK_TIME = """\
Where the time goes: the tick is evaluated in the code server, queued (Dagster looks into its queue every 5 s, here
every second) and launched. With Dagster's own launcher a process starts and imports Dagster and spike before it does
anything; ours is forked off one that has. From the candle on it is five stages with their bookkeeping, and one request.
"""

_DASHBOARD = f"""\
Milliseconds. The page in chromium on the store with 140,000 candles per instrument, each time in a browser context of
its own; and {dashboard.PASSES} passes, one a second, over six instruments, that pages listen to.
"""

_FLOOR = """\
*Floor*: the file opened once, the last 35 days of every table read (whole rows; a pass reads the columns it needs), the
rows of one candle time inserted in five commits, closed. *pandas*: what one would write at first: all candles read,
ATR, events and some features computed anew and written; it computes less than spike does, and finds no late candle.
"""

_ATR = """\
One instrument's ATR of 140,000 candles, and of one candle more. TA-Lib has no state: for one more it is given 500
candles, which is near the same number and not the same bits. talipp keeps its state in the object, so for a new
process the first column is the price of the second.
"""

_GROWTH = f"""\
Passes with one new candle per instrument, {instruments.HISTORY:,} candles each stored before, in a process of their
own; instruments beyond the 29 are made up. Postgres 15 on the same machine, with fsync.
"""

_LAUNCHES = """\
Milliseconds in a running `spike up`, 29 instruments, as Dagster tells them: from the launch of a run to its success, of
a run alone and of four at once (one of each granularity). *Dagster's own settings*: a `dagster.yaml` without any, and
Dagster's own executor, which starts a process for each of the five stages and one for the checks. There are no
schedules and sensors here. The settings are measured one after the other, each for some minutes.
"""

_STARTS = f"""\
Milliseconds from the start of a process to its end, p50 and p95 of {STARTS}. Its libraries are those that the function
imports and does not do without.
"""

_RESULTS = Path(__file__).parent / "RESULTS.md"
_HEAD = "# Results\n\nWritten by `make bench`; each part says when, and on what.\n"


def main(asked: Sequence[str]) -> None:
    """Run the parts asked for, or all, and put what they found in the place of what RESULTS.md said of them."""
    unknown = set(asked) - PARTS.keys()
    if unknown:
        sys.exit(f"there is no {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    known = _HEAD if not _RESULTS.exists() else _RESULTS.read_text(encoding="utf-8")
    sections = {text.partition("\n")[0]: text for text in known.split("\n## ")[1:]}
    for name in asked or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for text in PARTS[name](Path(folder)):
                title, _, rest = text.removeprefix("## ").partition("\n")
                sections[title] = f"{title}\n\n{_when()}{rest}"
                print(f"## {sections[title]}")
        _RESULTS.write_text("\n## ".join([_HEAD, *sections.values()]), encoding="utf-8")


def _when() -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "pandas", "numpy", "dagster"))
    load = f"load average {os.getloadavg()[2]:.1f} over 15 minutes, of which about 1 is this"
    return f"*{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine}; {versions}; {load}.*\n"


def _of_the_store(folder: Path) -> Iterator[str]:
    """Measure what needs the large store."""
    small, middle, large = (fill(folder / f"{candles}.duckdb", candles) for candles in HISTORIES)
    yield _backfill(large)
    of_small, of_middle, of_large = (passes.bare(store.path, 0, PASSES) for store in (small, middle, large))
    home = folder / "home"
    runs = [passes.as_dagster_run(store.path, home, PASSES + 1, DAGSTER_RUNS) for store in (small, large)]
    history = {"p50": [one.p50("pass") for one in (of_small, of_middle, of_large)]}
    plot = plots.lines(
        "history", "How does a pass grow with history?", HISTORIES, history, label="candles per instrument", flat=True
    )
    yield _passes(of_small, of_large, *runs, plot=plot)
    latency = timedelta(milliseconds=LATENCY)
    yield _oanda(*passes.on_oanda(large.path, PASSES + DAGSTER_RUNS + 2, PASSES, latency))
    (folder / "page").mkdir()
    yield _dashboard(dashboard.measure(large.path, folder / "page", LOADS))
    yield _rivals(of_large, rivals.floor(large.path, PASSES), rivals.naive(large.path))
    yield _atrs(rivals.atrs(large.path))


def _of_ticks(folder: Path) -> Iterator[str]:
    yield _ticks(launches.ticked(folder))


def _of_ranges(folder: Path) -> Iterator[str]:
    yield _ranges(ranges.measure(folder))


def _of_instruments(folder: Path) -> Iterator[str]:
    yield _grown(instruments.measure(folder, GROWTH))


def _of_launches(folder: Path) -> Iterator[str]:
    yield _launched(launches.measure(folder))


def _of_starts(folder: Path) -> Iterator[str]:
    yield _started(starts.measure(folder, STARTS))


PARTS: dict[str, Callable[[Path], Iterator[str]]] = {
    "store": _of_the_store,
    "instruments": _of_instruments,
    "launches": _of_launches,
    "ranges": _of_ranges,
    "ticks": _of_ticks,
    "starts": _of_starts,
}


def _rivals(ours: passes.Timings, floor: Sequence[float], naive: Sequence[float]) -> str:
    anew = median(naive)
    found = {"spike": ours.p50("pass"), "floor": median(floor), "pandas, everything anew": anew}
    plot = plots.bars("pass", "How long does a pass take? (ms)", found, unit="ms", log=True)
    return f"""\
## The pass against its floor, and against what one would write instead

{_FLOOR}
{plot}
A pass takes {found["spike"] / found["floor"]:.1f} × its floor ({found["floor"]:.0f} ms), and pandas
{anew / found["spike"]:.0f} × as long as a pass ({anew:,.0f} ms).
"""


def _atrs(found: rivals.Atrs) -> str:
    rows = [f"| {name} | {one['all']:.2f} | {one['one']:.3f} |" for name, one in found.items()]
    return "\n".join(
        ["## The ATR, by who computes it", "", _ATR, "| | all, ms | one more, ms |", "|---|---:|---:|", *rows, ""]
    )


def _section(title: str, note: str, plot: str, header: str, rows: Sequence[str], behind: str = "") -> str:
    """Put a plot and a table under a title; all columns but the first are numbers."""
    line = "|---|" + "---:|" * (header.count("|") - 2)
    return "\n".join([f"## {title}", "", note, plot, header, line, *rows, "", *([behind] if behind else [])])


def _grown(found: Sequence[instruments.Grown]) -> str:
    rows = [
        f"| {one.engine} | {one.instruments:,} | {one.p50:,.0f} | {one.longest:,.0f} | {one.peak_mb:,.0f}"
        f" | {one.load_seconds:.0f} |"
        for one in found
    ]
    each = {engine: [one.p50 for one in found if one.engine == engine] for engine in ("DuckDB", "Postgres")}
    plot = plots.lines(
        "instruments", "How does a pass grow with instruments?", instruments.COUNTS, each, label="instruments"
    )
    return _section(
        "More instruments", _GROWTH, plot, "| | instruments | p50, ms | longest, ms | memory, MB | loading, s |", rows
    )


def _launched(found: Mapping[str, passes.Timings]) -> str:
    main = "one run: launch → succeeded"
    plot = plots.bars("launch", "From launch to success (ms)", _compared(found, main), unit="ms", budget=1200)
    return _side_by_side("From launch to success", _LAUNCHES, plot, found)


def _ticks(found: Mapping[str, passes.Timings]) -> str:
    main = "tick due → run succeeded"
    plot = plots.bars("tick", "From a tick to the run's success (ms)", _compared(found, main), unit="ms", budget=2000)
    return _side_by_side("From a tick to a received alert, in a running `spike up`", _TICKS, plot, found, _TICK_TIME)


def _compared(found: Mapping[str, passes.Timings], part: str) -> dict[str, float]:
    return {name: found[name].p50(part) for name in reversed(list(found))}


def _side_by_side(title: str, note: str, plot: str, found: Mapping[str, passes.Timings], behind: str = "") -> str:
    """Put the settings beside one another, each but ours with how many times as long it takes."""
    *others, ours = found.values()
    *names, own = found
    rows = [
        f"| {part} | {' | '.join(f'{_figures(one, part)} | {_times(one, ours, part)}' for one in others)}"
        f" | {_figures(ours, part)} |"
        for part in ours.parts
    ]
    header = f"| p50, longest (how many) | {' | '.join(f'{name} | × ' for name in names)} | {own} |"
    return _section(title, note, plot, header, rows, behind)


def _started(found: passes.Timings) -> str:
    rows = [f"| `{name}` | {found.p50(name):,.0f} | {found.p95(name):,.0f} |" for name in found.parts]
    bars = {name: found.p50(name) for name in reversed(list(found.parts))}
    plot = plots.bars("starts", "How long does a process take to start? (ms)", bars, unit="ms")
    return _section("Cold starts", _STARTS, plot, "| | p50 | p95 |", rows)


def _passes(
    small: passes.Timings, large: passes.Timings, small_run: passes.Timings, large_run: passes.Timings, *, plot: str
) -> str:
    lines = [
        "## The H1 pass, 29 instruments",
        "",
        _NOTE,
        plot,
        "| | 1,000: p50 | p95 | 140,000: p50 | p95 | growth of p50 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    parts = [
        "fetch",
        "candles",
        "atr",
        "events",
        "features",
        "alerts",
        "open, plan, record, close",
        "received → stored",
        "pass",
        "tidying up behind it",
    ]
    lines += [
        _row(f"**{part}**" if part in ("pass", "received → stored") else part, small, large, part) for part in parts
    ]
    lines.append(_row("**Dagster run**", small_run, large_run, "Dagster run"))
    verdict = [
        _against("`process()` p95", large.p95("pass"), 200, "ms"),
        _against("`process()`, received → stored, p95", large.p95("received → stored"), 200, "ms"),
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


def _ranges(found: Mapping[str, ranges.Ranged]) -> str:
    plot = plots.bars(
        "range",
        "What does a partition take of a backfill, per asset? (ms)",
        {name: found[name].milliseconds for name in reversed(list(found))},
        unit="ms",
    )
    rows = [
        f"| {name} | {one.partitions:,} | {one.seconds:.0f} | {one.milliseconds:.1f} |" for name, one in found.items()
    ]
    return _section(
        "A Dagster partition backfill", _RANGES, plot, "| | partitions | seconds | ms per partition and asset |", rows
    )


def _times(other: passes.Timings, ours: passes.Timings, part: str) -> str:
    return f"{other.p50(part) / ours.p50(part):.1f}" if part in other.parts else ""


def _figures(timings: passes.Timings, part: str) -> str:
    if part not in timings.parts:
        return ""
    return f"{timings.p50(part):,.0f}, {max(timings.parts[part]):,.0f} ({len(timings.parts[part])})"


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
    main(sys.argv[1:])
