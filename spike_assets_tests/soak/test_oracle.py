"""Every candle of every captured file: ATR, events, features and alerts are those of the slow loop."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from spike_assets.core.atr import atr
from spike_assets.core.events import events
from spike_assets.core.features import features
from spike_assets.core.quality import validate
from spike_assets.granularity import GRANULARITIES
from spike_assets.store.rows import storable
from spike_assets.store.tables import ALERTS
from spike_assets_tests import oracle
from spike_assets_tests.core.test_alerts import in_order, slowly
from spike_assets_tests.soak.test_ways import Tell
from spike_assets_tests.support import candle_list, captured, captured_instruments, computed, plain

pytestmark = pytest.mark.soak

FOLDERS = {"fx_h1": "H1", "fx_h4": "H4", "fx_d": "D", "fx_w": "W"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_slow_loop(folder: str, record_property: Tell) -> None:
    granularity = GRANULARITIES[FOLDERS[folder]]
    candles_seen = events_seen = 0
    for instrument in captured_instruments(folder):
        candles = validate(captured(folder, instrument), granularity, datetime(2026, 1, 1, tzinfo=UTC)).candles
        ranges = atr(candles)
        found = events(candles, ranges, granularity)
        slow_candles = candle_list(candles, instrument)
        slow_ranges = oracle.atrs(slow_candles, 14)
        slow_found = oracle.events(instrument, granularity.name, slow_candles, slow_ranges)
        slow_rows = oracle.features(granularity.name, slow_candles, slow_found)
        assert [tuple(row.values())[2:] for row in plain(ranges)] == [tuple(row) for row in slow_ranges]
        assert plain(found.drop(columns="instrument")) == slow_found
        assert plain(features(found, candles, granularity).drop(columns="instrument")) == [
            {name: row[name] for name in row} for row in slow_rows
        ]
        candles_seen += len(candles)
        events_seen += len(found)
    if not candles_seen:
        pytest.skip("captured market data is absent")
    record_property("candles", candles_seen)
    record_property("events", events_seen)


@pytest.mark.parametrize("folder", FOLDERS)
def test_slow_loop_over_all_instruments(folder: str, record_property: Tell) -> None:
    granularity = GRANULARITIES[FOLDERS[folder]]
    names = captured_instruments(folder)
    if not names:
        pytest.skip("captured market data is absent")
    candles = pd.concat([captured(folder, name) for name in names], ignore_index=True)
    tables = computed(candles, granularity, datetime(2026, 1, 1, tzinfo=UTC))
    expected = slowly(granularity, {name: candle_list(tables["candles"], name) for name in names})
    assert in_order(plain(storable(ALERTS, tables["alerts"]))) == in_order(expected)
    record_property("alerts", len(expected))
    record_property("groups", sum(row["instrument"] == "*" for row in expected))
