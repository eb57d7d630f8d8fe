"""The cloud function: one pass per call, for whatever platform calls it. Nothing here imports dagster, or a framework.

`event` reads what was asked for, `warm` keeps what calls share, `function` runs the pass and answers.
"""

from spike_assets.cloud.function import spike_cloud_event, spike_http, spike_process

__all__ = ["spike_cloud_event", "spike_http", "spike_process"]
