"""The shipped functions, as a framework loads them, at a time of day and with a patience that a test sets in a file."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from spike_assets.pipeline import Pipeline
from spike_assets.settings import Settings
from spike_assets_tests import control

_SHIPPED = Path(__file__).parents[2] / "deploy" / "function" / "main.py"
_from_settings = Pipeline.from_settings


def _clocked(settings: Settings) -> Pipeline:
    return replace(_from_settings(settings), clock=control.now)


def _patient(shipped: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(shipped)
    def call(request: Any) -> Any:
        control.take_timeouts()
        return shipped(request)

    return call


Pipeline.from_settings = staticmethod(_clocked)  # type: ignore[method-assign]
_spec = importlib.util.spec_from_file_location("main", _SHIPPED)
assert _spec
assert _spec.loader
_main = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_main)

spike_http = _patient(_main.spike_http)
spike_cloud_event = _patient(_main.spike_cloud_event)
