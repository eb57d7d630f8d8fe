"""Functions and runs that a real daemon launches warm, at the same ticks at once, any killed: as one clean backfill."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from spike_assets.defs.resources import MAX_RUNTIME_TAG, max_runtime
from spike_assets.granularity import H1
from spike_assets.market_hours import Window, candle_times, close_of
from spike_assets.partition_keys import partition_key
from spike_assets_tests.engines import DUCKDB, POSTGRES
from spike_assets_tests.faults.fleet import Fleet, fleet, function
from spike_assets_tests.faults.machines import AFTER_CLOSE, ALERTS_FILE, Site, site
from spike_assets_tests.invariants.launched import Launched, acts, drawn, launched
from spike_assets_tests.oanda_server import Clock
from spike_assets_tests.soak.test_ways import Tell

FIRST = datetime(2025, 3, 11, 3, tzinfo=UTC)
CALL = 0.5
"""Seconds behind a call of the function in which it is killed at the latest."""


@contextmanager
def mixed(folder: Path, database: str) -> Iterator[tuple[Site, Fleet, Launched]]:
    """Give functions on two machines, and a daemon, over one store that has just come alive."""
    calls = [(function, machine, CALL) for machine in (0, 1)]
    with site(folder / "site", database, None, FIRST) as here, fleet(here, *calls, seed=1) as functions:
        first = here.machines[0]
        variables = {name: value for name, value in first.environment.items() if name.startswith("SPIKE_")}
        variables["SPIKE_ALERTS_FILE"] = str(first.folder / ALERTS_FILE)
        home = folder / "dagster"
        home.mkdir()
        with launched(home, variables, Clock(FIRST)) as running:
            yield here, functions, running


def tick(functions: Fleet, running: Launched, opened: datetime, act: str, chance: Random) -> None:
    """Have two runs of a candle launched and the functions called for it, and meanwhile or then do something."""
    now = close_of(H1, opened) + AFTER_CLOSE
    running.at(now)
    running.tick()
    running.queue("h1_pass", {"dagster/partition": partition_key(H1, opened), MAX_RUNTIME_TAG: max_runtime(H1, 1)})
    if chance.random() < 0.8:
        running.started()
    at_once = chance.random() < 0.5

    def do() -> None:
        running.do(act, chance, drawn(chance, CALL / 2))

    functions.tick(now, kills=(0, 1, 1, 2), meanwhile=do if at_once else None)
    if not at_once:
        do()


@pytest.mark.parametrize(
    ("engine", "ticks", "times"),
    [
        (DUCKDB, 3, {"kill": 2}),
        (POSTGRES, 3, {"kill": 2}),
        pytest.param(DUCKDB, 40, {"kill": 20, "server": 4, "daemon": 1}, marks=pytest.mark.soak),
        pytest.param(POSTGRES, 60, {"kill": 30, "server": 5, "daemon": 1}, marks=pytest.mark.soak),
    ],
)
def test_nothing_is_lost_doubled_or_told_twice(
    database: str, ticks: int, times: dict[str, int], tmp_path: Path, record_property: Tell
) -> None:
    chance = Random(ticks)
    span = Window(FIRST, FIRST + timedelta(hours=2 * ticks + 72))
    opens = [time.astimezone(UTC) for time in candle_times(H1, span).to_pydatetime()[:ticks]]
    last = close_of(H1, opens[-1])
    with mixed(tmp_path, database) as (here, functions, running):
        for opened, act in zip(opens, acts(chance, ticks, **times), strict=True):
            tick(functions, running, opened, act, chance)
            here.look()
            running.make_room()
        running.catch_up()
        functions.tick(last + 2 * AFTER_CLOSE)
        kills = functions.killed.total() + running.storm.done["kill"]
        here.close(last, kills, here.pipeline.history_start)
        told = running.figures() | {
            "calls killed": functions.killed.total(),
            "calls ended by themselves": functions.ended.total(),
            "messages": len(here.account.acknowledged),
            "repeated by kills": here.account.repeated,
        }
    assert functions.ended.total()
    for name, figure in told.items():
        record_property(name, figure)
