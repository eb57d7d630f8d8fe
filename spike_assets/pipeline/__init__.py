"""One pass, without Dagster: fetch candles, then ATR, events, features and alerts off what is pending.

`process` is the whole pass; the functions of `stages` are its parts, which Dagster's assets call one by one.
"""

from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.passes import PassResult, process

__all__ = ["PassResult", "Pipeline", "process"]
