"""The endpoints: what OANDA answers to a path and its parameters. Texts that no capture shows say so."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from spike_assets.granularity import EARLIEST, GRANULARITIES, LATEST, Granularity
from spike_assets.instruments import Instrument
from spike_assets.instruments import instrument as _instrument
from spike_assets.market_hours import Window, candle_open, utc_index
from spike_assets_tests.oanda_server.candle import EPOCH, MICROSECOND, Candle
from spike_assets_tests.oanda_server.faults import DataFault, Reply, json_reply, lacking
from spike_assets_tests.oanda_server.market import Market

MAX_COUNT = 5000
DEFAULT_COUNT = 500
ALIGNMENT = {"dailyAlignment": "17", "alignmentTimezone": "America/New_York", "weeklyAlignment": "Friday"}
OTHER_GRANULARITIES = frozenset(
    {"S5", "S10", "S15", "S30", "M1", "M2", "M4", "M5", "M10", "M15", "M30", "H2", "H3", "H6", "H8", "H12", "M"}
)

_ACCOUNT = re.compile(r"\d{3}-\d{3}-\d+-\d{3}")
_CANDLES = re.compile(r"/v3/(?:accounts/(?P<account>[^/]+)/)?instruments/(?P<instrument>[^/]+)/candles")
_ACCOUNTS = re.compile(r"/v3/accounts/(?P<account>[^/]+)/(?P<what>candles/latest|instruments|summary)")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")
_SIDES = {"B": ("bid", -1), "M": ("mid", 0), "A": ("ask", 1)}

Query = Mapping[str, str]


@lru_cache
def declared(symbol: str) -> Instrument:
    """Give the instrument of a symbol, which is asked for once per candle."""
    return _instrument(symbol)


class RefusedError(Exception):
    """The broker does not do what was asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _invalid(name: str) -> RefusedError:
    return RefusedError(400, f"Invalid value specified for '{name}'")


@dataclass(frozen=True)
class Request:
    """One request: what is asked, at which time of the server's clock, and what is wrong with the data then."""

    path: str
    query: Query
    headers: Mapping[str, str]
    now: datetime
    faults: Sequence[DataFault]

    def time_text(self, time: int) -> str:
        """Write a time in the format that the client accepts, to nine digits."""
        seconds, rest = divmod(time, 1_000_000)
        if self.headers.get("accept-datetime-format", "RFC3339").upper() == "UNIX":
            return f"{seconds}.{rest:06d}000"
        return f"{(EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}.{rest:06d}000Z"


@dataclass(frozen=True)
class Api:
    """The endpoints over a market."""

    market: Market
    instruments: Sequence[str]
    token: str
    account: str

    def answer(self, request: Request) -> Reply:
        """Answer a request, or say why not."""
        try:
            self._check_token(request)
            return json_reply(200, self._content(request))
        except RefusedError as error:
            return json_reply(error.status, {"errorMessage": str(error)})

    def _content(self, request: Request) -> object:
        if request.path == "/v3/accounts":
            return {"accounts": [{"id": self.account, "tags": []}]}
        if asked := _CANDLES.fullmatch(request.path):
            if asked["account"] is not None:
                self._check_account(asked["account"])
            return self._candles(asked["instrument"], request)
        if asked := _ACCOUNTS.fullmatch(request.path):
            self._check_account(asked["account"])
            endpoints: dict[str, Callable[[Request], object]] = {
                "candles/latest": self._latest,
                "instruments": self._instruments,
                "summary": self._summary,
            }
            return endpoints[asked["what"]](request)
        raise RefusedError(404, "Not Found")  # not captured

    def _check_token(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise RefusedError(401, "Insufficient authorization to perform request.")

    def _check_account(self, account: str) -> None:
        if not _ACCOUNT.fullmatch(account):
            raise _invalid("accountID")
        if account != self.account:
            raise RefusedError(403, "The provided request was forbidden.")  # not captured

    def _has(self, instrument: str, request: Request) -> bool:
        declared_here = instrument in self.instruments and not lacking(request.faults, instrument)
        return declared_here and self.market.knows(instrument)

    def _candles(self, instrument: str, request: Request) -> object:
        if not self._has(instrument, request):
            raise _invalid("instrument")
        query = request.query
        sides = _sides(query.get("price", "M"))
        name = query.get("granularity", "S5")
        granularity = _granularity(name)
        _check_alignment(query)
        candles = _sent(self._page(instrument, granularity, request), request)
        shown = [_shown(candle, sides, instrument, request) for candle in candles]
        return {"instrument": instrument, "granularity": name, "candles": shown}

    def _page(self, instrument: str, granularity: Granularity | None, request: Request) -> list[Candle]:
        """Give the candles asked for.

        `from` counts from the candle that covers it and `to` is left out itself: two pages that meet inside
        a candle both have it, as `oanda_raw_csv` shows at its page boundaries.
        """
        now, faults = request.now, request.faults
        start, end, count = _span(request.query, granularity, now)
        include_first = _truth(request.query, "includeFirst")
        if granularity is None:
            return []
        if start is None:
            return self.market.last(instrument, granularity, end, count, now, faults)
        covering = candle_open(granularity, utc_index([max(start, EARLIEST)]))[0].to_pydatetime()
        page = self.market.first(instrument, granularity, Window(covering, end), count, now, faults)
        return page if include_first else page[1:]

    def _latest(self, request: Request) -> object:
        _check_alignment(request.query)
        specifications = [text.split(":") for text in request.query.get("candleSpecifications", "").split(",")]
        if any(len(parts) != 3 for parts in specifications):
            raise _invalid("candleSpecifications")  # not captured
        for name, granularity in GRANULARITIES.items():
            asked = {parts[0] for parts in specifications if parts[1] == name and self._has(parts[0], request)}
            self.market.prepare(sorted(asked), granularity, request.now)
        return {"latestCandles": [self._newest(*parts, request=request) for parts in specifications]}

    def _newest(self, instrument: str, name: str, price: str, *, request: Request) -> dict[str, Any]:
        if not self._has(instrument, request):
            raise _invalid("instrument")  # the status is known, its text at this endpoint is not
        sides, granularity = _sides(price), _granularity(name)
        candles: list[Candle] = []
        if granularity:
            candles = self.market.last(instrument, granularity, LATEST, 2, request.now, request.faults)
        candles = candles[-1:] if candles and candles[-1].complete else candles
        shown = [_shown(candle, sides, instrument, request) for candle in _sent(candles, request)]
        return {"instrument": instrument, "granularity": name, "candles": shown}

    def _instruments(self, request: Request) -> object:
        has = [name for name in self.instruments if self._has(name, request)]
        asked = request.query.get("instruments")
        names = has if asked is None else asked.split(",")
        if not set(names) <= set(has):
            raise _invalid("instruments")  # not captured
        return {"instruments": [_declaration(name) for name in names], "lastTransactionID": "2"}

    def _summary(self, _: Request) -> object:
        account = {
            "id": self.account,
            "alias": "Primary",
            "currency": "USD",
            "balance": "100000.0000",
            "openTradeCount": 0,
            "openPositionCount": 0,
            "pendingOrderCount": 0,
            "hedgingEnabled": False,
            "lastTransactionID": "2",
        }
        return {"account": account, "lastTransactionID": "2"}


def _sent(candles: list[Candle], request: Request) -> list[Candle]:
    for fault in request.faults:
        candles = fault.sent(candles)
    return candles


def _sides(price: str) -> list[tuple[str, int]]:
    if not price or not set(price) <= set(_SIDES):
        raise _invalid("price")
    return [side for letter, side in _SIDES.items() if letter in price]


def _granularity(name: str) -> Granularity | None:
    """Give a granularity that is served; None for one that OANDA has besides."""
    if name not in GRANULARITIES and name not in OTHER_GRANULARITIES:
        raise _invalid("granularity")
    return GRANULARITIES.get(name)


def _check_alignment(query: Query) -> None:
    """Refuse what OANDA would do and this server does not: other alignments, smoothed candles."""
    for name, served in ALIGNMENT.items():
        if query.get(name, served) != served:
            raise _invalid(name)
    if _truth(query, "smooth"):
        raise _invalid("smooth")


def _truth(query: Query, name: str) -> bool:
    """Read a flag. Absent is false, for `includeFirst` too: against the documentation, but as captured."""
    text = query.get(name, "False").lower()
    if text not in {"true", "false"}:
        raise _invalid(name)
    return text == "true"


def _span(query: Query, granularity: Granularity | None, now: datetime) -> tuple[datetime | None, datetime, int]:
    """Give the start if there is one, the end and how many candles are asked for."""
    start, end = _moment(query, "from", now), _moment(query, "to", now)
    count = _count(query)
    if start and end:
        if "count" in query:
            raise RefusedError(400, "'count' cannot be specified when both 'to' and 'from' are set")  # not captured
        if end < start:
            raise _invalid("to")  # not captured
        # Time, not trading time: nobody knows how OANDA counts, and this is what refuses more.
        if granularity and end - start > granularity.step * MAX_COUNT:
            raise RefusedError(400, "Maximum value for 'count' exceeded")
        count = MAX_COUNT + 1  # the candle that covers `from` comes on top
    return start, end or LATEST, count


def _count(query: Query) -> int:
    text = query.get("count", str(DEFAULT_COUNT))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise _invalid("count")
    if int(text) > MAX_COUNT:
        raise RefusedError(400, "Maximum value for 'count' exceeded")
    return int(text)


def _moment(query: Query, name: str, now: datetime) -> datetime | None:
    if name not in query:
        return None
    try:
        time = _time(query[name])
    except (ValueError, OverflowError) as error:
        raise _invalid(name) from error
    if time > now:
        raise RefusedError(400, f"Invalid value specified for '{name}'. Time is in the future")
    return time


def _time(text: str) -> datetime:
    """Read a time of either format; digits after the sixth are cut off."""
    if unix := _UNIX.fullmatch(text):
        return EPOCH + timedelta(seconds=int(unix[1])) + _fraction(unix[2])
    if rfc := _RFC3339.fullmatch(text):
        zone = "+00:00" if rfc[3] == "Z" else rfc[3]
        return datetime.fromisoformat(rfc[1] + zone).astimezone(UTC) + _fraction(rfc[2])
    raise ValueError(f"{text!r} is no time")


def _fraction(digits: str | None) -> timedelta:
    return int((digits or "").ljust(6, "0")[:6]) * MICROSECOND


def _shown(candle: Candle, sides: list[tuple[str, int]], instrument: str, request: Request) -> dict[str, Any]:
    decimals = declared(instrument).decimals
    shown: dict[str, Any] = {
        "complete": candle.complete,
        "volume": candle.volume,
        "time": request.time_text(candle.time),
    }
    for name, ticks in sides:
        prices = candle.prices if ticks == 0 else [_moved(price, ticks, decimals) for price in candle.prices]
        shown[name] = dict(zip("ohlc", prices, strict=True))
    return shown


def _moved(price: str, ticks: int, decimals: int) -> str:
    """Move a price by ticks, so that bid and ask have their mid exactly between them."""
    if len(price) - price.index(".") - 1 == decimals and len(price) <= 15:  # then a float is exact enough
        return f"{float(price) + ticks * 10**-decimals:.{decimals}f}"
    return f"{Decimal(price) + Decimal(ticks).scaleb(-decimals):f}"


def _declaration(name: str) -> dict[str, Any]:
    pair = declared(name)
    return {
        "name": name,
        "type": "CURRENCY",
        "displayName": name.replace("_", "/"),
        "pipLocation": pair.pip_location,
        "displayPrecision": pair.decimals,
        "tradeUnitsPrecision": 0,
        "minimumTradeSize": "1",
        "maximumTrailingStopDistance": "1.00000",
        "minimumTrailingStopDistance": "0.00050",
        "maximumPositionSize": "0",
        "maximumOrderUnits": "100000000",
        "marginRate": "0.05",
    }
