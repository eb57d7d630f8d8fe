"""The wire to OANDA: a pooled session whose connections are kept, carry the token, and tell of themselves."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import PoolManager

from spike_assets.deadline import Deadline


class Watcher(Protocol):
    """Is told of connections, in the thread that uses them."""

    def before_connecting(self) -> None:
        """Hear that a connection is about to be opened."""
        ...

    def in_use(self, connection: HTTPConnection) -> None:
        """Hear that a request is about to be sent on this one, and then that it was."""
        ...


def open_session(token: str, connections: int, watcher: Watcher) -> requests.Session:
    """Give a session of at most so many connections."""
    session = requests.Session()
    session.auth = _Token(token)
    adapter = _Adapter(connections, watcher)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class Guard:
    """Cuts a connection at the deadline. A timeout of the socket would start anew with every byte that drips in."""

    def __init__(self) -> None:
        self._connection: HTTPConnection | None = None
        self._wire: socket.socket | None = None

    def watch(self, connection: HTTPConnection) -> None:
        """Cut this one. Its socket is remembered: a connection that is not to be kept forgets it before the answer."""
        self._connection, self._wire = connection, connection.sock

    @contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """Cut whatever connection is in use when the deadline comes inside the block."""
        timer = threading.Timer(deadline.remaining(), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        wire = self._wire or (self._connection.sock if self._connection else None)
        if wire is not None:
            with suppress(OSError):  # it was closed just now
                wire.shutdown(socket.SHUT_RDWR)


class _Token(requests.auth.AuthBase):
    """The header that lets us in. As `auth`, nothing in a ~/.netrc takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Transport whose connections, straight or through a proxy, tell the watcher."""

    def __init__(self, connections: int, watcher: Watcher) -> None:
        self._pools = _pools(watcher)
        super().__init__(pool_connections=1, pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of straight connections. Called by `HTTPAdapter`."""
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> PoolManager:
        """Give the pools of connections through a proxy. Called by `HTTPAdapter`."""
        manager: PoolManager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(watcher: Watcher) -> dict[str, Any]:
    """Give the classes of connection pools by scheme."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            watcher.before_connecting()
            super().connect()

        def request(self, *arguments: Any, **options: Any) -> None:
            watcher.in_use(self)
            super().request(*arguments, **options)
            watcher.in_use(self)  # by now it has a socket

    class Secure(Plain, HTTPSConnection):
        """Tells the same: what `Plain` calls behind itself is then the encrypted connection's."""

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
