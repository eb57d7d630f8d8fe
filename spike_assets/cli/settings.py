"""The settings in force."""

import click

from spike_assets.settings import Settings, load_settings


@click.command
def settings() -> None:
    """Print the settings in force, secrets hidden.

    Each comes from the environment, else from .env in this folder, else it is the default. What is printed can be
    saved as .env.
    """
    described = {f"SPIKE_{name.upper()}": field.description for name, field in Settings.model_fields.items()}
    for name, value in load_settings().in_force().items():
        click.echo(f"# {described[name]}")
        click.echo(f"{name}={value}" if value else f"# {name}=")
