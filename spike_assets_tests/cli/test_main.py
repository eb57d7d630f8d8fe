"""The group of all commands: quick, one line on errors, the right exit codes."""

import logging
import subprocess
import sys

import click
import pytest

import spike_assets.cli.settings
from spike_assets.cli import COMMANDS, spike
from spike_assets.errors import StoreLockedError
from spike_assets_tests.cli.running import HISTORY, error, finish, ok, run, start


def test_help_lists_every_command_with_the_words_of_its_own_help() -> None:
    listed = ok("--help")
    context = click.Context(spike)
    for name, (_, short) in COMMANDS.items():
        command = spike.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert f"{command.get_short_help_str(200)}" == short
        assert f"\n  {name} " in listed


def test_help_imports_nothing_heavy_and_no_command_imports_dagster() -> None:
    code = (
        "import sys; from spike_assets.cli import COMMANDS, spike; import click\n"
        "try: spike(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'duckdb', 'numpy', 'rich', 'pydantic'} & set(sys.modules)\n"
        "[spike.get_command(click.Context(spike), name) for name in COMMANDS]\n"
        "print(heavy, 'dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set() False"


def test_version() -> None:
    assert ok("--version") == "spike 0.1.0\n"


def test_an_unknown_command_and_an_unknown_option_are_usage_errors() -> None:
    assert error("nonsense", code=2) == "No such command 'nonsense'."
    assert "No such option '--nonsense'" in error("status", "--nonsense", code=2)


def raising(exception: BaseException) -> object:
    def load_settings() -> None:
        raise exception

    return load_settings


def test_what_spike_reports_is_one_line_whatever_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spike_assets.cli.settings, "load_settings", raising(StoreLockedError("in use\nby me")))
    assert error("settings") == "in use by me"


def test_ctrl_c_is_130_and_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spike_assets.cli.settings, "load_settings", raising(KeyboardInterrupt()))
    result = run("settings")
    assert (result.exit_code, result.output) == (130, "")


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spike_assets.cli.settings, "load_settings", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run("settings")


def test_a_reader_that_goes_away_is_no_error() -> None:
    ok("backfill", "H1", *HISTORY)
    process = start("events", "--format", "csv")
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    code, _, err = finish(process)
    assert (code, err) == (1, "")


def test_a_terminal_that_knows_no_tick_mark_still_gets_the_board() -> None:
    ok("backfill", "D", *HISTORY)
    code, out, err = finish(start("status", environment={"PYTHONIOENCODING": "ascii"}))
    assert (code, err) == (0, "")
    assert out.startswith("Spike Processing Status\n")


@pytest.mark.parametrize(
    ("options", "level"), [((), logging.WARNING), (("-v",), logging.INFO), (("-vv",), logging.DEBUG)]
)
def test_verbose_logs_more(options: tuple[str, ...], level: int) -> None:
    ok(*options, "settings")
    assert logging.getLogger().level == level
