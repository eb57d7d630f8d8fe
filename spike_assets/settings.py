"""Settings, read once from the environment and `.env`. A bad one is refused by name; a secret is never shown."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from spike_assets.errors import SettingsError
from spike_assets.granularity import EARLIEST, LATEST
from spike_assets.instruments import INSTRUMENTS, instrument


class Settings(BaseSettings):
    """What an operator may set, in the environment or `.env`: as `SPIKE_…`, and as `OANDA_…`, `DAGSTER_…` theirs."""

    model_config = SettingsConfigDict(
        env_prefix="SPIKE_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    source: Literal["simulated", "files", "oanda"] = Field("simulated", description="where candles come from")
    files_dir: Path | None = Field(None, description="the folder of the `files` source")
    database: str | None = Field(
        None,
        repr=False,
        description="path of a DuckDB file, or postgresql://user:password@host/name; data/<source>.duckdb unless set",
    )
    instruments: Annotated[tuple[str, ...], NoDecode] = Field(INSTRUMENTS, description="comma list; the 29 unless set")
    history_start: datetime = Field(datetime(2025, 1, 1, tzinfo=UTC), description="where the partitions begin, UTC")
    atr_period: int = Field(14, ge=2, le=200, description="Wilder's period, in candles")
    warmup: int = Field(500, ge=0, le=5000, description="candles stored before an instrument's first window")

    price: Literal["mid", "bid", "ask"] = Field("mid", description="which of OANDA's prices candles are of")
    oanda_api_token: SecretStr | None = Field(
        None, validation_alias="OANDA_API_TOKEN", description="personal access token of the v20 API"
    )
    oanda_account_id: str | None = Field(
        None, validation_alias="OANDA_ACCOUNT_ID", description="account like 101-004-1234567-001"
    )
    oanda_environment: Literal["practice", "live"] = Field(
        "practice", validation_alias="OANDA_ENVIRONMENT", description="which of OANDA's hosts"
    )
    oanda_url: str | None = Field(None, validation_alias="OANDA_URL", description="another host, for tests and proxies")

    alerts_file: Path | None = Field(None, description="YAML of alert channels; alerts.yaml where there is one")
    alert_urls: SecretStr | None = Field(None, description="Apprise URLs of alert channels, blanks between them")
    webhook_url: str | None = Field(None, repr=False, description="where alerts are posted as signed JSON")
    webhook_secret: SecretStr | None = Field(None, description="what they are signed with: whsec_ and base64")
    webhook_allow_private: bool = Field(False, description="whether that may be a private address, or this machine")
    public_url: str | None = Field(None, description="where people reach the dashboard; alerts link to it")
    alert_max_age: timedelta | None = Field(
        None, description="older alerts come as one summary, like 2h; two candles, at most a day, unless set"
    )
    alert_dead_after: timedelta = Field(timedelta(hours=24), description="how long a message is tried, like 24h")
    simultaneous_share: float = Field(
        0.5, gt=0, le=1, description="what share of the instruments at resistance at once is an alert of its own"
    )

    dashboard_host: str = Field("127.0.0.1", description="address the dashboard listens on")
    dashboard_port: int = Field(8000, ge=1, le=65535, description="port the dashboard listens on")
    dashboard_token: SecretStr | None = Field(
        None, description="what the dashboard is opened with; needed on any address but this machine's own"
    )
    dashboard_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma list of further names that the dashboard is reached by, like spike.example.com"
    )
    dagster_url: str | None = Field(None, description="where people reach the Dagster UI; the dashboard links to it")
    dagster_webserver_url: str | None = Field(
        None,
        validation_alias="DAGSTER_WEBSERVER_URL",
        description="where passes outside Dagster are reported to, so that its asset graph shows them",
    )

    @field_validator("database")
    @classmethod
    def _address_of_database(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            _require_postgres(value)
        return value

    @field_validator("instruments", "dashboard_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("instruments")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one instrument, like EUR_USD")
        return tuple(sorted({instrument(symbol).name for symbol in value}))

    @field_validator("history_start")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        if not EARLIEST.year <= value.year <= LATEST.year:
            raise ValueError(f"give a time from {EARLIEST.year} to {LATEST.year}")
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("oanda_api_token")
    @classmethod
    def _one_word(cls, value: SecretStr | None) -> SecretStr | None:
        # What would not go into an HTTP header is refused here: the library that sends it would quote it.
        if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("a token is one word of plain letters and digits; copy it again")
        return value

    @field_validator("dashboard_host")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.:-]+", value):
            raise ValueError("write an address or a name, like 127.0.0.1 or 0.0.0.0")
        return value

    @field_validator("dashboard_token")
    @classmethod
    def _long_word(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[!-~]{16,}", value.get_secret_value()):
            raise ValueError(
                "a token is one word of 16 plain letters and digits at least; `openssl rand -hex 24` makes one"
            )
        return value

    @field_validator("dashboard_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", name):
                raise ValueError(
                    f"{name!r} is no name of a host; write it like spike.example.com, without port and path"
                )
        return tuple(sorted({name.lower() for name in value}))

    @field_validator("oanda_url")
    @classmethod
    def _private(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("write it like https://api-fxpractice.oanda.com")
        if "@" in parts.netloc:
            raise ValueError("leave the name and password out of it; a proxy is set by HTTPS_PROXY")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("use https: the token would cross the network in plain text")
        return value.rstrip("/")

    @field_validator("webhook_url", "public_url", "dagster_url", "dagster_webserver_url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.isascii():
            raise ValueError("write it in plain ASCII letters, a host as xn--…")
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise ValueError("write it like https://spike.example.com")
        try:
            valid = parts.port != 0
        except ValueError:  # its words would quote what may be a password
            valid = False
        if not valid:
            raise ValueError("what stands behind the colon of the host is no port")
        if "@" in parts.netloc:
            raise ValueError("leave the name and password out of it")
        return value

    @field_validator("public_url", "dagster_url", "dagster_webserver_url")
    @classmethod
    def _base(cls, value: str | None) -> str | None:
        if value and urlsplit(value).query:
            raise ValueError("leave out what comes after the question mark; paths are added to it")
        return value.rstrip("/") if value else None

    @field_validator("alert_max_age", "alert_dead_after", mode="before")
    @classmethod
    def _span(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.startswith("P"):
            return value
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", value.strip())
        if not found:
            raise ValueError("write it like 30m, 2h or 1d")
        return int(found[1]) * _UNITS[found[2]]

    @field_validator("alert_max_age", "alert_dead_after")
    @classmethod
    def _some_time(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not timedelta(0) < value <= _UNITS["d"] * 365:
            raise ValueError("give a time like 2h, of 365d at most")
        return value

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        if self.source == "files" and self.files_dir is None:
            raise ValueError("SPIKE_FILES_DIR: set it to the folder of candle files, SPIKE_SOURCE=files needs one")
        if self.source == "oanda":
            missing = [name for name in ("oanda_api_token", "oanda_account_id") if getattr(self, name) is None]
            if missing:
                names = " and ".join(name.upper() for name in missing)
                raise ValueError(f"{names}: SPIKE_SOURCE=oanda needs it; OANDA's account page shows it")
        if self.source != "oanda" and self.price != "mid":
            raise ValueError("SPIKE_PRICE: only SPIKE_SOURCE=oanda has bid and ask prices")
        return self

    @property
    def database_url(self) -> str:
        """Where the store is."""
        return self.database or f"data/{self.source}.duckdb"

    def in_force(self) -> dict[str, str]:
        """Give every setting by its name in the environment, as text, secrets hidden."""
        shown = {variable(name): _text(getattr(self, name)) for name in type(self).model_fields}
        return shown | {
            "SPIKE_DATABASE": _without_password(self.database_url),
            "SPIKE_WEBHOOK_URL": _host(self.webhook_url),
        }


SECRETS = frozenset(
    {"OANDA_API_TOKEN", "SPIKE_ALERT_URLS", "SPIKE_DASHBOARD_TOKEN", "SPIKE_WEBHOOK_SECRET", "SPIKE_WEBHOOK_URL"}
)
"""Settings whose value is never shown; of the webhook's URL the host is."""

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `SettingsError` names every bad one."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(dict(problem)) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f".env cannot be read ({why}); repair or remove it") from error


def _complaint(problem: dict[str, Any]) -> str:
    says = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return says
    name = variable(str(problem["loc"][0]).lower())
    secret = (name == "OANDA_URL" and "@" in str(problem["input"])) or name == "SPIKE_DATABASE"
    if name in SECRETS or secret:
        return f"{name}: {says}"
    given = problem["input"]
    shown = ",".join(map(str, given)) if isinstance(given, tuple) else given
    return f"{name}: {says} (it is {shown!r})"


def variable(name: str) -> str:
    """Give the name in the environment of a field."""
    return name.upper() if name.startswith(("oanda_", "dagster_webserver_")) else f"SPIKE_{name.upper()}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _span(value)
    return "" if value is None else str(value)


def _span(value: timedelta) -> str:
    """Give `90m`, in the largest unit that it is a whole number of; ISO 8601 where it is of none."""
    units = (f"{value // unit}{name}" for name, unit in _UNITS.items() if not value % unit)
    return next(units, f"PT{value.total_seconds()}S")


_HOSTS = re.compile(r"(?:(?:[\w.-]+|\[[0-9a-fA-F:.]+\])?(?::\d{1,5})?,?)*")
_ENCODE = "in a name or password write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #"


def _require_postgres(url: str) -> None:
    """Refuse what is no address of a Postgres: a password that is not encoded would be shown as something else."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(
            f"{url.split('://', 1)[0]}:// is not supported; give the path of a DuckDB file, or"
            " postgresql://user:password@host:5432/name"
        )
    hosts = parts.netloc.rpartition("@")[2]
    plain = _HOSTS.fullmatch(hosts) and re.fullmatch(r"/?[^/@:]*", parts.path) and not parts.fragment
    if not plain or "@" in parts.netloc.rpartition("@")[0] or re.search(r"(^|&)[^=&]+(&|$)|[@/]{2}", parts.query):
        raise ValueError(f"write it like postgresql://user:password@host:5432/name; {_ENCODE}")
    if "password=" in parts.query:
        raise ValueError("write the password behind the user's name, postgresql://user:password@host/name")


def _without_password(database: str) -> str:
    """Give a database's address as it may be shown; the path of a file as it is."""
    if "://" not in database:
        return database
    before, at, behind = database.partition("://")[2].rpartition("@")
    user, colon, _ = before.partition(":")
    return f"{database.partition('://')[0]}://{user}{':…' if colon else ''}{at}{behind}"


def _host(url: str | None) -> str:
    """Give scheme and host: what comes after them often is a password."""
    if url is None:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{'' if parts.port is None else f':{parts.port}'}/…"
