"""What the calls of one process share: settings are read once, connections stay open."""

import threading
from dataclasses import dataclass
from functools import cache

from spike_assets.errors import SettingsError
from spike_assets.pipeline import Pipeline
from spike_assets.reporting import Reporter
from spike_assets.settings import load_settings

_making = threading.Lock()


@dataclass(frozen=True)
class Warm:
    """A pipeline, and who is told of its passes."""

    pipeline: Pipeline
    reporter: Reporter


def warm() -> Warm:
    """Give what this process works with; the first call makes it.

    Raises
    ------
    SettingsError
        A setting is missing or wrong; the next call reads them again.
    """
    with _making:  # a framework may call from many threads
        return _made()


def is_cold() -> bool:
    """Tell whether nothing has been made yet."""
    return not _made.cache_info().currsize


@cache
def _made() -> Warm:
    settings = load_settings()
    if settings.database is None:
        raise SettingsError(
            "SPIKE_DATABASE: set it, like postgresql://…; a file on a function's own disk is gone with its instance"
        )
    return Warm(Pipeline.from_settings(settings), Reporter.from_settings(settings))
