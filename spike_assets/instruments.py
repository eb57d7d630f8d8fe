"""The 29 instruments declared as data. Any other OANDA-style symbol can be configured besides.

Pip = 10^pip_location. The locations come from captured OANDA instrument lists; USD_PHP and USD_RON are in
none of these and follow the rule.
"""

import re
from dataclasses import dataclass

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
