"""What to ask OANDA, and which of the candles that it tells are closed.

One question serves all instruments that lack their newest candle only; the others' gaps are asked for one by one.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.deadline import Deadline
from spike_assets.errors import TransientError
from spike_assets.granularity import NEW_YORK, Granularity
from spike_assets.market_hours import Window
from spike_assets.sources.base import Fetched, no_candles
from spike_assets.sources.oanda import answers
from spike_assets.sources.oanda.answers import Told
from spike_assets.sources.oanda.client import CONNECTIONS, Client, RefusedError

HOSTS = {"practice": "https://api-fxpractice.oanda.com", "live": "https://api-fxtrade.oanda.com"}

MOST_CANDLES = 5_000
"""How many candles one answer may have."""

SETTLED = timedelta(minutes=2)
"""So long behind its close, by the broker's clock, a candle is closed whatever the broker says (design §5): it leaves
Friday's last one open until Sunday."""

_ALIGNMENT: dict[str, str | int] = {
    "smooth": "False",
    "dailyAlignment": 17,
    "alignmentTimezone": NEW_YORK.key,
    "weeklyAlignment": "Friday",
}
"""How H4, D and W candles are cut. These are the defaults; a default may change, and is not kept by every account."""

_LIST_LIFE = timedelta(days=1).total_seconds()
_AT_ONCE = 100
"""How many instruments one question for the latest candles names: an address of about 2 kB."""
_STRAYS = 24
"""Candles in closed hours that a gap may hold besides those that the market's hours give."""
_FIRST_WAIT = 0.5
_RESERVE = timedelta(seconds=10).total_seconds()
"""What is left of a pass's time for everything behind the fetch, when it waits for a candle to be complete."""

_log = logging.getLogger(__name__)


class OandaSource:
    """OANDA's v20 REST API.

    Parameters
    ----------
    client
        The connection.
    account
        Id of the account whose instruments are asked for.
    price
        `mid`, `bid` or `ask`.
    first_wait
        How long is waited, in seconds, before a candle that is not complete is asked for again; then twice as long.
    """

    name = "oanda"

    def __init__(
        self,
        client: Client,
        account: str,
        price: Literal["mid", "bid", "ask"] = "mid",
        *,
        first_wait: float = _FIRST_WAIT,
    ) -> None:
        self.price = price
        self.client = client
        self._account = f"/v3/accounts/{quote(account, safe='')}"
        self._first_wait = first_wait
        self._pips: dict[str, int] | None = None
        self._listed_at = -math.inf

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        """Give the candles that open in each instrument's window and have closed, by the broker's clock.

        Raises
        ------
        RefusedError
            OANDA refuses; the text says what to set.
        TransientError
            It does not answer sensibly, or the deadline has come.
        """
        newest = market_hours.last_closed(granularity, now)
        gaps = [i for i, window in windows.items() if not _lacks_only(granularity, window, newest)]
        listed_before = self._listed_at
        if gaps:
            self._list_instruments(deadline)
        told = self._latest(granularity, [i for i in windows if i not in gaps], deadline)
        # Those that the answer is silent of, or does not reach because the broker's clock is ahead of `now`.
        gaps += [i for i in windows if i not in gaps and self._has(i) and not _reaches(told.get(i), newest)]
        histories, unknown = self._histories(granularity, {i: windows[i] for i in gaps if self._has(i)}, deadline)
        told |= histories
        told |= self._completed(granularity, told, windows, newest, deadline)
        pips = self._pips if self._pips and self._listed_at != listed_before else {}
        return Fetched(
            _closed(granularity, told, windows),
            {i: "not among the account's instruments" for i in windows if not self._has(i)} | unknown,
            {i: says.came_at for i, says in told.items()},
            {i: pips[i] for i in windows if i in pips},
        )

    def _has(self, instrument: str) -> bool:
        """Tell whether the account has an instrument, as far as that was asked."""
        return self._pips is None or instrument in self._pips

    def _list_instruments(self, deadline: Deadline, *, anew: bool = False) -> None:
        """Ask which instruments the account has, once a day."""
        if anew or time.monotonic() - self._listed_at > _LIST_LIFE:
            self._pips = self.client.get(f"{self._account}/instruments", {}, answers.pip_locations, deadline)
            self._listed_at = time.monotonic()

    def _latest(self, granularity: Granularity, instruments: Sequence[str], deadline: Deadline) -> dict[str, Told]:
        """Ask for the newest candles of all instruments at once, but for those that the account lacks."""
        try:
            return self._ask_latest(granularity, instruments, deadline)
        except RefusedError as error:
            # One unknown name fails the whole question; the list may never have been asked for, or be a day old.
            if not error.unknown_instrument:
                raise
        self._list_instruments(deadline, anew=True)
        return self._ask_latest(granularity, instruments, deadline)

    def _ask_latest(self, granularity: Granularity, instruments: Sequence[str], deadline: Deadline) -> dict[str, Told]:
        told: dict[str, Told] = {}
        letter = answers.PRICES[self.price]
        for names in _batches([i for i in instruments if self._has(i)]):
            specifications = ",".join(f"{name}:{granularity}:{letter}" for name in names)
            told |= self.client.get(
                f"{self._account}/candles/latest",
                {"candleSpecifications": specifications, **_ALIGNMENT},
                lambda answer, names=names: answers.latest(answer, granularity, names, self.price),  # type: ignore[misc]
                deadline,
            )
        return told

    def _histories(
        self, granularity: Granularity, windows: Mapping[str, Window], deadline: Deadline
    ) -> tuple[dict[str, Told], dict[str, str]]:
        """Ask for the candles of every window, as many at once as there are connections; tell who is unknown, too."""
        told: dict[str, Told] = {}
        unknown: dict[str, str] = {}
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            asked = {i: pool.submit(self._history, granularity, i, window, deadline) for i, window in windows.items()}
            try:
                for instrument, answer in asked.items():
                    try:
                        told[instrument] = answer.result()
                    except RefusedError as error:
                        if not error.unknown_instrument:
                            raise
                        unknown[instrument] = error.says
            finally:
                pool.shutdown(cancel_futures=True)
        return told, unknown

    def _history(self, granularity: Granularity, instrument: str, window: Window, deadline: Deadline) -> Told:
        """Ask for one instrument's candles, page by page.

        A page begins with the last candle of the one before, and may lack it all the same: whether OANDA leaves out a
        page's first candle has been seen to depend on more than on what it was asked. So none relies on the other.
        """
        pages: list[Told] = []
        start, full = window.start, True
        while full and start < window.end:
            count = _count(granularity, Window(start, window.end))
            page = self.client.get(
                f"/v3/instruments/{instrument}/candles",
                {
                    "price": answers.PRICES[self.price],
                    "granularity": granularity.name,
                    "from": start.isoformat().replace("+00:00", "Z"),
                    "count": count,
                    "includeFirst": "True",
                    **_ALIGNMENT,
                },
                lambda answer: answers.candles(answer, granularity, instrument, self.price),
                deadline,
            )
            pages.append(page)
            last = start if page.candles.empty else page.candles["time"].max().to_pydatetime().astimezone(UTC)
            full = len(page.candles) >= count - 1 and last > start
            start = last
        return _joined(pages)

    def _completed(
        self,
        granularity: Granularity,
        told: Mapping[str, Told],
        windows: Mapping[str, Window],
        newest: Window,
        deadline: Deadline,
    ) -> dict[str, Told]:
        """Ask again for candles that should be closed and are not, as long as there is time for it."""
        done: dict[str, Told] = {}
        wait = self._first_wait
        open_ = [i for i, says in told.items() if windows[i].end >= newest.end and _is_open(granularity, says, newest)]
        while open_ and wait + _RESERVE < deadline.remaining():
            closes_in = (newest.end - min(told[i].sent_at for i in open_)).total_seconds()
            if closes_in + _RESERVE > deadline.remaining():
                break  # the clocks differ by more than this pass may wait
            time.sleep(wait)
            wait *= 2
            try:
                again = self._ask_latest(granularity, open_, deadline.earlier(_RESERVE))
            except TransientError as error:
                _log.warning("candles that are late are left to the next pass: %s", error)
                break
            done |= {i: _joined([_before(told[i], newest.start), says]) for i, says in again.items()}
            open_ = [i for i in open_ if i in again and _is_open(granularity, again[i], newest)]
        return done


def _lacks_only(granularity: Granularity, window: Window, newest: Window) -> bool:
    """Tell whether a window holds the newest candle and no other that the market can make."""
    if window.end != newest.end:
        return False
    return (
        window.start <= newest.start
        and market_hours.candle_times(granularity, Window(window.start, newest.start)).empty
    )


def _reaches(told: Told | None, newest: Window) -> bool:
    """Tell whether an answer says anything of the newest candle: that it is there, or that there is none."""
    return told is not None and (told.candles.empty or bool(told.candles["time"].min() <= newest.start))


def _count(granularity: Granularity, window: Window) -> int:
    """Give how many candles to ask for, so that one answer holds the window if any can."""
    reach = min(window.end, window.start + 2 * MOST_CANDLES * granularity.step)
    return min(MOST_CANDLES, len(market_hours.candle_times(granularity, Window(window.start, reach))) + _STRAYS)


def _batches(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(names[i : i + _AT_ONCE]) for i in range(0, len(names), _AT_ONCE)]


def _before(told: Told, time_: datetime) -> Told:
    """Give what was told of the candles that open before a time."""
    earlier = np.asarray(told.candles["time"] < time_)
    return Told(told.candles[earlier], told.complete[earlier], told.sent_at, told.came_at)


def _joined(pages: Sequence[Told]) -> Told:
    """Give several answers as one; of a candle that came twice the last one counts."""
    if len(pages) == 1:
        return pages[0]
    candles = pd.concat([page.candles for page in pages], ignore_index=True)
    last = np.asarray(~candles.duplicated("time", keep="last"))
    complete = np.concatenate([page.complete for page in pages])
    return Told(candles[last], complete[last], pages[-1].sent_at, pages[0].came_at)


def _are_closed(granularity: Granularity, told: Told) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Tell which candles are closed: those that are complete, and those whose close lies long enough in the past."""
    closes = market_hours.candle_close(granularity, market_hours.utc_index(told.candles["time"]))
    return np.asarray(told.complete | np.asarray(closes <= pd.Timestamp(told.sent_at - SETTLED)))


def _is_open(granularity: Granularity, told: Told, newest: Window) -> bool:
    """Tell whether the newest candle is there, and not closed."""
    here = np.asarray(told.candles["time"] == newest.start)
    return bool((here & ~_are_closed(granularity, told)).any())


def _closed(granularity: Granularity, told: Mapping[str, Told], windows: Mapping[str, Window]) -> pd.DataFrame:
    """Give the closed candles in each instrument's window."""
    parts = [no_candles()]
    for instrument, says in told.items():
        times, window = says.candles["time"], windows[instrument]
        inside = np.asarray((times >= window.start) & (times < window.end))
        parts.append(says.candles[inside & _are_closed(granularity, says)])
    return pd.concat(parts, ignore_index=True)
