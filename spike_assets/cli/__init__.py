"""The `spike` command. `main` is its entry; each module holds the commands around one noun.

A command's module is imported when the command is used, so `spike --help` is quick. Nothing here imports dagster:
`up` and `demo` start it.
"""

import logging
import sys

import click

from spike_assets.cli.group import SpikeGroup

COMMANDS = {
    "demo": ("demo", "Show everything on a simulated market."),
    "up": ("serve", "Serve the dashboard, the Dagster UI and its daemon, until Ctrl-C."),
    "dashboard": ("dashboard", "Serve the dashboard alone, until Ctrl-C."),
    "run": ("passes", "Run one pass now and print what it did, as JSON."),
    "backfill": ("passes", "Load history; interrupted, the same command goes on."),
    "reconcile": ("upkeep", "Fetch the last days once more, for corrections and late candles."),
    "status": ("board", "Print the status board."),
    "events": ("tables", "Print or export events (new resistance levels)."),
    "features": ("tables", "Print or export the features of events."),
    "alerts": ("alerts", "See alerts, and look after the channels that carry them."),
    "significance": ("significance", "Print how often each rule hits, against chance."),
    "verify": ("upkeep", "Recompute everything from the stored candles and compare."),
    "rebuild": ("upkeep", "Recompute the derived tables after a change of setting or formula."),
    "rollback": ("rollback", "Remove what was derived after a time, and rebuild it."),
    "copy": ("copy", "Copy everything into another, empty database."),
    "backup": ("backup", "Save everything as it is now in a new folder."),
    "restore": ("backup", "Write a backup into an empty database."),
    "prune": ("prune", "Archive and remove old records of running."),
    "settings": ("settings", "Print the settings in force, secrets hidden."),
}
"""Every command: its module and its short help, so that listing them imports none of them."""


@click.group(
    cls=SpikeGroup,
    commands_in="spike_assets.cli",
    declared=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="spike-assets", prog_name="spike", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Log more to stderr: -v information, -vv everything.")
def spike(verbose: int) -> None:
    """Tells FX traders about new resistance levels the moment a candle closes.

    Settings come from SPIKE_* in the environment or in .env; `spike settings` prints them.
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s", force=True)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ shall not be a traceback
    spike(prog_name="spike")
