"""Settings: each bad one is refused by its name; the environment goes before `.env`."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spike_assets.errors import SettingsError
from spike_assets.instruments import INSTRUMENTS
from spike_assets.settings import load_settings


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("SPIKE_")]:
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
