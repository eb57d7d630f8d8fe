"""Fills partitions in this process, without a daemon: what `spike demo` shows when its UI comes up.

A run of it is a run like any other, in the UI too. Operators use the UI's backfills; history without partitions is
loaded by `spike backfill`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from spike_assets.defs import EVENT_BATCHES
from spike_assets.defs.assets import TRIGGER_TAG
from spike_assets.defs.faults import own_words
from spike_assets.defs.jobs import pass_name
from spike_assets.defs.partitions import partition_key, partition_times
from spike_assets.defs.schedules import range_tags
from spike_assets.errors import PermanentError, SpikeError
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window, close_of, last_closed
from spike_assets.settings import load_settings
from spike_assets.store.tables import CANDLES, DERIVED

QUICKLY = {
    # One event says which partitions a run is going to fill, in place of one each. (Were the run to fail, the UI would
    # not mark them as failed: so not for everyday runs.)
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
    **EVENT_BATCHES,
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def materialize_range(
    defs: dg.Definitions, granularity: Granularity, start_key: str, end_key: str, instance: dg.DagsterInstance
) -> int:
    """Materialise all assets of a granularity from one partition to another, both included, where they are not yet.

    Returns
    -------
    int
        How many partitions were missing, and are not any more.

    Raises
    ------
    PermanentError
        A run failed; the text says why.
    """
    job = defs.resolve_job_def(pass_name(granularity))
    keys = _keys(granularity, start_key, end_key)
    stretches = list(_missing(keys, _materialized(granularity, instance)))
    for stretch in stretches:
        tags = range_tags(granularity, stretch) | {TRIGGER_TAG: "backfill"}
        with _environment(QUICKLY):
            result = job.execute_in_process(_QUIET, instance, tags=tags, raise_on_error=False)
        if not result.success:
            raise PermanentError(f"{granularity} {stretch[0]} … {stretch[-1]}: {_reason(result)}")
    return sum(map(len, stretches))


def _keys(granularity: Granularity, start_key: str, end_key: str) -> list[str]:
    first, last = (datetime.fromisoformat(key).astimezone(UTC) for key in (start_key, end_key))
    opens = partition_times(granularity, Window(first, close_of(granularity, last)))
    return [partition_key(granularity, open_) for open_ in opens.to_pydatetime()]


def _materialized(granularity: Granularity, instance: dg.DagsterInstance) -> set[str]:
    """Give the partitions that every asset of the granularity has."""
    tables = (CANDLES, *DERIVED)
    return set.intersection(
        *(instance.get_materialized_partitions(dg.AssetKey([granularity.schema, table.name])) for table in tables)
    )


def _missing(keys: list[str], there: set[str]) -> Iterator[list[str]]:
    """Give the stretches of neighbouring keys that are not there."""
    stretch: list[str] = []
    for key in keys:
        if key not in there:
            stretch.append(key)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _reason(result: dg.ExecuteInProcessResult) -> str:
    return own_words(result.get_step_failure_events()) or f"Dagster run {result.run_id} failed"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    """Materialise every partition, from the first to that of the last candle closed at a time, of granularities."""
    from spike_assets.definitions import build_defs  # noqa: PLC0415 - `definitions` stands above this package

    until, names = datetime.fromisoformat(sys.argv[1]), sys.argv[2:]
    settings = load_settings()
    defs = build_defs(settings)
    with dg.DagsterInstance.get() as instance:
        for granularity in (GRANULARITIES[name] for name in names):
            window = Window(settings.history_start, last_closed(granularity, until).end)
            opens = partition_times(granularity, window).to_pydatetime()
            if len(opens):
                keys = partition_key(granularity, opens[0]), partition_key(granularity, opens[-1])
                filled = materialize_range(defs, granularity, *keys, instance)
                print(f"{granularity}: {len(opens)} partitions, {filled} of them filled now", flush=True)


if __name__ == "__main__":
    try:
        main()
    except SpikeError as error:
        sys.exit(f"error: {error}")
