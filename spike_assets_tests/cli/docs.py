"""Writes the help of every command into docs/cli.md: `python -m spike_assets_tests.cli.docs`."""

import re
from pathlib import Path

import click

from spike_assets.cli import COMMANDS, spike

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

_BLOCK = re.compile(r"(<!-- help: ([\w ]+?) -->\n```\n).*?(```\n)", re.DOTALL)


def help_of(name: str) -> str:
    """Give what `spike NAME --help` prints, eighty columns wide."""
    top = click.Context(spike, info_name="spike", terminal_width=80, **spike.context_settings)
    context: click.Context = top
    command: click.Command = spike
    for word in [] if name == "spike" else name.split():
        assert isinstance(command, click.Group), name
        found = command.get_command(context, word)
        assert found is not None, name
        context, command = click.Context(found, info_name=word, parent=context, terminal_width=80), found
    return command.get_help(context)


def with_help(page: str) -> str:
    """Give the page with every help block as it is now."""
    return _BLOCK.sub(lambda block: block[1] + help_of(block[2]).rstrip() + "\n" + block[3], page)


def documented(page: str) -> list[str]:
    """Give the commands that have a help block, in the page's order."""
    return [block[1] for block in _BLOCK.findall(page)]


def with_subcommands(name: str) -> list[str]:
    """Give a command, and the commands of its own behind it."""
    top = click.Context(spike, info_name="spike")
    command = spike.get_command(top, name)
    inner = list(command.commands) if isinstance(command, click.Group) else []
    return [name, *(f"{name} {one}" for one in inner)]


NAMES = ["spike", *(name for command in COMMANDS for name in with_subcommands(command))]
"""Every command, in the order in which they are listed."""

if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
