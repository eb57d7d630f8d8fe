"""What the broker holds: a source's candles, year by year, as its clock lets them be seen."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.granularity import EARLIEST, GRANULARITIES, LATEST, NEW_YORK, Granularity
from spike_assets.instruments import instrument as declared
from spike_assets.market_hours import WEEK_OPEN, Window, candle_close, market_open, utc_index
from spike_assets.sources.base import CANDLE_COLUMNS, CandleSource
from spike_assets_tests.oanda_server.candle import Candle, micros
from spike_assets_tests.oanda_server.faults import DataFault

_NUMBERS = list(CANDLE_COLUMNS[2:])
_EDGE = timedelta(weeks=3)
"""How long ago the oldest candle opened that may not be complete yet."""
_DAY = timedelta(days=1)


class Market:
    """The candles of a source; what was asked of it once is kept."""

    def __init__(self, source: CandleSource, *, friday_stays_open: bool) -> None:
        self._source = source
        self._friday_stays_open = friday_stays_open
        self._years: dict[tuple[str, str, int], _Year] = {}
        self._known: dict[str, bool] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Ask the source again from here on: its candles have changed."""
        with self._lock:
            self._years.clear()
            self._known.clear()

    def knows(self, instrument: str) -> bool:
        """Tell whether the source has the instrument."""
        with self._lock:
            if instrument not in self._known:
                self._known[instrument] = any(self._available(instrument, each) for each in GRANULARITIES.values())
            return self._known[instrument]

    def _available(self, instrument: str, granularity: Granularity) -> bool:
        windows = {instrument: Window(EARLIEST, EARLIEST + _DAY)}
        fetched = self._source.fetch(granularity, windows, now=LATEST, deadline=Deadline.after(_DAY))
        return instrument not in fetched.unavailable

    def first(
        self,
        instrument: str,
        granularity: Granularity,
        window: Window,
        count: int,
        now: datetime,
        faults: Sequence[DataFault],
    ) -> list[Candle]:
        """Give the first candles that open in a window, at most `count`."""
        edge = self._edge(instrument, granularity, now, faults)
        found: list[Candle] = []
        for year in range(max(window.start, EARLIEST).year, min(window.end, now).year + 1):
            found += self._held(instrument, granularity, year, window, edge, faults)
            if len(found) >= count:
                break
        return found[:count]

    def last(
        self,
        instrument: str,
        granularity: Granularity,
        end: datetime,
        count: int,
        now: datetime,
        faults: Sequence[DataFault],
    ) -> list[Candle]:
        """Give the last candles that open before `end`, at most `count`."""
        edge = self._edge(instrument, granularity, now, faults)
        window = Window(EARLIEST, end)
        found: list[Candle] = []
        for year in range(min(end, now).year, EARLIEST.year - 1, -1):
            found = self._held(instrument, granularity, year, window, edge, faults) + found
            if len(found) >= count:
                break
        return found[-count:]

    def _held(
        self,
        instrument: str,
        granularity: Granularity,
        year: int,
        window: Window,
        edge: "_Edge",
        faults: Sequence[DataFault],
    ) -> list[Candle]:
        """Give a year's candles that can be seen and open in the window."""
        start, end = micros(window.start), micros(window.end)
        held = self._year(instrument, granularity, year).between(start, min(end, edge.limit))
        dancing = edge.candle
        if dancing and max(start, _start_of(year)) <= dancing.time < min(end, _start_of(year + 1)):
            held = [*held, dancing]
        for fault in faults:
            held = fault.held(instrument, held)
        return held

    def _edge(self, instrument: str, granularity: Granularity, now: datetime, faults: Sequence[DataFault]) -> "_Edge":
        """Give where complete candles end: as one completes with the next one's first tick, at most one is open."""
        at = micros(now)
        for candle in self._recent(instrument, granularity, now):
            if candle.completes + sum(fault.delay(instrument, candle) for fault in faults) > at:
                return _Edge(candle.time, candle.at(at) if candle.opened <= at else None)
        return _Edge(at + 1, None)

    def _recent(self, instrument: str, granularity: Granularity, now: datetime) -> Iterator[Candle]:
        since = now - _EDGE
        for year in range(since.year, now.year + 1):
            yield from self._year(instrument, granularity, year).from_on(micros(since))

    def prepare(self, instruments: Iterable[str], granularity: Granularity, now: datetime) -> None:
        """Load together what many instruments' newest candles are in: one question is cheaper than many."""
        with self._lock:
            for year in {(now - _EDGE).year, now.year}:
                missing = [name for name in instruments if (name, granularity.name, year) not in self._years]
                self._load(missing, granularity, year)

    def _year(self, instrument: str, granularity: Granularity, year: int) -> "_Year":
        key = (instrument, granularity.name, year)
        with self._lock:
            if key not in self._years:
                self._load([instrument], granularity, year)
            return self._years[key]

    def _load(self, instruments: Sequence[str], granularity: Granularity, year: int) -> None:
        window = Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
        windows = dict.fromkeys(instruments, window)
        frame = self._source.fetch(granularity, windows, now=LATEST, deadline=Deadline.after(_DAY)).candles
        parts = dict(list(frame.groupby("instrument", sort=False)))
        for name in instruments:
            part = parts.get(name, frame.iloc[:0])
            year_ = _Year(name, part, granularity, friday_stays_open=self._friday_stays_open)
            self._years[name, granularity.name, year] = year_


class _Year:
    """One instrument's candles of a calendar year; each is made when it is first wanted, and kept."""

    def __init__(
        self, instrument: str, frame: pd.DataFrame, granularity: Granularity, *, friday_stays_open: bool
    ) -> None:
        rows = frame[np.isfinite(frame[_NUMBERS].to_numpy()).all(axis=1)]  # a broker has no candle without numbers
        rows = rows.drop_duplicates("time", keep="last").sort_values("time")
        opens = utc_index(rows["time"])
        closes = candle_close(granularity, opens)
        opened = _next_open(opens) if granularity.slot == "any" else opens
        completes = _completed(closes, opened) if friday_stays_open else closes
        self.times: list[int] = _micros(opens).tolist()
        self._stamps = [_micros(index).tolist() for index in (opened, closes, completes)]
        self._numbers = [rows[name].tolist() for name in _NUMBERS]
        self._decimals = declared(instrument).decimals
        self._made: list[Candle | None] = [None] * len(self.times)

    def from_on(self, start: int) -> Iterator[Candle]:
        """Give the candles from a time on, one by one."""
        return map(self._candle, range(bisect_left(self.times, start), len(self.times)))

    def between(self, start: int, end: int) -> list[Candle]:
        """Give the candles that open in a stretch of time."""
        return [self._candle(nth) for nth in range(bisect_left(self.times, start), bisect_left(self.times, end))]

    def _candle(self, nth: int) -> Candle:
        candle = self._made[nth]
        if candle is None:
            opened, closes, completes = (column[nth] for column in self._stamps)
            *prices, volume = (column[nth] for column in self._numbers)
            opening, high, low, close = (price_text(price, self._decimals) for price in prices)
            texts = (opening, high, low, close)
            candle = self._made[nth] = Candle(self.times[nth], opened, closes, completes, int(volume), texts)
        return candle


class _Edge:
    """Before `limit` all candles are complete; `candle` is the one that opens there, if it can be seen."""

    def __init__(self, limit: int, candle: Candle | None) -> None:
        self.limit = limit
        self.candle = candle


def _start_of(year: int) -> int:
    return micros(datetime(year, 1, 1, tzinfo=UTC))


def _completed(closes: pd.DatetimeIndex, opened: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Give when candles complete: with the market's next tick, which is Sunday's or that of a stray candle."""
    if closes.empty:
        return closes
    completes = _micros(_next_open(closes))
    completes[:-1] = np.minimum(completes[:-1], np.maximum(_micros(opened)[1:], _micros(closes)[:-1]))
    return pd.DatetimeIndex(np.maximum(completes, _micros(closes)).astype("M8[us]")).tz_localize("UTC")


def _next_open(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Give the times at which the market is open, and for others its next open, a Sunday 17:00 New York."""
    wall = times.tz_convert(NEW_YORK).tz_localize(None)
    week_start = wall.normalize() - pd.to_timedelta(wall.day_of_week, unit="D")
    sundays = (week_start + WEEK_OPEN).tz_localize(NEW_YORK).tz_convert("UTC")
    return times.where(market_open(times), sundays)


def _micros(times: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    return np.array(times.as_unit("us").asi8, dtype=np.int64)


def price_text(price: float, decimals: int) -> str:
    """Give a price with the instrument's decimals, with more where the number needs them to be read back."""
    text = f"{price:.{decimals}f}"
    if float(text) == price:
        return text
    return np.format_float_positional(price, unique=True, min_digits=decimals)
