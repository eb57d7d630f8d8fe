"""Serves the dashboard until Ctrl-C or SIGTERM: `python -m spike_assets.dashboard`, as `spike up` starts it."""

import sys

from spike_assets.dashboard.server import serve
from spike_assets.errors import SpikeError
from spike_assets.settings import load_settings

if __name__ == "__main__":
    try:
        serve(load_settings(), lambda text: print(text, file=sys.stderr, flush=True))
    except SpikeError as error:
        sys.exit(f"error: {error}")
