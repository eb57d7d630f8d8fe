"""How hypothesis works here (always the same examples in the suite, other and more ones in a soak); no loose ends."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from spike_assets_tests.support import tidied

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it puts into the background ignore Ctrl-C, and so would every command that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "fast",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.register_profile("soak", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("SPIKE_TEST_PROFILE", "fast"))


@pytest.fixture(autouse=True)
def _nothing_left_to_threads() -> Iterator[None]:
    """Have passes' tidying end with the test whose passes they were."""
    yield
    tidied()
