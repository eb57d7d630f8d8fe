"""Where everything is kept.

`store` speaks in domain words, `tables` declares, `schema.sql` creates, an engine connects.
"""

from pathlib import Path

from spike_assets.errors import SettingsError
from spike_assets.store.duckdb_engine import DuckDBEngine
from spike_assets.store.store import Store


def open_store(url: str) -> Store:
    """Give the store at `url`, a path to a DuckDB file. Nothing is opened yet."""
    if "://" in url:
        raise SettingsError(f"SPIKE_DATABASE: {url.split('://', 1)[0]}:// is not supported; give the path of a file")
    return Store(DuckDBEngine(Path(url)))
