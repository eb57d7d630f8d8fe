"""Writes the help of every command into docs/cli.md: `python -m spike_assets_tests.cli.docs`."""

import re
from pathlib import Path

import click

from spike_assets.cli import COMMANDS, spike

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

_BLOCK = re.compile(r"(<!-- help: (\w+) -->\n```\n).*?(```\n)", re.DOTALL)


def help_of(name: str) -> str:
    """Give what `spike NAME --help` prints, eighty columns wide."""
    top = click.Context(spike, info_name="spike", terminal_width=80, **spike.context_settings)
    if name == "spike":
        return spike.get_help(top)
    command = spike.get_command(top, name)
    assert command is not None, name
    return command.get_help(click.Context(command, info_name=name, parent=top, terminal_width=80))


def with_help(page: str) -> str:
    """Give the page with every help block as it is now."""
    return _BLOCK.sub(lambda block: block[1] + help_of(block[2]).rstrip() + "\n" + block[3], page)


def documented(page: str) -> list[str]:
    """Give the commands that have a help block, in the page's order."""
    return [block[1] for block in _BLOCK.findall(page)]


NAMES = ["spike", *COMMANDS]

if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
