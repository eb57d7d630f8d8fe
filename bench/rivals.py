"""The pass against its floor and against what one would write instead; our ATR against TA-Lib's and talipp's."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pandas as pd
import talib
from talipp import indicators as talipp
from talipp.ohlcv import OHLCV

from spike_assets.core import atr as atr_core
from spike_assets.deadline import Deadline
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.store import open_store
from spike_assets.store.tables import CANDLES

PERIOD = 14
NAIVE = 5
"""How often everything is recomputed: it takes seconds."""
_AROUND = timedelta(days=35)


def floor(path: Path, times: int) -> list[float]:
    """Open the file, read what a pass reads, write as many rows as a pass does, close: milliseconds, each time."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        with duckdb.connect(str(path), config={"threads": 1}) as connection:
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
            newest = connection.execute("SELECT MAX(time) FROM h1.candles").fetchall()[0][0]
            for table in ("candles", "atr", "events", "features"):
                sql = f"SELECT * FROM h1.{table} WHERE time >= ? ORDER BY instrument, time"  # noqa: S608
                connection.execute(sql, [newest - _AROUND]).fetchnumpy()
            for table in ("candles", "atr", "events", "features", "alerts"):
                connection.begin()
                sql = (
                    f"INSERT INTO h1.{table} SELECT * REPLACE (time + INTERVAL 30 YEAR AS time) FROM h1.{table}"  # noqa: S608
                    " WHERE time = ?"
                )
                connection.execute(sql, [newest])
                connection.commit()
        took.append((time.perf_counter() - start) * 1000)
    return took


def naive(path: Path) -> list[float]:
    """Read every candle, compute ATR, events and a handful of features with pandas, write all of them: milliseconds."""
    took = []
    for _ in range(NAIVE):
        start = time.perf_counter()
        with duckdb.connect(str(path)) as connection:
            candles = connection.execute("SELECT * FROM h1.candles ORDER BY instrument, time").df()
            rows = _recomputed(candles)
            connection.register("rows", rows)
            connection.execute("CREATE OR REPLACE TABLE naive AS SELECT * FROM rows")
        took.append((time.perf_counter() - start) * 1000)
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE naive")
    return took


def _recomputed(candles: pd.DataFrame) -> pd.DataFrame:
    """Give the events with their features, as one would write it at first: everything anew, and not all of it."""
    each = candles.groupby("instrument", sort=False)
    before = each["close"].shift()
    ranges = pd.concat(
        [candles["high"] - candles["low"], (candles["high"] - before).abs(), (candles["low"] - before).abs()], axis=1
    ).max(axis=1)
    candles["atr"] = ranges.groupby(candles["instrument"], sort=False).transform(
        lambda one: one.ewm(alpha=1 / PERIOD, adjust=False).mean()
    )
    rose = each["close"].shift() > each["open"].shift()
    fell = candles["close"] < candles["open"]
    candles["level"] = np.maximum(each["high"].shift(), candles["high"])
    events = candles[rose & fell & (candles["high"] - candles["close"] > 0.3 * candles["atr"])].copy()
    of_each = events.groupby("instrument", sort=False)
    events["distance_atr"] = of_each["level"].diff() / events["atr"]
    events["pattern"] = np.where(events["distance_atr"] > 0, "HH", "LH")
    events["hours"] = of_each["time"].diff().dt.total_seconds() / 3600
    slot = [candles["instrument"], candles["time"].dt.hour]
    usual = candles.groupby(slot, sort=False)["volume"].transform(lambda one: one.rolling(20).median().shift())
    events["relative_volume"] = events["volume"] / usual[events.index]
    return events


def atrs(path: Path) -> dict[str, dict[str, float]]:
    """Give milliseconds of one instrument's ATR, over all its history and for one new candle, by who computes it."""
    with open_store(str(path)).reading(Deadline.after(timedelta(minutes=1))) as session:
        stored = session.data.read(H1, CANDLES, _everything(), ["instrument", "time", "open", "high", "low", "close"])
    one = stored[stored["instrument"] == stored["instrument"].iloc[0]].reset_index(drop=True)
    high, low, close = (one[name].to_numpy() for name in ("high", "low", "close"))
    bars = [OHLCV(0.0, *row) for row in zip(high.tolist(), low.tolist(), close.tolist(), strict=True)]
    known = atr_core.atr(one.iloc[-101:-1], PERIOD)
    newest = one.iloc[-101:].reset_index(drop=True)
    incremental = talipp.ATR(PERIOD, input_values=bars[:-1])

    def one_more() -> None:
        incremental.add(bars[-1])
        incremental.remove()

    return {
        "spike": {
            "all": _median(lambda: atr_core.atr(one, PERIOD), 5),
            "one": _median(lambda: atr_core.atr(newest, PERIOD, known), 50),
        },
        "TA-Lib": {
            "all": _median(lambda: talib.ATR(high, low, close, PERIOD), 5),
            "one": _median(lambda: talib.ATR(high[-500:], low[-500:], close[-500:], PERIOD), 50),
        },
        "talipp": {
            "all": _median(lambda: talipp.ATR(PERIOD, input_values=bars), 5),
            "one": _median(one_more, 50),
        },
    }


def _everything() -> Window:
    return Window(datetime(1990, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))


def _median(work: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return median(took)


Atrs = Mapping[str, Mapping[str, float]]
