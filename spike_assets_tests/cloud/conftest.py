"""The session's Postgres, for those who ask for one."""

from spike_assets_tests.postgres import postgres, server

__all__ = ["postgres", "server"]
