"""Two machines and one Postgres, hour after hour, any of their processes killed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets_tests.faults.fleet import storm
from spike_assets_tests.postgres import Server
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak

TICKS = 40
MONDAYS = [(3, 10), (5, 5), (7, 7), (9, 8), (11, 3)]
"""In the first and the last, New York's clocks have just changed."""


@pytest.mark.parametrize("batch", range(len(MONDAYS)))
def test_any_of_them_is_killed(batch: int, server: Server, tmp_path: Path, record_property: Tell) -> None:
    first = datetime(2025, *MONDAYS[batch], 3, tzinfo=UTC)
    with server.database() as database, server.database(empty=True) as dagster:
        ran = storm(tmp_path, database, dagster, first, ticks=TICKS, seed=100 + batch)
    record_property("ticks", TICKS)
    record_property("killed", ran.killed.total())
    record_property("ended by themselves", ran.ended.total())
    record_property("messages", len(ran.site.account.acknowledged))
    record_property("repeated by kills", ran.site.account.repeated)
