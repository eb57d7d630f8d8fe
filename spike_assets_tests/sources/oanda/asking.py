"""A source that asks a loopback server, and waits for milliseconds where it would wait for seconds."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from spike_assets.deadline import Deadline
from spike_assets.sources.oanda import OandaSource
from spike_assets.sources.oanda.client import Client
from spike_assets.sources.oanda.limits import CONNECTIONS_PER_SECOND, REQUESTS_PER_SECOND, RateLimit
from spike_assets_tests.oanda_server import ACCOUNT, TOKEN, OandaServer

HASTE = 0.002
"""Seconds: the first wait before something is asked again."""


def client_of(url: str, folder: Path, *, token: str = TOKEN, limited: bool = False, **options: Any) -> Client:
    """Give a client whose limits are its own; so high that they are never met, unless they are what is tested."""
    return Client(
        url,
        token,
        first_wait=options.pop("first_wait", HASTE),
        requests_limit=RateLimit(folder / "requests.limit", REQUESTS_PER_SECOND if limited else 100_000),
        connections_limit=RateLimit(folder / "connections.limit", CONNECTIONS_PER_SECOND if limited else 100_000),
        **options,
    )


def source_of(server: OandaServer, folder: Path, *, account: str = ACCOUNT, **options: Any) -> OandaSource:
    """Give a source that asks a server."""
    price = options.pop("price", "mid")
    return OandaSource(client_of(server.url, folder, **options), account, price, first_wait=HASTE)


def within(seconds: float = 30) -> Deadline:
    return Deadline.after(timedelta(seconds=seconds))


def paths(server: OandaServer) -> list[str]:
    """Give what was asked for so far, in short: the last part of each path, and of which instrument."""
    return [seen.path.removeprefix("/v3/").replace(ACCOUNT, "ACCOUNT") for seen in server.requests]


def soon(close: datetime) -> datetime:
    return close + timedelta(minutes=5)
