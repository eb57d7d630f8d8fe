"""Launches runs in milliseconds: a warm process, which has loaded Dagster and spike, forks one off for each.

Named in `dagster.yaml`. Nobody but `defs` and Dagster knows of it; what a run does is not its business.
"""

from spike_assets.defs.launcher.launcher import WarmRunLauncher

__all__ = ["WarmRunLauncher"]
