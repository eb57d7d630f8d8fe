"""Which channels there are: as `alerts.yaml` declares them, or, where there is none, as the settings say."""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from spike_assets.alerts.channels.apprise_url import AppriseChannel, schema, urls
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.channels.log import LogChannel
from spike_assets.alerts.channels.webhook import WebhookChannel
from spike_assets.alerts.declared import DeclaredChannel, read
from spike_assets.alerts.wants import Wants
from spike_assets.errors import SettingsError
from spike_assets.settings import Settings

FILE = Path("alerts.yaml")
"""Is read where SPIKE_ALERTS_FILE is not set, if it is there."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}?")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def open_channels(settings: Settings) -> tuple[Channel, ...]:
    """Give the channels, each with a name of its own.

    Without a file these are the log, one for each of SPIKE_ALERT_URLS, and the webhook where SPIKE_WEBHOOK_URL is set;
    with one, exactly those that it declares.

    Raises
    ------
    SettingsError
        One cannot be used; the text says where it is set, and shows no secret.
    """
    path = settings.alerts_file or (FILE if FILE.exists() else None)
    return _set(settings) if path is None else _declared(path)


def _set(settings: Settings) -> tuple[Channel, ...]:
    """Make the channels that settings name."""
    channels: list[Channel] = [LogChannel("log", Wants())]
    taken = {"log", "webhook"}
    if settings.alert_urls is not None:
        for url in _urls(settings.alert_urls):
            name = _free(schema(url), taken)
            channels.append(_at("SPIKE_ALERT_URLS", partial(AppriseChannel, name, SecretStr(url), Wants())))
    if settings.webhook_url is not None:
        url, secret, private = settings.webhook_url, settings.webhook_secret, settings.webhook_allow_private
        if secret is None:
            raise SettingsError("SPIKE_WEBHOOK_SECRET: SPIKE_WEBHOOK_URL needs it; write whsec_ and 32 bytes in base64")
        channels.append(
            _at(
                "SPIKE_WEBHOOK_URL, SPIKE_WEBHOOK_SECRET",
                lambda: WebhookChannel("webhook", url, secret, Wants(), private, "SPIKE_WEBHOOK_URL"),
            )
        )
    return tuple(channels)


def _urls(text: SecretStr) -> tuple[str, ...]:
    try:
        return urls(text.get_secret_value())
    except ValueError as error:
        raise SettingsError(f"SPIKE_ALERT_URLS: {error}") from None


def _free(wanted: str, taken: set[str]) -> str:
    """Give the name, numbered from the second on, and take it."""
    name, nth = wanted, 1
    while name in taken:
        nth += 1
        name = f"{wanted}-{nth}"
    taken.add(name)
    return name


def _declared(path: Path) -> tuple[Channel, ...]:
    """Make the channels of a file."""
    known = _environment()
    return tuple(_channel(path, name, declared, known) for name, declared in read(path).items())


def _channel(path: Path, name: str, declared: DeclaredChannel, known: Mapping[str, str]) -> Channel:
    place = f"{path}: channels.{name}"
    if declared.kind == "log":
        return LogChannel(name, declared.wants)
    url = _filled(f"{place}.url", declared.url, known)
    if declared.kind == "apprise":
        return _at(place, lambda: AppriseChannel(name, url, declared.wants))
    secret = _filled(f"{place}.secret", declared.secret, known)
    private, setting = bool(declared.allow_private), f"channels.{name}.url of {path}"
    return _at(place, lambda: WebhookChannel(name, url.get_secret_value(), secret, declared.wants, private, setting))


def _at(place: str, make: Callable[[], Channel]) -> Channel:
    """Make a channel; an error says where it is set."""
    try:
        return make()
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from None


def _environment() -> dict[str, str]:
    """Give the environment and `.env`, read as the settings are: what is set goes first, what is empty is not set."""
    try:
        written = dotenv_values(".env", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(".env cannot be read; repair or remove it") from error
    return {name: value for name, value in (written | {**os.environ}).items() if value}


def _filled(place: str, said: SecretStr | None, known: Mapping[str, str]) -> SecretStr:
    """Replace `${NAME}`."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if not _VARIABLE_NAME.fullmatch(name) or not found[0].endswith("}"):
            raise SettingsError(f"{place}: write ${{NAME}} with the name of an environment variable")
        if name not in known:
            raise SettingsError(f"{place}: {name} is not set; set it in the environment or in .env")
        return known[name]

    return SecretStr(_VARIABLE.sub(value, said.get_secret_value() if said else "").strip())
