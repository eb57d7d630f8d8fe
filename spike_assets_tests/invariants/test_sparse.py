"""An instrument that trades ten UTC hours a day: its New York slots come and go with daylight saving."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from spike_assets import market_hours
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.verify import verify
from spike_assets.store.store import Store
from spike_assets_tests.engines import SOAKED
from spike_assets_tests.support import FrameSource, make_pipeline

HISTORY = Window(datetime(2020, 6, 1, tzinfo=UTC), datetime(2021, 12, 30, tzinfo=UTC))


def sparse_candles() -> pd.DataFrame:
    times = market_hours.candle_times(H1, HISTORY)
    times = times[times.hour <= 9]
    chance = np.random.default_rng(1)
    close = 30 + np.cumsum(chance.normal(0, 0.02, len(times)))
    open_ = np.r_[30, close[:-1]]
    return pd.DataFrame(
        {
            "instrument": "USD_THB",
            "time": times,
            "open": open_,
            "high": np.maximum(open_, close) + chance.uniform(0, 0.03, len(times)),
            "low": np.minimum(open_, close) - chance.uniform(0, 0.03, len(times)),
            "close": close,
            "volume": chance.integers(5, 500, len(times)).astype(float),
        }
    )


@pytest.mark.parametrize("engine", SOAKED)
def test_a_corrected_volume_reaches_the_next_winter(store: Store) -> None:
    """00:00 UTC is 19:00 New York in winter only: the twentieth candle of that slot comes in November."""
    candles = sparse_candles()
    source = FrameSource(candles)
    now = [datetime(2022, 1, 1, tzinfo=UTC)]
    pipeline = make_pipeline(source, store, ("USD_THB",), clock=lambda: now[0])
    backfill(pipeline, H1, HISTORY)
    for day in (15, 16, 17, 18, 25, 26):
        corrected = datetime(2021, 2, day, tzinfo=UTC)
        at = source.candles["time"] == corrected
        source.candles = source.candles.assign(volume=source.candles["volume"].where(~at, 3_000.0))
        now[0] += timedelta(hours=1)
        backfill(pipeline, H1, Window(corrected, corrected + timedelta(hours=1)))
        assert verify(pipeline, H1).difference is None
