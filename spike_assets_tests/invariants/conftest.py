"""The session's Postgres, where there is one."""

from spike_assets_tests.postgres import postgres, server

__all__ = ["postgres", "server"]
