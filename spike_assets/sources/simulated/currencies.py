"""The currencies of the simulated market declared as data, and what follows from them for a pair.

How prices move is not decided here, only how far.
"""

import math
from dataclasses import dataclass
from functools import cache

from spike_assets.instruments import instrument
from spike_assets.sources.simulated.noise import key


@dataclass(frozen=True)
class Currency:
    """One currency of the simulated market.

    Attributes
    ----------
    dollars
        What it is worth at the beginning of 2025.
    volatility
        Standard deviation of its own hourly move in per cent, in an hour of average activity.
    ticks
        Volume of its own in such an hour; a pair has the smaller one of its two.
    peg
        A currency whose moves it follows, besides its own.
    """

    dollars: float
    volatility: float
    ticks: int
    peg: str | None = None


CURRENCIES: dict[str, Currency] = {
    "AUD": Currency(0.64, 0.080, 1800),
    "CAD": Currency(0.70, 0.050, 1600),
    "CHF": Currency(1.12, 0.060, 1500),
    "CNH": Currency(0.137, 0.020, 700),
    "CZK": Currency(0.0437, 0.060, 300),
    "DKK": Currency(0.1475, 0.003, 250, peg="EUR"),
    "EUR": Currency(1.10, 0.062, 2600),
    "GBP": Currency(1.29, 0.072, 2400),
    "HKD": Currency(0.1286, 0.005, 220, peg="USD"),
    "HUF": Currency(1 / 360, 0.085, 320),
    "JPY": Currency(1 / 151, 0.085, 2500),
    "MXN": Currency(0.0495, 0.105, 900),
    "NOK": Currency(0.093, 0.080, 700),
    "NZD": Currency(0.585, 0.080, 1400),
    "PHP": Currency(0.0174, 0.040, 150),
    "PLN": Currency(0.256, 0.070, 450),
    "RON": Currency(1 / 4.5, 0.012, 120, peg="EUR"),
    "SEK": Currency(0.0975, 0.075, 700),
    "SGD": Currency(0.748, 0.025, 800),
    "THB": Currency(0.0295, 0.050, 250),
    "TRY": Currency(1 / 40, 0.130, 400),
    "USD": Currency(1.0, 0.070, 2800),
    "ZAR": Currency(0.054, 0.120, 800),
}
"""Rough levels and volatilities of 2025. Other currencies take theirs from a hash of their name."""


@dataclass(frozen=True)
class Pair:
    """What a pair's candles rest on.

    Attributes
    ----------
    symbol, base, quote
        `EUR_USD`, `EUR`, `USD`.
    level
        Price at the beginning of 2025, in ticks (tenths of a pip).
    ticks_per_unit
        How many ticks make a price of 1.
    volatility
        Standard deviation of the hourly move, as a share of the price, in an hour of average activity.
    volume
        Its volume in such an hour.
    """

    symbol: str
    base: str
    quote: str
    level: float
    ticks_per_unit: float
    volatility: float
    volume: float


@cache
def pair(symbol: str) -> Pair:
    """Give what the candles of a symbol rest on; `ValueError` when it is none."""
    decimals = instrument(symbol).decimals
    base, quote = symbol.split("_")
    ticks_per_unit = float(10**decimals)
    # What both sides share, a peg, moves neither.
    apart = sorted({*walks(base)} ^ {*walks(quote)})
    variance = 0.0
    for name in apart:
        variance += currency(name).volatility * currency(name).volatility
    return Pair(
        symbol=symbol,
        base=base,
        quote=quote,
        level=currency(base).dollars / currency(quote).dollars * ticks_per_unit,
        ticks_per_unit=ticks_per_unit,
        volatility=math.sqrt(variance) / 100.0,
        volume=float(min(currency(base).ticks, currency(quote).ticks)),
    )


def walks(name: str) -> tuple[str, ...]:
    """Give the currencies whose own moves add up to this currency's."""
    peg = currency(name).peg
    return (name,) if peg is None else (name, peg)


@cache
def currency(name: str) -> Currency:
    """Give a currency, made up from its name where it is not declared."""
    if known := CURRENCIES.get(name):
        return known
    luck = key(name, "currency")
    return Currency(
        dollars=(1 + luck % 97) / 64.0, volatility=(40 + luck // 97 % 80) / 1000.0, ticks=200 + luck // 7760 % 800
    )
