"""Twenty pages and a pass every quarter of a second; for longer, and with more of them, in the soak."""

from pathlib import Path

from spike_assets_tests.dashboard.crowd import crowd


def test_every_page_hears_everything_once_and_passes_go_on(tmp_path: Path) -> None:
    ran = crowd(tmp_path, pages=20, passes=10, every=0.25)
    assert len(ran.heard) == 20
    assert any(one.events for one in ran.heard)
