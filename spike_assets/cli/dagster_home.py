"""The dashboard, Dagster's UI and its daemon: where files are, and running them. Nothing here imports dagster."""

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from spike_assets.cli.children import HOST, Children, require_free, stop_requested
from spike_assets.dashboard.security import require_safe
from spike_assets.dashboard.server import address, reached_at
from spike_assets.defs import EVENT_BATCHES
from spike_assets.errors import PermanentError
from spike_assets.settings import Settings

Pause = Callable[[float], bool]
"""Waits for so many seconds and tells whether to stop; raises where one of those that run has ended."""

_CHECKOUT = Path(__file__).resolve().parents[2]


def project_file(name: str) -> Path:
    """Give a file of the project: from this folder, else from the checkout that spike was installed from."""
    for folder in (Path.cwd(), _CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise PermanentError(f"there is no {name} here; start this in the folder of the project")


def prepare(home: Path, *, fresh: bool = False) -> Path:
    """Make a DAGSTER_HOME with the shipped dagster.yaml; one that is there is kept unless `fresh`."""
    shipped = project_file("dagster.yaml")
    try:
        home.mkdir(parents=True, exist_ok=True)
        if fresh or not (home / "dagster.yaml").exists():
            shutil.copyfile(shipped, home / "dagster.yaml")
    except OSError as error:
        raise PermanentError(f"cannot write to {home}: {error.strerror}; set DAGSTER_HOME to another folder") from error
    return home.resolve()


def require_dashboard(settings: Settings) -> None:
    """Raise where the dashboard could not be served: its port is taken, or anybody could come in."""
    require_safe(settings)
    require_free(settings.dashboard_port, settings.dashboard_host, "set SPIKE_DASHBOARD_PORT to another")


def serve(
    home: Path,
    port: int,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    settings: Settings,
    first: Callable[[Pause], None] = lambda _: None,
) -> None:
    """Run the dashboard, the UI and the daemon until Ctrl-C or SIGTERM; one that ends by itself is a `PermanentError`.

    Parameters
    ----------
    environment
        What all of them are told on top of this process's environment.
    settings
        Those in force for them.
    first
        Is done when the dashboard and the UI are there, before the daemon's schedules run.
    """
    require_free(port)
    require_dashboard(settings)
    workspace = str(project_file("workspace.yaml"))
    environment = {**EVENT_BATCHES, **os.environ, **environment, "DAGSTER_HOME": str(home)}
    environment["SPIKE_DAGSTER_URL"] = settings.dagster_url or f"http://{HOST}:{port}"
    with stop_requested() as requested, Children(environment, home) as children:
        say(f"starting the dashboard, the Dagster UI and its daemon (output in {os.path.relpath(home)})")
        children.start("the dashboard", "dashboard.log", "spike_assets.dashboard")
        if children.wait_for("/healthz", settings.dashboard_port, requested, reached_at(settings.dashboard_host)):
            say(f"the dashboard is at {address(settings)}")
            place = ["--host", HOST, "--port", str(port), "--workspace", workspace]
            children.start("the Dagster UI", "webserver.log", "dagster_webserver", *place)
            _serve_dagster(children, workspace, port, requested, say, first)
        say("stopping")
    say("stopped")


def _serve_dagster(
    children: Children,
    workspace: str,
    port: int,
    requested: threading.Event,
    say: Callable[[str], None],
    first: Callable[[Pause], None],
) -> None:
    if children.wait_for("/server_info", port, requested):
        say(f"http://{HOST}:{port} is ready; Ctrl-C stops")
        first(lambda seconds: children.pause(requested, seconds))
    if not requested.is_set():
        # Behind the UI: both make the tables of an empty home, and one of two at once fails.
        children.start("the Dagster daemon", "daemon.log", "dagster._daemon", "run", "--workspace", workspace)
        say("the schedules run")
        children.watch(requested)
