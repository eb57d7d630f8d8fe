"""Settings: each bad one is refused by its name; the environment goes before `.env`."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets.errors import SettingsError
from spike_assets.instruments import INSTRUMENTS
from spike_assets.settings import SECRETS, load_settings


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "OANDA_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.source == "simulated"
    assert settings.database_url == "data/simulated.duckdb"
    assert settings.instruments == tuple(sorted(INSTRUMENTS))
    assert settings.history_start == datetime(2025, 1, 1, tzinfo=UTC)
    assert (settings.atr_period, settings.warmup) == (14, 500)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOURCE", "oanda2"),
        ("INSTRUMENTS", "EURUSD"),
        ("INSTRUMENTS", "EUR_USD,usd_jpy"),
        ("INSTRUMENTS", " , "),
        ("HISTORY_START", "soon"),
        ("HISTORY_START", "2025-13-01"),
        ("ATR_PERIOD", "1"),
        ("ATR_PERIOD", "201"),
        ("ATR_PERIOD", "14.5"),
        ("ATR_PERIOD", "fourteen"),
        ("WARMUP", "-1"),
        ("WARMUP", "5001"),
        ("WARMUP", "x"),
    ],
)
def test_a_bad_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SPIKE_{name}", value)
    with pytest.raises(SettingsError, match=rf"^SPIKE_{name}: [^\n]+$"):
        load_settings()


def test_the_value_that_is_wrong_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "EUR_USD,EURJPY")
    with pytest.raises(SettingsError, match="'EURJPY' is not an instrument; write it like EUR_USD"):
        load_settings()


def test_all_bad_ones_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "x")
    monkeypatch.setenv("SPIKE_WARMUP", "y")
    with pytest.raises(SettingsError, match=r"SPIKE_ATR_PERIOD: .*; SPIKE_WARMUP: "):
        load_settings()


@pytest.mark.parametrize("folder", [None, ""])
def test_files_need_a_folder(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> None:
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    if folder is not None:
        monkeypatch.setenv("SPIKE_FILES_DIR", folder)
    with pytest.raises(SettingsError, match=r"^SPIKE_FILES_DIR: set it to the folder of candle files"):
        load_settings()


def test_an_empty_one_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE", "DATABASE", "INSTRUMENTS", "HISTORY_START", "ATR_PERIOD", "WARMUP"):
        monkeypatch.setenv(f"SPIKE_{name}", "")
    assert load_settings().in_force() == load_settings(source="simulated").in_force()


def test_dotenv_is_read_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SPIKE_ATR_PERIOD=7\nSPIKE_WARMUP=20\nOTHER=thing\n", encoding="utf-8")
    monkeypatch.setenv("SPIKE_WARMUP", "30")
    settings = load_settings()
    assert (settings.atr_period, settings.warmup) == (7, 30)


def test_a_dotenv_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read \(it is not UTF-8 text\)"):
        load_settings()


def test_what_is_in_force_reads_back_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_HISTORY_START", "2024-07-01T00:00:00-04:00")
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "USD_JPY, EUR_USD,USD_JPY")
    shown = load_settings().in_force()
    assert shown["SPIKE_HISTORY_START"] == "2024-07-01T04:00:00+00:00"
    assert shown["SPIKE_INSTRUMENTS"] == "EUR_USD,USD_JPY"
    for name, value in shown.items():
        monkeypatch.setenv(name, value)
    assert load_settings().in_force() == shown


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret%40@db:5432/spike?sslmode=require", "postgresql://me:…@db:5432/spike?sslmode=require"),
        ("postgres://me@db/spike", "postgres://me@db/spike"),
        ("postgresql:///spike?host=/var/run/postgresql", "postgresql:///spike?host=/var/run/postgresql"),
        ("postgresql://me:s3cret@a:1,b:2/spike", "postgresql://me:…@a:1,b:2/spike"),
        ("postgresql://[::1]/spike", "postgresql://[::1]/spike"),
    ],
)
def test_a_postgres_is_shown_without_its_password(url: str, shown: str) -> None:
    settings = load_settings(database=url)
    assert settings.database_url == url
    assert settings.in_force()["SPIKE_DATABASE"] == shown
    assert "s3cret" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3c/ret@db/spike",
        "postgresql://me:s3c@ret@db/spike",
        "postgresql://me:s3c?ret@db/spike",
        "postgresql://me:s3c#ret@db/spike",
        "postgresql://me:123/s3cret@db/spike",
        "postgresql://db/spike?password=s3cret",
        "postgresql://db/spike?user=me&password=s3cret",
        "mysql://me:s3cret@db/spike",
    ],
)
def test_what_cannot_be_shown_without_its_password_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SPIKE_DATABASE", url)
    with pytest.raises(SettingsError, match=r"^SPIKE_DATABASE: .*postgresql://user:password@host") as error:
        load_settings()
    assert "s3c" not in str(error.value)
    assert "ret@" not in str(error.value)


# --- the broker -------------------------------------------------------------------------------------------------------

SECRET = "5ecret-0123456789"  # noqa: S105 - opens nothing


def broker(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    named = {"SPIKE_SOURCE": "oanda", "OANDA_API_TOKEN": SECRET, "OANDA_ACCOUNT_ID": "101-001-1234567-001"} | values
    for name, value in named.items():
        monkeypatch.setenv(name, value)


def test_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    broker(monkeypatch, OANDA_ENVIRONMENT="live", SPIKE_PRICE="bid")
    settings = load_settings()
    assert settings.oanda_api_token is not None
    assert settings.oanda_api_token.get_secret_value() == SECRET
    assert (settings.oanda_environment, settings.price, settings.oanda_url) == ("live", "bid", None)
    assert settings.database_url == "data/oanda.duckdb"


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    broker(monkeypatch)
    settings = load_settings()
    assert SECRET not in repr(settings) + str(settings.in_force())
    assert settings.in_force()["OANDA_API_TOKEN"] == "**********"  # noqa: S105


@pytest.mark.parametrize("token", [f"{SECRET} ", f" {SECRET}\n", f"{SECRET}\r\nX: y", f"{SECRET} more", f"{SECRET}é"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    broker(monkeypatch, OANDA_API_TOKEN=token)
    with pytest.raises(SettingsError, match=r"^OANDA_API_TOKEN: a token is one word") as error:
        load_settings()
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OANDA_API_TOKEN", "", "OANDA_API_TOKEN: SPIKE_SOURCE=oanda needs it"),
        ("OANDA_ACCOUNT_ID", "", "OANDA_ACCOUNT_ID: SPIKE_SOURCE=oanda needs it"),
        ("OANDA_ENVIRONMENT", "demo", "OANDA_ENVIRONMENT: .*'practice' or 'live'"),
        ("OANDA_URL", "api-fxpractice.oanda.com", "OANDA_URL: write it like https://"),
        ("OANDA_URL", "ftp://api-fxpractice.oanda.com", "OANDA_URL: write it like https://"),
        ("OANDA_URL", "http://api-fxpractice.oanda.com", "OANDA_URL: use https: the token would cross the network"),
        ("SPIKE_PRICE", "last", "SPIKE_PRICE: .*'mid', 'bid' or 'ask'"),
        ("SPIKE_SOURCE", "simulated", "SPIKE_PRICE: only SPIKE_SOURCE=oanda has bid and ask prices"),
    ],
)
def test_a_broker_that_is_set_up_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    broker(monkeypatch, **({name: value} | ({"SPIKE_PRICE": "ask"} if name == "SPIKE_SOURCE" else {})))
    with pytest.raises(SettingsError, match=says) as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_a_password_in_an_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    broker(monkeypatch, OANDA_URL=f"https://me:{SECRET}@proxy.example")
    with pytest.raises(SettingsError, match="OANDA_URL: leave the name and password out of it") as error:
        load_settings()
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "http://localhost:8765/", "https://proxy.example/oanda"])
def test_another_host(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    broker(monkeypatch, OANDA_URL=url)
    assert load_settings().oanda_url == url.rstrip("/")


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_alerts_unless_said_otherwise() -> None:
    settings = load_settings()
    assert (settings.alerts_file, settings.alert_urls, settings.webhook_url, settings.public_url) == (None,) * 4
    assert (settings.alert_max_age, settings.alert_dead_after) == (None, timedelta(days=1))
    assert settings.simultaneous_share == 0.5


ALERTS = {
    "SPIKE_ALERT_URLS": f"ntfy://{SECRET}",
    "SPIKE_WEBHOOK_URL": f"https://hook.example:8443/{SECRET}?key={SECRET}",
    "SPIKE_WEBHOOK_SECRET": f"whsec_{SECRET}",
}


def test_what_opens_a_channel_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALERTS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert SECRET not in repr(settings) + str(settings.in_force())
    assert settings.in_force()["SPIKE_WEBHOOK_URL"] == "https://hook.example:8443/…"
    assert ALERTS.keys() <= SECRETS


@pytest.mark.parametrize(
    ("given", "means", "shown"),
    [
        ("2h", timedelta(hours=2), "2h"),
        ("90m", timedelta(minutes=90), "90m"),
        ("24h", timedelta(days=1), "1d"),
        ("45s", timedelta(seconds=45), "45s"),
        ("PT1H30M", timedelta(minutes=90), "90m"),
        ("PT1.5S", timedelta(seconds=1.5), "PT1.5S"),
    ],
)
def test_spans_of_time(monkeypatch: pytest.MonkeyPatch, given: str, means: timedelta, shown: str) -> None:
    for name in ("SPIKE_ALERT_MAX_AGE", "SPIKE_ALERT_DEAD_AFTER"):
        monkeypatch.setenv(name, given)
    settings = load_settings()
    assert (settings.alert_max_age, settings.alert_dead_after) == (means, means)
    assert settings.in_force()["SPIKE_ALERT_MAX_AGE"] == shown
    monkeypatch.setenv("SPIKE_ALERT_MAX_AGE", shown)
    assert load_settings().alert_max_age == means


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALERT_MAX_AGE", "soon", "write it like 30m, 2h or 1d"),
        ("ALERT_MAX_AGE", "2", "write it like 30m, 2h or 1d"),
        ("ALERT_MAX_AGE", "0h", "give a time like 2h, of 365d at most"),
        ("ALERT_DEAD_AFTER", "366d", "give a time like 2h, of 365d at most"),
        ("ALERT_DEAD_AFTER", "P1Q", ""),
        ("SIMULTANEOUS_SHARE", "0", ""),
        ("SIMULTANEOUS_SHARE", "1.1", ""),
        ("SIMULTANEOUS_SHARE", "nan", ""),
        ("WEBHOOK_URL", f"ftp://{SECRET}", "write it like https://"),
        ("WEBHOOK_URL", f"https://hook.example:{SECRET}", "what stands behind the colon of the host is no port$"),
        ("WEBHOOK_URL", "https://hook.example:99999/x", "what stands behind the colon of the host is no port$"),
        ("WEBHOOK_URL", f"https://me:{SECRET}@hook.example", "leave the name and password out of it"),
        ("WEBHOOK_URL", f"https://ⅇ.example/{SECRET}", "write it in plain ASCII"),
        ("PUBLIC_URL", "spike.example.com", "write it like https://"),
        ("PUBLIC_URL", "https://spike.example.com/?x=y", "leave out what comes after the question mark"),
        ("PUBLIC_URL", "https://spike.example.com/#x", "write it like https://"),
    ],
)
def test_a_bad_setting_of_alerts(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"SPIKE_{name}", value)
    with pytest.raises(SettingsError, match=rf"^SPIKE_{name}: {says}[^\n]*$") as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_links_have_one_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_PUBLIC_URL", "https://example.com/spike//")
    assert load_settings().public_url == "https://example.com/spike"


# --- the dashboard ----------------------------------------------------------------------------------------------------


def test_the_dashboard_unless_said_otherwise() -> None:
    settings = load_settings()
    assert (settings.dashboard_host, settings.dashboard_port) == ("127.0.0.1", 8000)
    assert (settings.dashboard_token, settings.dashboard_hosts, settings.dagster_url) == (None, (), None)


def test_the_dashboard_s_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_DASHBOARD_TOKEN", SECRET)
    settings = load_settings()
    assert SECRET not in repr(settings) + str(settings.in_force())
    assert "SPIKE_DASHBOARD_TOKEN" in SECRETS
    assert settings.dashboard_token is not None
    assert settings.dashboard_token.get_secret_value() == SECRET


def test_names_of_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_DASHBOARD_HOSTS", "Spike.Example.com, 10.0.0.5,spike.example.com")
    assert load_settings().dashboard_hosts == ("10.0.0.5", "spike.example.com")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DASHBOARD_HOST", "http://x", "write an address or a name, like 127.0.0.1 or 0.0.0.0"),
        ("DASHBOARD_PORT", "0", ""),
        ("DASHBOARD_PORT", "65536", ""),
        ("DASHBOARD_PORT", "x", ""),
        ("DASHBOARD_TOKEN", SECRET[:15], "a token is one word of 16 plain letters and digits at least"),
        ("DASHBOARD_TOKEN", f"{SECRET} {SECRET}", "a token is one word of 16"),
        ("DASHBOARD_HOSTS", "spike.example.com:443", "'spike.example.com:443' is no name of a host"),
        ("DASHBOARD_HOSTS", "https://spike.example.com", "'https://spike.example.com' is no name of a host"),
        ("DASHBOARD_HOSTS", "*", r"'\*' is no name of a host"),
        ("DAGSTER_URL", "dagster", "write it like https://"),
    ],
)
def test_a_bad_setting_of_the_dashboard(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"SPIKE_{name}", value)
    with pytest.raises(SettingsError, match=rf"^SPIKE_{name}: {says}[^\n]*$") as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_dagster_s_webserver_goes_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster.example.internal:3000/")
    settings = load_settings()
    assert settings.dagster_webserver_url == "http://dagster.example.internal:3000"
    assert settings.in_force()["DAGSTER_WEBSERVER_URL"] == "http://dagster.example.internal:3000"
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "dagster:3000")
    with pytest.raises(SettingsError, match=r"^DAGSTER_WEBSERVER_URL: write it like https://"):
        load_settings()
