"""The time of day that a test's processes go by, and how long their passes may take: a file says both, at any time."""

import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from spike_assets.granularity import GRANULARITIES

CONTROL = "SPIKE_TEST_CONTROL"
"""Names the file, in the environment of a process: it says `now`, and `timeout` in seconds."""

_timeouts = {name: granularity.timeout for name, granularity in GRANULARITIES.items()}


def variables(folder: Path) -> Mapping[str, str]:
    """Give what tells a process that the file is in a folder."""
    return {CONTROL: str(folder / "control.json")}


def say(folder: Path, now: datetime, timeout: float | None = None) -> None:
    """Set the time of day, and how long a pass may take: as long as a real one, unless given."""
    said = folder / "control.new"
    said.write_text(json.dumps({"now": now.isoformat(), "timeout": timeout}), encoding="utf-8")
    said.replace(folder / "control.json")


def now() -> datetime:
    """Give the time of day."""
    return datetime.fromisoformat(_said()["now"])


def take_timeouts() -> None:
    """Have the passes of this process take no longer than is said, from here on."""
    seconds = _said().get("timeout")
    for name, timeout in _timeouts.items():
        set_to = timeout if seconds is None else timedelta(seconds=seconds)
        object.__setattr__(GRANULARITIES[name], "timeout", set_to)


def _said() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(Path(os.environ[CONTROL]).read_text(encoding="utf-8"))
    return said
