"""The 29 instruments and their pips, against the list written out here and against captured OANDA lists."""

import dataclasses
import json
from decimal import Decimal
from typing import TypedDict

import pytest

from spike_assets.instruments import GRIDS, INSTRUMENTS, PRICES, Instrument, grid_at, instrument
from spike_assets_tests.shared_data import SHARED, needs_shared

PIP_LOCATIONS = {
    "EUR_AUD": -4,
    "EUR_CHF": -4,
    "EUR_GBP": -4,
    "EUR_JPY": -2,
    "EUR_NOK": -4,
    "EUR_PLN": -4,
    "GBP_CHF": -4,
    "GBP_PLN": -4,
    "GBP_USD": -4,
    "AUD_HKD": -4,
    "AUD_JPY": -2,
    "CAD_CHF": -4,
    "CAD_JPY": -2,
    "CHF_JPY": -2,
    "NZD_JPY": -2,
    "SGD_JPY": -2,
    "USD_CZK": -4,
    "USD_DKK": -4,
    "USD_HKD": -4,
    "USD_HUF": -2,
    "USD_MXN": -4,
    "USD_PHP": -2,
    "USD_PLN": -4,
    "USD_RON": -4,
    "USD_SEK": -4,
    "USD_THB": -2,
    "USD_TRY": -4,
    "USD_ZAR": -4,
    "EUR_USD": -4,
}
UNLISTED = {"USD_PHP", "USD_RON"}


class Listed(TypedDict):
    """What OANDA's list of instruments says of one."""

    name: str
    type: str
    pipLocation: int
    displayPrecision: int


def captured(year: int) -> list[Listed]:
    text = (SHARED / "oanda_json" / f"account_instruments_{year}.json").read_text(encoding="utf-8")
    listed: list[Listed] = json.loads(text)["instruments"]
    return [one for one in listed if one["type"] == "CURRENCY"]


def test_the_29() -> None:
    assert tuple(PIP_LOCATIONS) == INSTRUMENTS
    assert len(INSTRUMENTS) == len(set(INSTRUMENTS)) == 29


@pytest.mark.parametrize(("symbol", "pip_location"), PIP_LOCATIONS.items())
def test_pip_location(symbol: str, pip_location: int) -> None:
    assert instrument(symbol) == Instrument(symbol, pip_location)


@pytest.mark.parametrize(
    ("symbol", "pip_location"),
    [
        ("USD_JPY", -2),
        ("HKD_JPY", -4),  # a yen is a small number, but this one has pips like the rest
        ("EUR_HUF", -2),
        ("USD_INR", -2),
        ("GBP_AUD", -4),
        ("JPY_USD", -4),  # the quote decides, not the base
        ("XXX_YYY", -4),
    ],
)
def test_pip_location_of_other_symbols(symbol: str, pip_location: int) -> None:
    assert instrument(symbol).pip_location == pip_location


@pytest.mark.parametrize(("symbol", "decimals"), [("EUR_USD", 5), ("EUR_JPY", 3), ("USD_HUF", 3), ("HKD_JPY", 5)])
def test_prices_reach_to_a_tenth_of_a_pip(symbol: str, decimals: int) -> None:
    assert instrument(symbol).decimals == decimals


@pytest.mark.parametrize(
    "symbol",
    ["", "EURUSD", "EUR/USD", "eur_usd", "EUR_USDT", "EU_USD", "EUR_USD ", "EUR_USD\n", "NAS100_USD", "EUR_ÜSD", "_"],
)
def test_other_text_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="is not an instrument; write it like EUR_USD"):
        instrument(symbol)


def test_instruments_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        instrument("EUR_USD").pip_location = -2  # type: ignore[misc]


@needs_shared
@pytest.mark.parametrize("year", [2017, 2018])
def test_every_currency_pair_of_captured_lists_has_the_pip_and_decimals_it_has_there(year: int) -> None:
    wrong = {
        one["name"]: one
        for one in captured(year)
        if (instrument(one["name"]).pip_location, instrument(one["name"]).decimals)
        != (one["pipLocation"], one["displayPrecision"])
    }
    assert wrong == {}


@needs_shared
@pytest.mark.parametrize("year", [2017, 2018])
def test_captured_lists_hold_all_but_two_of_the_29(year: int) -> None:
    assert set(INSTRUMENTS) - {one["name"] for one in captured(year)} == UNLISTED


# --- round numbers ----------------------------------------------------------------------------------------------------


def test_the_frozen_grids_are_what_the_rule_said_when_they_were_frozen() -> None:
    assert set(GRIDS) == set(PRICES) == set(INSTRUMENTS)
    for name, grid in GRIDS.items():
        assert grid_at(PRICES[name], instrument(name).pip_location) == grid


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_grid_stays_within_reason_while_the_price_moves(name: str) -> None:
    """A fifth up or down, what the rule would say is at most the next step."""
    for factor in (0.8, 1.25):
        now = grid_at(PRICES[name] * factor, instrument(name).pip_location)
        assert GRIDS[name].major / now.major in {0.2, 0.5, 1, 2, 5}
        assert 0.0015 < GRIDS[name].major * 10.0 ** -instrument(name).decimals / (PRICES[name] * factor) < 0.04


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_tiers_contain_one_another(name: str) -> None:
    grid = GRIDS[name]
    assert grid.major % grid.minor == 0
    assert grid.super == 10 * grid.major
    assert grid.minor // 20 >= 5  # half a pip at least


@pytest.mark.parametrize(
    ("symbol", "price", "major", "minor"),
    [
        ("EUR_USD", 1.08, "0.01", "0.005"),
        ("USD_JPY", 150, "1", "0.5"),
        ("GBP_JPY", 190, "1", "0.5"),
        ("USD_HUF", 350, "5", "1"),
        ("USD_MXN", 18, "0.1", "0.05"),
        ("USD_TRY", 42, "0.5", "0.1"),
        ("USD_THB", 33, "0.5", "0.1"),
        ("USD_CZK", 21, "0.1", "0.05"),
        ("USD_CNH", 7.1, "0.1", "0.05"),
        ("ZAR_JPY", 8.5, "0.1", "0.05"),
    ],
)
def test_round_numbers_that_traders_know(symbol: str, price: float, major: str, minor: str) -> None:
    grid = grid_at(price, instrument(symbol).pip_location)
    tick = Decimal(1).scaleb(-instrument(symbol).decimals)
    assert (grid.major * tick, grid.minor * tick) == (Decimal(major), Decimal(minor))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_has_no_round_numbers(price: float) -> None:
    with pytest.raises(ValueError, match="is not a price"):
        grid_at(price, -4)
