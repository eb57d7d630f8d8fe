"""The wire to OANDA: a pooled session whose connections are kept, ask before they are opened, and carry the token."""

from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import PoolManager


def open_session(token: str, connections: int, before_connecting: Callable[[], None]) -> requests.Session:
    """Give a session of at most so many connections; `before_connecting` is called before each is opened."""
    session = requests.Session()
    session.auth = _Token(token)
    adapter = _Adapter(connections, before_connecting)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Token(requests.auth.AuthBase):
    """The header that lets us in. As `auth`, nothing in a ~/.netrc takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Transport that asks before it opens a connection."""

    def __init__(self, connections: int, before_connecting: Callable[[], None]) -> None:
        self._before_connecting = before_connecting
        super().__init__(pool_connections=1, pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make a pool whose connections ask first. Called by `HTTPAdapter`."""
        before = self._before_connecting

        class Plain(HTTPConnection):
            def connect(self) -> None:
                before()
                super().connect()

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                before()
                super().connect()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
