"""Fifty pages open for five minutes, and a pass every second."""

from pathlib import Path
from statistics import mean, median

import pytest

from spike_assets_tests.dashboard.crowd import crowd
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak

PAGES, PASSES = 50, 300
WARM = 60
"""Passes after which all that is kept is as large as it will be."""
FLAT = 1.1


def test_every_page_hears_everything_once_and_memory_stays(tmp_path: Path, record_property: Tell) -> None:
    ran = crowd(tmp_path, PAGES, PASSES, 1.0)
    first, last = mean(ran.memory[WARM : WARM + 20]), mean(ran.memory[-20:])
    assert last < first * FLAT
    record_property("pages", PAGES)
    record_property("passes", PASSES)
    record_property("events heard by each", len(ran.heard[0].events))
    for what, seconds in (("pass ms", ran.passes), ("last page ms behind the pass", ran.late)):
        record_property(what, f"{median(seconds) * 1000:.0f}, at most {max(seconds) * 1000:.0f}")
    record_property("dashboard MB", f"{first:.0f} at first, {last:.0f} at last")
