"""The FX week: when the market is open, where candles begin and end, which candle closed last.

The week runs from Sunday 17:00 to Friday 17:00 New York. All times are timezone-aware UTC; New York
wall-clock time lives and dies inside this module. The rules come from `granularity`, as data.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.granularity import GRID_ANCHOR, NEW_YORK, Granularity

WEEK_OPEN = timedelta(days=6, hours=17)
"""Sunday 17:00 New York, counted from Monday 00:00."""
WEEK_CLOSE = timedelta(days=4, hours=17)
"""Friday 17:00 New York, counted from Monday 00:00."""

_WEEK = timedelta(days=7)
_MONDAY = datetime(1969, 12, 29)  # noqa: DTZ001 - wall clock
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock
_MICROSECOND = timedelta(microseconds=1)

_SEARCH = timedelta(days=17)  # reaches over two weekly closes, so that it always holds a closed candle


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time `[start, end)`, both UTC."""

    start: datetime
    end: datetime

    def __bool__(self) -> bool:
        return self.start < self.end


def utc_index(times: object) -> pd.DatetimeIndex:
    """Give times as a `DatetimeIndex` of microseconds in UTC; naive times are an error."""
    index = pd.DatetimeIndex(times)  # type: ignore[arg-type]
    if index.tz is None:
        raise ValueError("times must be timezone-aware")
    return index.tz_convert("UTC").as_unit("us")


def _since(anchor: datetime, times: pd.DatetimeIndex, zone: ZoneInfo) -> npt.NDArray[np.int64]:
    """Give how long after a wall-clock time of a zone each time is there, in microseconds of its wall clock."""
    if times.hasnans:
        raise ValueError("a time is missing")
    wall = times.tz_convert(zone).tz_localize(None).as_unit("us").asi8
    return np.asarray(wall - (anchor - _EPOCH) // _MICROSECOND, dtype=np.int64)


def _from_wall_clock(wall: pd.DatetimeIndex, granularity: Granularity) -> pd.DatetimeIndex:
    # A repeated hour (autumn) means its first pass; no grid has a candle open in the hour that spring skips.
    first = np.ones(len(wall), dtype=bool)
    return wall.tz_localize(granularity.zone, ambiguous=first).tz_convert("UTC")


def _steps(times: pd.DatetimeIndex, granularity: Granularity) -> npt.NDArray[np.int64]:
    return np.asarray(_since(GRID_ANCHOR, times, granularity.zone) // (granularity.step // _MICROSECOND))


def _grid(steps: npt.NDArray[np.int64], granularity: Granularity) -> pd.DatetimeIndex:
    step = np.timedelta64(granularity.step).astype("m8[us]")
    wall = pd.DatetimeIndex(np.datetime64(GRID_ANCHOR).astype("M8[us]") + steps * step)
    return _from_wall_clock(wall, granularity)


def candle_open(granularity: Granularity, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Give, for each time, the open of the candle that contains it, whether the market is open or not."""
    return _grid(_steps(times, granularity), granularity)


def candle_close(granularity: Granularity, opens: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Give the close of the candles that open at `opens`: the next open on the grid."""
    return _grid(_steps(opens, granularity) + 1, granularity)


@lru_cache(maxsize=4096)
def close_of(granularity: Granularity, open_: datetime) -> datetime:
    """Give the close of one candle."""
    return _scalar(candle_close(granularity, utc_index([open_])))


def on_grid(granularity: Granularity, times: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Tell which times are candle opens."""
    return np.asarray(candle_open(granularity, times) == times)


def market_open(times: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Tell at which times the market is open."""
    in_week = _since(_MONDAY, times, NEW_YORK) % (_WEEK // _MICROSECOND)
    return np.asarray((in_week < WEEK_CLOSE // _MICROSECOND) | (in_week >= WEEK_OPEN // _MICROSECOND))


def traded(granularity: Granularity, opens: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Tell which candles the market can make: those that open in an open market, and every W candle."""
    if granularity.slot == "any":
        return np.ones(len(opens), dtype=bool)
    return market_open(opens)


def candle_times(granularity: Granularity, window: Window) -> pd.DatetimeIndex:
    """Give the opens in `window` of all candles that the market can make, in order."""
    if not window:
        return utc_index(pd.DatetimeIndex([], tz="UTC"))
    first, last = _steps(utc_index([window.start, window.end]), granularity)
    opens = _grid(np.arange(first, last + 1, dtype=np.int64), granularity)
    inside = (opens >= pd.Timestamp(window.start)) & (opens < pd.Timestamp(window.end))
    return opens[np.asarray(inside) & traded(granularity, opens)]


def last_closed(granularity: Granularity, now: datetime) -> Window:
    """Give the newest candle that has closed at `now`, as its window."""
    return _last_closed(granularity, now.replace(second=0, microsecond=0))  # candles close on whole minutes


@lru_cache(maxsize=64)
def _last_closed(granularity: Granularity, now: datetime) -> Window:
    opens = candle_times(granularity, Window(now - _SEARCH, now))
    closes = candle_close(granularity, opens)
    newest = int(np.flatnonzero(closes <= pd.Timestamp(now))[-1])
    return Window(_scalar(opens[[newest]]), _scalar(closes[[newest]]))


def next_close(granularity: Granularity, now: datetime) -> datetime:
    """Give the first close of a candle after `now`."""
    opens = candle_times(granularity, Window(now - _SEARCH, now + _SEARCH))
    closes = candle_close(granularity, opens)
    return _scalar(closes[np.asarray(closes > pd.Timestamp(now))][:1])


def next_tick(granularity: Granularity, now: datetime) -> datetime:
    """Give the first tick of the granularity's schedule at or after `now`."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for _ in range(24 * 8):
        for cron in granularity.crons:
            minute, hours, _, _, days = cron.split()
            tick = hour + timedelta(minutes=int(minute))
            if tick >= now and _in_cron(hours, tick.hour) and _in_cron(days, tick.isoweekday() % 7):
                return tick
        hour += timedelta(hours=1)
    raise ValueError(f"{granularity} has no tick in the week after {now}")


def _in_cron(field: str, value: int) -> bool:
    return field == "*" or str(value) in field.split(",")


@lru_cache(maxsize=64)
def nth_candle_before(granularity: Granularity, time: datetime, n: int) -> datetime:
    """Give the open of the n-th candle that the market can make before `time`; the first is the newest."""
    if n < 1:
        raise ValueError(f"candles before a time are counted from 1, not {n}")
    reach = granularity.step * n * 7 / 5 + _SEARCH
    return _scalar(candle_times(granularity, Window(time - reach, time))[[-n]])


def slot(granularity: Granularity, opens: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Give the slot in which a candle's volume is compared (`relative_volume`): New York hour, weekday, or 0."""
    if granularity.slot == "any":
        return np.zeros(len(opens), dtype=np.int64)
    local = opens.tz_convert(NEW_YORK)
    return np.asarray(local.hour if granularity.slot == "hour" else local.day_of_week, dtype=np.int64)


def _scalar(one: pd.DatetimeIndex) -> datetime:
    moment: datetime = one[0].to_pydatetime()
    return moment.astimezone(UTC)
