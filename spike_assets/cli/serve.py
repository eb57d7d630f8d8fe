"""The dashboard, the Dagster UI and its daemon, with the settings in force."""

import os
from pathlib import Path

import click

from spike_assets.cli import dagster_home
from spike_assets.settings import load_settings

PORT = click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", default=3000, show_default="3000", help="Port of the UI."
)


@click.command
@PORT
def up(port: int) -> None:
    """Serve the dashboard, the Dagster UI and its daemon, until Ctrl-C.

    Dagster keeps its runs in DAGSTER_HOME, or in .dagster in this folder, where the project's dagster.yaml is put
    unless there is one. The schedules run, so new candles are processed as they close. The dashboard listens on
    SPIKE_DASHBOARD_HOST and SPIKE_DASHBOARD_PORT.
    """
    settings = load_settings()  # a bad one is told here, in one line
    home = dagster_home.prepare(Path(os.environ.get("DAGSTER_HOME") or ".dagster"))
    dagster_home.serve(home, port, {}, lambda text: click.echo(text, err=True), settings)
