"""Where the captured market data lies that some tests read; it is never part of the repository."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"captured market data is not at {SHARED}")
