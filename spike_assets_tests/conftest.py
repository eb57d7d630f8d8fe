"""How hypothesis works here: always the same examples in the suite, other and more ones in a soak."""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "fast",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.register_profile("soak", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("SPIKE_TEST_PROFILE", "fast"))
