"""Four granularities and a backfill at once, for longer."""

from pathlib import Path

import pytest

from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline.verify import verify
from spike_assets_tests.invariants.test_processes import everybody_at_once, expected_of, pipeline_on
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import hashes, pending_marks

pytestmark = pytest.mark.soak


def test_everybody_at_once(tmp_path: Path, record_property: Tell) -> None:
    counts = {"H1": 150, "H4": 120, "D": 50, "W": 10}
    database = tmp_path / "spike.duckdb"
    assert everybody_at_once(database, counts, 20) == ["done"] * 5
    pipeline = pipeline_on(database)
    for name, n in counts.items():
        assert pending_marks(pipeline, GRANULARITIES[name]) == 0
        assert hashes(pipeline, GRANULARITIES[name]) == expected_of(GRANULARITIES[name], n), name
        assert verify(pipeline, GRANULARITIES[name]).difference is None
    record_property("passes", sum(counts.values()))
    record_property("backfill chunks", 32)
