"""Where everything is kept.

`store` speaks in domain words, `tables` declares, `schema.sql` creates, an engine connects.
"""

from pathlib import Path

from spike_assets.errors import SettingsError
from spike_assets.store.store import Store

POSTGRES = ("postgresql", "postgres")
"""What the address of a Postgres begins with."""


def open_store(url: str) -> Store:
    """Give the store at `url`, the path of a DuckDB file or the address of a Postgres. Nothing is opened yet."""
    # An engine's library is imported where it is used: either takes a good part of a cold start.
    scheme, separator, _ = url.partition("://")
    if not separator:
        from spike_assets.store.duckdb_engine import DuckDBEngine  # noqa: PLC0415

        return Store(DuckDBEngine(Path(url)))
    if scheme not in POSTGRES:
        raise SettingsError(
            f"SPIKE_DATABASE: {scheme}:// is not supported; give the path of a DuckDB file, or the address of a"
            " Postgres, postgresql://…"
        )
    from spike_assets.store.postgres_engine import PostgresEngine  # noqa: PLC0415

    return Store(PostgresEngine(url))
