"""How long a process takes before it can do anything: the function's import, and commands."""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.passes import Timings

LIBRARIES = "pandas, pydantic_settings, requests, yaml"
"""What the function cannot do without."""

_PYTHON = [sys.executable, "-c"]
_SPIKE = str(Path(sys.executable).with_name("spike"))
STARTED = {
    "python": [*_PYTHON, "pass"],
    "import its libraries": [*_PYTHON, f"import {LIBRARIES}"],
    "import spike_assets.cloud": [*_PYTHON, "import spike_assets.cloud"],
    "import dagster": [*_PYTHON, "import dagster"],
    "import spike_assets.definitions": [*_PYTHON, "import spike_assets.definitions"],
    "spike --help": [_SPIKE, "--help"],
    "spike status": [_SPIKE, "status"],
}


def measure(folder: Path, n: int) -> Timings:
    """Start each of them so many times, in turn, on a store that is new."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPIKE_", "DAGSTER_"))}
    environment = kept | {"SPIKE_DATABASE": str(folder / "spike.duckdb")}
    subprocess.run([_SPIKE, "run", "H1"], check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    timings = Timings()
    for _ in range(n):
        for name, command in STARTED.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            timings.add(name, (time.perf_counter() - start) * 1000)
    return timings
