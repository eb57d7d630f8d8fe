"""The dashboard by itself, with the settings in force."""

import click

from spike_assets.dashboard.server import serve
from spike_assets.settings import load_settings


@click.command
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Port; SPIKE_DASHBOARD_PORT unless given.")
def dashboard(port: int | None) -> None:
    """Serve the dashboard alone, until Ctrl-C.

    A page with charts, events and alerts that follows the store live, its API (/api/docs), and /metrics for monitoring.
    It listens on SPIKE_DASHBOARD_HOST and SPIKE_DASHBOARD_PORT; any address but this machine's own needs
    SPIKE_DASHBOARD_TOKEN. Who writes to the store is somebody else: `spike up`, or `spike run`.
    """
    settings = load_settings() if port is None else load_settings(dashboard_port=port)
    serve(settings, lambda text: click.echo(text, err=True))
