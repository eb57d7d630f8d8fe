"""The settings in force."""

import click

from spike_assets.settings import SECRETS, Settings, load_settings, variable


@click.command
def settings() -> None:
    """Print the settings in force, secrets hidden.

    Each comes from the environment, else from .env in this folder, else it is the default. What is printed can be
    saved as .env.
    """
    described = {variable(name): field.description for name, field in Settings.model_fields.items()}
    for name, value in load_settings().in_force().items():
        click.echo(f"# {described[name]}")
        # A hidden value is no value to save.
        hidden = name in SECRETS or "…" in value
        click.echo(f"{name}={value}" if value and not hidden else f"# {name}={value}")
