"""`spike settings`: what it prints can be read back."""

from pathlib import Path

import pytest

from spike_assets.settings import Settings, load_settings, variable
from spike_assets_tests.cli.running import error, ok


def test_every_setting_is_printed_with_its_description() -> None:
    lines = ok("settings").splitlines()
    described = [f"# {field.description}" for field in Settings.model_fields.values()]
    assert lines[::2] == described
    names = [line.removeprefix("# ").split("=")[0] for line in lines[1::2]]
    assert names == [variable(name) for name in Settings.model_fields]
    assert "SPIKE_DATABASE=data/simulated.duckdb" in lines
    assert "# SPIKE_FILES_DIR=" in lines


def test_what_is_printed_is_a_dotenv_that_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_FILES_DIR", "some/folder")
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "21")
    printed, meant = ok("settings"), load_settings()
    Path(".env").write_text(printed, encoding="utf-8")
    for name in ("SOURCE", "FILES_DIR", "ATR_PERIOD", "INSTRUMENTS"):
        monkeypatch.delenv(f"SPIKE_{name}")
    assert load_settings().in_force() == meant.in_force()
    assert ok("settings") == printed


def test_a_bad_setting_is_one_line_at_the_start_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "1")
    commands = ("settings", "status", "events", "features", "verify", "rebuild", "up", "run H1", "backfill H1")
    for command in commands:
        said = error(*command.split())
        assert said == "SPIKE_ATR_PERIOD: Input should be greater than or equal to 2 (it is '1')"
    assert sorted(path.name for path in Path().iterdir()) == []


def test_the_token_is_hidden_and_not_taken_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", "5ecret")
    printed = ok("settings")
    assert "5ecret" not in printed
    assert "# OANDA_API_TOKEN=**********" in printed
