"""The warm launcher for longer: 950 runs in a storm, and 200 in peace, through which its memory stays as it is."""

from pathlib import Path

import pytest

from spike_assets_tests.defs.launcher.launching import until
from spike_assets_tests.defs.launcher.storm import Storm, stormy
from spike_assets_tests.soak.test_ways import Tell

pytestmark = pytest.mark.soak

GROWTH = 4.0
"""Megabytes by which the server may grow over two hundred runs: what an allocator does, not what a run leaves."""


def test_nine_hundred_and_fifty_runs_in_a_storm(tmp_path: Path, record_property: Tell) -> None:
    with stormy(tmp_path) as storm:
        storm.rage(2, 950, kill=80, cancel=50, server=20, daemon=8, reload=15)
        storm.settle()
        assert storm.wrong() == []
        for act, times in storm.done.items():
            record_property(act, times)
        record_property("runs", storm.instance.get_runs_count())
        storm.stop()
        until(lambda: not storm.left(), lambda: str(storm.left()))


def test_memory_stays_as_it_is(tmp_path: Path, record_property: Tell) -> None:
    with stormy(tmp_path) as storm:
        storm.rage(3, 20)
        storm.settle()
        before = megabytes(storm)
        storm.rage(4, 200)
        storm.settle()
        after = megabytes(storm)
        assert storm.wrong() == []
    record_property("server, MB after 20 runs", f"{before:.1f}")
    record_property("server, MB after 220 runs", f"{after:.1f}")
    assert after - before < GROWTH


def megabytes(storm: Storm) -> float:
    """Give what the one server there is has in memory."""
    (server,) = {storm.runs.worker(run.run_id).server for run in storm.instance.get_runs()}
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii", errors="replace")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
