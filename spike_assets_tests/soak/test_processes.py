"""Four granularities and a backfill at once, for longer."""

import pytest

from spike_assets_tests.invariants.test_processes import everybody_ends_well
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak


def test_everybody_at_once(database: str, record_property: Tell) -> None:
    counts = {"H1": 150, "H4": 120, "D": 50, "W": 10}
    everybody_ends_well(database, counts, 20)
    record_property("passes", sum(counts.values()))
    record_property("backfill chunks", 32)
