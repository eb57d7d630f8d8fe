"""The group of all commands: which import late, and end in one line and the right exit code."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from spike_assets.errors import SpikeError

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class Failure(click.ClickException):
    """One line on stderr and exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"error: {' '.join(self.message.split())}", file=file or sys.stderr)


class SpikeGroup(click.Group):
    """A group whose commands are declared as module and short help."""

    def __init__(
        self, *args: Any, commands_in: str = "", declared: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._package = commands_in
        self._declared = dict(declared or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the commands in the order of their declaration."""
        return list(self._declared)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        if cmd_name not in self._declared:
            return None
        module = import_module(f"{self._package}.{self._declared[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self._declared.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever spike itself reports becomes one line."""
        try:
            return super().invoke(ctx)
        except SpikeError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            _interrupted(ctx)


def _interrupted(ctx: click.Context) -> NoReturn:
    if sys.stderr.isatty():
        click.echo(err=True)  # behind the ^C
    ctx.exit(INTERRUPTED)
