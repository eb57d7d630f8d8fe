"""Definitions that a real Dagster daemon loads: a source that a test holds up or breaks, through files in a folder.

Without schedules: what runs is what the test launches.
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg

from spike_assets.deadline import Deadline
from spike_assets.definitions import build_defs
from spike_assets.errors import SourceError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.sources.base import Fetched
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.defs.running import INSTRUMENTS, STRETCH
from spike_assets_tests.support import make_pipeline

FOLDER = "SPIKE_TESTS_FAULTY"
"""Names the folder, in the environment."""
WRONG = "the token is wrong; set OANDA_API_TOKEN"


class Faulty:
    """The simulated market; notes who asks, waits while `hold` is there, and is wrong for good while `wrong` is."""

    name = "simulated"
    price = "mid"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        with (self._folder / "asked").open("a", encoding="utf-8") as asked:
            asked.write(f"{os.getpid()}\n")
        if (self._folder / "wrong").exists():
            raise SourceError(WRONG)
        while (self._folder / "hold").exists():
            deadline.check("answering")
            time.sleep(0.05)
        return SimulatedSource().fetch(granularity, windows, now=now, deadline=deadline)


def faulty_defs(folder: Path) -> dg.Definitions:
    """Give the jobs and the sensor over the faulty source."""
    pipeline = make_pipeline(Faulty(folder), folder / "spike.duckdb", INSTRUMENTS, history_start=STRETCH.start)
    whole = build_defs(pipeline=pipeline)
    return dg.Definitions(assets=whole.assets, jobs=whole.jobs, resources=whole.resources, sensors=whole.sensors)


if FOLDER in os.environ:
    defs = faulty_defs(Path(os.environ[FOLDER]))
