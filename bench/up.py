"""A running `spike up`: started, asked over GraphQL, stopped. Nothing is measured here."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from spike_assets.pipeline import Pipeline
from spike_assets.settings import load_settings

PORT, DASHBOARD = 3765, 3766
SECRET = "whsec_" + base64.b64encode(b"b" * 32).decode()
PATIENCE = 180.0

Ask = Callable[[str, Mapping[str, Any]], Any]


def environment(folder: Path, url: str, start: datetime) -> dict[str, str]:
    """Give what `spike up` is told: a store in the folder, a webhook that is sent to, history since `start`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPIKE_", "DAGSTER_"))}
    return kept | {
        "SPIKE_DATABASE": str(folder / "spike.duckdb"),
        "SPIKE_HISTORY_START": f"{start:%Y-%m-%d}",
        "SPIKE_WEBHOOK_URL": f"{url}/hook",
        "SPIKE_WEBHOOK_SECRET": SECRET,
        "SPIKE_WEBHOOK_ALLOW_PRIVATE": "1",
        "SPIKE_DASHBOARD_PORT": str(DASHBOARD),
        "DAGSTER_HOME": str(folder / "home"),
    }


def pipeline_of(variables: Mapping[str, str]) -> Pipeline:
    """Give the pipeline of such an environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        return Pipeline.from_settings(load_settings())
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def spike_up(folder: Path, variables: Mapping[str, str]) -> Iterator[Ask]:
    """Run `spike up` inside the block; give what asks its Dagster, once the daemon is well."""
    command = [str(Path(sys.executable).with_name("spike")), "up", "--port", str(PORT)]
    where = (
        folder if (folder / "workspace.yaml").exists() else Path.cwd()
    )  # what it finds there goes before the shipped
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=variables, cwd=where, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(lambda: "the schedules run" in log.read_text())
        wait_for(_daemon_is_up)
        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _daemon_is_up() -> bool:
    health = ask("query Q { instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }", {})
    statuses = health["instance"]["daemonHealth"]["allDaemonStatuses"]
    return all(one["healthy"] for one in statuses if one["required"])


def ask(query: str, variables: Mapping[str, Any]) -> Any:
    """Ask the Dagster that runs something in GraphQL."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=30)
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if "data" not in answer or answer["data"] is None:
        raise RuntimeError(str(answer)[:500])
    return answer["data"]


def wait_for(look: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Look until there is something, which is given."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            found = look()
        except (OSError, HTTPException):
            found = None
        if found:
            return found
        time.sleep(0.25)  # nothing here is timed by it: asking more often would be measured too
    raise TimeoutError("what was to be measured never came")
