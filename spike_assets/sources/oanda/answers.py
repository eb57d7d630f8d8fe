"""Reading what OANDA answers: candles and instruments. What was not asked for is a fault, not data."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.sources.base import CANDLE_COLUMNS
from spike_assets.sources.oanda.client import Answer, SenselessError

PRICES = {"mid": "M", "bid": "B", "ask": "A"}
"""How a request calls each price."""

_MICROSECONDS = len("2025-03-10T05:00:00.000000")


class Told(NamedTuple):
    """What OANDA told of one instrument's candles.

    `candles` has `CANDLE_COLUMNS`, in the order told; `complete` says of each whether it is finished; `sent_at` is the
    broker's time of day, UTC; `came_at` when it was here, on the monotonic clock (of several answers, the first).
    """

    candles: pd.DataFrame
    complete: npt.NDArray[np.bool_]
    sent_at: datetime
    came_at: float


def candles(answer: Answer, granularity: Granularity, instrument: str, price: str) -> Told:
    """Read the answer of the candle endpoint."""
    return _told(answer, answer.body, granularity, instrument, price)


def latest(answer: Answer, granularity: Granularity, instruments: Iterable[str], price: str) -> dict[str, Told]:
    """Read the answer of the endpoint of latest candles: those of the instruments in it that can be read.

    One that is not there, or cannot be read, is no reason to be silent of the others; none at all is.
    """
    parts = answer.body.get("latestCandles")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise SenselessError("it has no latestCandles")
    by_name = {_name(part): part for part in parts}
    told: dict[str, Told] = {}
    for name in instruments:
        with suppress(SenselessError):
            told[name] = _told(answer, by_name.get(name, {}), granularity, name, price)
    if not told:
        raise SenselessError("it has nobody's candles")
    return told


def pip_locations(answer: Answer) -> dict[str, int]:
    """Read the account's instruments: the power of ten of a pip, of each that the account has."""
    parts = answer.body.get("instruments")
    if not isinstance(parts, list):
        raise SenselessError("it has no instruments")
    if not parts:
        raise SenselessError("an account without any instrument")
    try:
        return {str(part["name"]): int(part["pipLocation"]) for part in parts}
    except (KeyError, TypeError, ValueError) as error:
        raise SenselessError("an instrument has no name or no pipLocation") from error


def _told(answer: Answer, body: Mapping[str, Any], granularity: Granularity, instrument: str, price: str) -> Told:
    if (_name(body), body.get("granularity")) != (instrument, granularity.name):
        raise SenselessError(f"it is not of {instrument} {granularity}")
    rows = body.get("candles")
    if not isinstance(rows, list):
        raise SenselessError("it has no candles")
    try:
        return Told(*_columns(rows, instrument, price), answer.sent_at, answer.came_at)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SenselessError(f"a candle of {instrument} cannot be read") from error


def _columns(rows: list[dict[str, Any]], instrument: str, price: str) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    times = np.array([_time(row["time"]) for row in rows], dtype="M8[us]")
    prices = [row[price] for row in rows]
    frame = pd.DataFrame(
        {
            "instrument": pd.Series([instrument] * len(rows), dtype=object),
            "time": pd.DatetimeIndex(times).tz_localize("UTC"),
            **{
                column: _numbers([row[letter] for row in prices])
                for column, letter in zip(CANDLE_COLUMNS[2:6], "ohlc", strict=True)
            },
            "volume": _numbers([row["volume"] for row in rows]),
        }
    )
    return frame, np.array([row["complete"] is True for row in rows], dtype=np.bool_)


def _numbers(texts: list[Any]) -> npt.NDArray[np.float64]:
    """Read numbers; what is none becomes NaN, which puts its candle, and no other, into quarantine."""
    try:
        return np.array(texts, dtype=object).astype(np.float64)
    except (ValueError, TypeError):
        return np.asarray(pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce"), dtype=np.float64)


def _time(text: str) -> str:
    """Give an RFC 3339 time of nine fractional digits as numpy reads it; candles open on whole seconds."""
    if not text.endswith("Z"):
        raise ValueError(f"{text} is not UTC")
    return text[:-1][:_MICROSECONDS]


def _name(body: Mapping[str, Any]) -> str:
    """Give the instrument of a list of candles; OANDA has been seen to write it with a slash."""
    return str(body.get("instrument", "")).replace("/", "_")
