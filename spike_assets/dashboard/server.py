"""Runs the dashboard in this process, until Ctrl-C or SIGTERM."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from spike_assets.dashboard.app import create_app
from spike_assets.dashboard.security import require_safe
from spike_assets.errors import PermanentError
from spike_assets.pipeline.context import Pipeline
from spike_assets.settings import Settings

_FAREWELL_SECONDS = 3
"""How long requests under way may take when a stop is requested."""
_MOST_SAID = 4096
"""Bytes that a page may send over the feed at once."""


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve the dashboard until Ctrl-C or SIGTERM; `say` is told where it is.

    Raises
    ------
    SettingsError
        Anybody on the network could come in without a token.
    PermanentError
        The port cannot be had.
    """
    require_safe(settings)
    app = create_app(Pipeline.from_settings(settings), settings)
    with _listening(settings.dashboard_host, settings.dashboard_port) as listener:
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws_max_size=_MOST_SAID,
            ws_per_message_deflate=False,  # it would be done anew for every page
            timeout_graceful_shutdown=_FAREWELL_SECONDS,
        )
        say(f"the dashboard is at {address(settings)}; Ctrl-C stops")
        _Server(config).run(sockets=[listener])


def address(settings: Settings) -> str:
    """Give where a person on this machine opens the dashboard."""
    host = reached_at(settings.dashboard_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.dashboard_port}"


def reached_at(host: str) -> str:
    """Give the address at which this machine itself reaches what listens on an address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not listened on


class _Server(uvicorn.Server):
    """A server that a signal ends, and not the process: it goes on behind it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # whoever is told where it is may come at once
        except OSError as error:
            raise PermanentError(
                f"port {port} of {host} cannot be had ({error.strerror}); set SPIKE_DASHBOARD_PORT to another"
            ) from error
        yield listener
