"""The 29 instruments declared as data: pips and round numbers. Any other OANDA-style symbol can be configured besides.

Pip = 10^pip_location. The locations come from captured OANDA instrument lists; USD_PHP and USD_RON are in
none of these and follow the rule.
"""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

_SYMBOL = re.compile(r"[A-Z]{3}_[A-Z]{3}")

_TWO_DECIMAL_QUOTES = frozenset({"JPY", "HUF", "THB"})
_EXCEPTIONS = {"HKD_JPY": -4, "USD_INR": -2, "USD_PHP": -2}


@dataclass(frozen=True)
class Instrument:
    """A currency pair.

    `pip_location` is the power of ten of one pip; prices carry one decimal more (a tenth of a pip).
    """

    name: str
    pip_location: int

    @property
    def decimals(self) -> int:
        """How many decimals a price has: down to a tenth of a pip, the tick."""
        return 1 - self.pip_location


def instrument(symbol: str) -> Instrument:
    """Give the instrument of an OANDA-style symbol; `ValueError` when it is not one."""
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(f"{symbol!r} is not an instrument; write it like EUR_USD")
    ruled = -2 if symbol[4:] in _TWO_DECIMAL_QUOTES else -4
    return Instrument(symbol, _EXCEPTIONS.get(symbol, ruled))


INSTRUMENTS: tuple[str, ...] = (
    "EUR_AUD", "EUR_CHF", "EUR_GBP", "EUR_JPY", "EUR_NOK", "EUR_PLN", "GBP_CHF", "GBP_PLN", "GBP_USD", "AUD_HKD",
    "AUD_JPY", "CAD_CHF", "CAD_JPY", "CHF_JPY", "NZD_JPY", "SGD_JPY", "USD_CZK", "USD_DKK", "USD_HKD", "USD_HUF",
    "USD_MXN", "USD_PHP", "USD_PLN", "USD_RON", "USD_SEK", "USD_THB", "USD_TRY", "USD_ZAR", "EUR_USD",
)  # fmt: skip
"""The instruments that are watched unless `SPIKE_INSTRUMENTS` says otherwise."""


class Grid(NamedTuple):
    """The round numbers of an instrument: how far apart those of each tier are, in ticks (tenths of a pip).

    Every `super` number is a `major` one, and every `major` number a `minor` one.
    """

    minor: int
    major: int
    super: int


PRICED_ON = "2025-06-30"
"""When the prices were about as they stand in `PRICES`, from which `GRIDS` were made, once. A grid that moved with the
market would change the alerts of the past."""

PRICES: dict[str, float] = {
    "AUD_HKD": 5.166, "AUD_JPY": 94.8, "CAD_CHF": 0.583, "CAD_JPY": 105.8, "CHF_JPY": 181.6, "EUR_AUD": 1.791,
    "EUR_CHF": 0.935, "EUR_GBP": 0.858, "EUR_JPY": 169.8, "EUR_NOK": 11.88, "EUR_PLN": 4.243, "EUR_USD": 1.179,
    "GBP_CHF": 1.089, "GBP_PLN": 4.944, "GBP_USD": 1.373, "NZD_JPY": 87.8, "SGD_JPY": 113.3, "USD_CZK": 20.98,
    "USD_DKK": 6.33, "USD_HKD": 7.85, "USD_HUF": 339.5, "USD_MXN": 18.75, "USD_PHP": 56.3, "USD_PLN": 3.6,
    "USD_RON": 4.31, "USD_SEK": 9.47, "USD_THB": 32.5, "USD_TRY": 39.8, "USD_ZAR": 17.7,
}  # fmt: skip
"""Prices, rounded."""

GRIDS: dict[str, Grid] = {
    "AUD_HKD": Grid(1_000, 5_000, 50_000),
    "AUD_JPY": Grid(500, 1_000, 10_000),
    "CAD_CHF": Grid(500, 1_000, 10_000),
    "CAD_JPY": Grid(500, 1_000, 10_000),
    "CHF_JPY": Grid(500, 1_000, 10_000),
    "EUR_AUD": Grid(500, 1_000, 10_000),
    "EUR_CHF": Grid(500, 1_000, 10_000),
    "EUR_GBP": Grid(500, 1_000, 10_000),
    "EUR_JPY": Grid(500, 1_000, 10_000),
    "EUR_NOK": Grid(5_000, 10_000, 100_000),
    "EUR_PLN": Grid(1_000, 5_000, 50_000),
    "EUR_USD": Grid(500, 1_000, 10_000),
    "GBP_CHF": Grid(500, 1_000, 10_000),
    "GBP_PLN": Grid(1_000, 5_000, 50_000),
    "GBP_USD": Grid(500, 1_000, 10_000),
    "NZD_JPY": Grid(500, 1_000, 10_000),
    "SGD_JPY": Grid(500, 1_000, 10_000),
    "USD_CZK": Grid(5_000, 10_000, 100_000),
    "USD_DKK": Grid(1_000, 5_000, 50_000),
    "USD_HKD": Grid(5_000, 10_000, 100_000),
    "USD_HUF": Grid(1_000, 5_000, 50_000),
    "USD_MXN": Grid(5_000, 10_000, 100_000),
    "USD_PHP": Grid(500, 1_000, 10_000),
    "USD_PLN": Grid(1_000, 5_000, 50_000),
    "USD_RON": Grid(1_000, 5_000, 50_000),
    "USD_SEK": Grid(5_000, 10_000, 100_000),
    "USD_THB": Grid(100, 500, 5_000),
    "USD_TRY": Grid(10_000, 50_000, 500_000),
    "USD_ZAR": Grid(5_000, 10_000, 100_000),
}
"""The round numbers of the 29 instruments, frozen; `grid_at` of `PRICES` says the same."""


def grid_at(price: float, pip_location: int) -> Grid:
    """Give the round numbers that suit a price: 100 pips apart where that is 0.4 to 3 % of it, else about 1 %.

    About 1 % is the number of the form 1·10^k or 5·10^k that is nearest to it on a logarithmic scale; `minor` is the
    next such number below `major`, `super` ten times `major` (design §9).
    """
    if not (math.isfinite(price) and price > 0):
        raise ValueError(f"{price} is not a price")
    tick = 10.0 ** (pip_location - 1)
    major = 1_000 if _SMALLEST <= 1_000 * tick / price <= _LARGEST else _rung_near(price / 100 / tick)
    return Grid(_rung_below(major), major, 10 * major)


_SMALLEST, _LARGEST = 0.004, 0.03
"""Between these shares of the price, 100 pips are what traders look at."""


def _rung_near(ticks: float) -> int:
    rungs: list[int] = [digit * 10**power for power in range(1, 12) for digit in (1, 5)]
    return min(rungs, key=lambda rung: abs(math.log(rung / ticks)))


def _rung_below(rung: int) -> int:
    return rung // 2 if str(rung).startswith("1") else rung // 5
