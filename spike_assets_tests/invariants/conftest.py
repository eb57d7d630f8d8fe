"""Both engines; Postgres where there is one."""

from spike_assets_tests.engines import database, engine, new_store, store
from spike_assets_tests.postgres import postgres, server

__all__ = ["database", "engine", "new_store", "postgres", "server", "store"]
