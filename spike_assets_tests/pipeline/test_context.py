"""A store means one thing, and says so to whoever means another."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spike_assets.core import FORMULA_VERSION
from spike_assets.errors import SettingsError
from spike_assets.granularity import H1
from spike_assets.pipeline import Pipeline, context, process
from spike_assets.pipeline.context import timed, utc_now
from spike_assets.settings import load_settings
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.ops import Provenance
from spike_assets_tests.pipeline.markets import NAMES, SOON, hour, market, memory, state
from spike_assets_tests.support import FOREVER, FrameSource, hashes, make_pipeline


class Bids(FrameSource):
    price = "bid"


def test_an_empty_store_takes_our_meaning() -> None:
    pipeline = memory(market())
    process(pipeline, H1, now=hour(20) + SOON)
    with pipeline.store.reading(FOREVER) as session:
        assert session.ops.provenance() == Provenance("frame", "mid", 14, FORMULA_VERSION) == pipeline.provenance


def with_other(what: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    source: Any = pipeline.source
    if what == "source":
        return replace(pipeline, source=SimulatedSource())
    if what == "price":
        return replace(pipeline, source=Bids(source.candles))
    if what == "period":
        return replace(pipeline, atr_period=7)
    monkeypatch.setattr(context, "FORMULA_VERSION", 2)
    return pipeline


RECOMPUTES = "`spike rebuild` recomputes it"
EMPTIES = "`spike rebuild --discard-candles` empties it for the new source"


@pytest.mark.parametrize(
    ("what", "wanted", "way_out"),
    [
        ("source", "simulated candles (mid) with ATR 14 and formulas of version 1", EMPTIES),
        ("price", "frame candles (bid) with ATR 14 and formulas of version 1", EMPTIES),
        ("period", "frame candles (mid) with ATR 7 and formulas of version 1", RECOMPUTES),
        ("formula", "frame candles (mid) with ATR 14 and formulas of version 2", RECOMPUTES),
    ],
)
def test_another_meaning_is_refused_naming_the_ways_out(
    what: str, wanted: str, way_out: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "spike.duckdb"
    pipeline = make_pipeline(market(), path, NAMES)
    process(pipeline, H1, now=hour(20) + SOON)
    before = hashes(pipeline, H1)
    with monkeypatch.context() as patch:
        other = with_other(what, pipeline, patch)
        with pytest.raises(SettingsError) as refused:
            process(other, H1, now=hour(21) + SOON)
    assert str(refused.value) == (
        f"{path} holds frame candles (mid) with ATR 14 and formulas of version 1, the settings say {wanted};"
        f" set SPIKE_DATABASE to another database, or {way_out}"
    )
    assert hashes(pipeline, H1) == before
    assert state(pipeline).consecutive_failures == 0, "the store is well, the settings are not"
    assert process(pipeline, H1, now=hour(22) + SOON).status == "success"


def test_a_pipeline_is_made_of_settings(tmp_path: Path) -> None:
    made = Pipeline.from_settings(
        load_settings(
            _env_file=None,
            source="simulated",
            database=str(tmp_path / "x.duckdb"),
            instruments="USD_JPY,EUR_USD",
            atr_period=7,
            warmup=3,
            history_start="2024-05-01",
        )
    )
    assert made.source.name == "simulated"
    assert made.store.url == str(tmp_path / "x.duckdb")
    assert (made.instruments, made.atr_period, made.warmup) == (("EUR_USD", "USD_JPY"), 7, 3)
    assert made.history_start == datetime(2024, 5, 1, tzinfo=UTC)
    assert list(tmp_path.iterdir()) == []


def test_the_clock_is_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_timed_notes_milliseconds() -> None:
    milliseconds: dict[str, float] = {}
    with timed(milliseconds, "atr"):
        pass
    assert set(milliseconds) == {"atr"}
    assert milliseconds["atr"] >= 0
