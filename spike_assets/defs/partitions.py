"""Dagster partitions of each granularity: one per candle time, all instruments together.

Which windows exist is declared in `granularity`; this module hands that to Dagster. What their keys are, and which
there are, `partition_keys` tells whoever does without Dagster. No instances, no runs.
"""

from datetime import datetime

import dagster as dg

from spike_assets.granularity import Granularity
from spike_assets.partition_keys import KEY_FORMAT, partition_key, partition_times

__all__ = ["KEY_FORMAT", "partition_key", "partition_times", "partitions"]


def partitions(granularity: Granularity, start: datetime) -> dg.TimeWindowPartitionsDefinition:
    """Give the partitions of a granularity; the first is that of the first candle at or after `start`."""
    if start.tzinfo is None:
        raise ValueError("the start of partitions must be timezone-aware")
    return dg.TimeWindowPartitionsDefinition(
        start=start.astimezone(granularity.zone),  # Dagster reads the wall clock and ignores the zone it comes with
        fmt=KEY_FORMAT,
        timezone=granularity.zone.key,
        cron_schedule=granularity.partition_cron,
        exclusions=granularity.partition_exclusions,
    )
