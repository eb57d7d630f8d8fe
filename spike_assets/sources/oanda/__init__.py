"""OANDA's v20 REST API as a candle source.

`source` decides what to ask, `client` asks it over `transport`, `answers` reads what comes back, `limits` keeps us
welcome.
"""

from spike_assets.settings import Settings
from spike_assets.sources.oanda.client import Client
from spike_assets.sources.oanda.source import HOSTS, OandaSource

__all__ = ["OandaSource", "open_oanda"]


def open_oanda(settings: Settings) -> OandaSource:
    """Give the source that the settings ask for. Nothing is asked of anybody yet."""
    token, account = settings.oanda_api_token, settings.oanda_account_id
    assert token is not None, "settings require it"  # noqa: S101
    assert account is not None, "settings require it"  # noqa: S101
    url = settings.oanda_url or HOSTS[settings.oanda_environment]
    return OandaSource(Client(url, token.get_secret_value()), account, settings.price)
