"""A hundred senders killed at random moments, while a receiver fails at random."""

from datetime import UTC, datetime

import pytest

from spike_assets_tests.faults.senders import kill_again_and_again
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak

KILLS, BATCHES = 100, 5


@pytest.mark.parametrize("batch", range(BATCHES))
def test_senders_killed_at_random_moments(batch: int, database: str, record_property: Tell) -> None:
    end = datetime(2025, 2 + 2 * batch, 14, tzinfo=UTC)
    ran = kill_again_and_again(100 + batch, database, end, KILLS // BATCHES)
    assert ran.killed["send"] == KILLS // BATCHES
    assert ran.apart > 0
    record_property("senders killed", ran.killed["send"])
    record_property("passes killed", ran.killed["pass"])
    record_property("messages", sum(len(account.acknowledged) for account in ran.accounts))
    record_property("requests not taken", sum(account.failed for account in ran.accounts))
    record_property("repeated by kills", sum(account.repeated for account in ran.accounts))
