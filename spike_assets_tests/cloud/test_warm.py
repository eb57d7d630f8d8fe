"""What calls share is made once, by the settings, and not from a file that is gone with the instance."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets.cloud import warm as module
from spike_assets.cloud.warm import is_cold, warm
from spike_assets.errors import SettingsError


@pytest.fixture(autouse=True)
def _cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "OANDA_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    module._made.cache_clear()
    yield
    module._made.cache_clear()


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_DATABASE", "here.duckdb")
    monkeypatch.setenv("SPIKE_HISTORY_START", "2026-01-01")
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://127.0.0.1:3000/")
    assert is_cold()
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(lambda _: warm(), range(8))
    monkeypatch.setenv("SPIKE_DATABASE", "there.duckdb")
    assert not is_cold()
    assert all(one is first for one in [*others, warm()])
    assert first.pipeline.store.url == "here.duckdb"
    assert first.reporter.url == "http://127.0.0.1:3000"
    assert first.reporter.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_database_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^SPIKE_DATABASE: set it, like postgresql://…; a file on a function's"):
        warm()
    monkeypatch.setenv("SPIKE_DATABASE", "here.duckdb")
    assert warm().pipeline.store.url == "here.duckdb"
