"""Checks the invariant on a store as it is: recomputes everything from its candles and compares, bit for bit."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from spike_assets.core.atr import atr
from spike_assets.core.events import events
from spike_assets.core.features import features
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline.alerts import recomputed as alerts_of
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.settle import chunk_end
from spike_assets.store.data import Span, content_hash
from spike_assets.store.rows import difference, storable
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, ATR, CANDLES, DERIVED, EVENTS, FEATURES, Table

_LIMIT = timedelta(minutes=30)


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes
    ----------
    rows
        How many rows of each table were compared.
    hashes
        Content hash of each table, over its instruments in order.
    difference
        The first difference, in one line; None when there is none.
    """

    granularity: Granularity
    rows: dict[str, int]
    hashes: dict[str, str]
    difference: str | None


def recomputed(pipeline: Pipeline, granularity: Granularity, candles: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give the derived tables of these candles, from scratch, as they would be stored."""
    values = atr(candles, pipeline.atr_period)
    found = events(candles, values, granularity)
    described = features(found, candles, granularity)
    return {
        ATR.name: storable(ATR, values),
        EVENTS.name: storable(EVENTS, found),
        FEATURES.name: storable(FEATURES, described),
    }


_OF_ONE_INSTRUMENT = (ATR, EVENTS, FEATURES)
"""Tables that are verified instrument by instrument; alerts look at all of them at once."""


def verify(
    pipeline: Pipeline, granularity: Granularity, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Verified:
    """Recompute everything from the stored candles, instrument by instrument, and compare.

    The granularity is held still meanwhile. Work that is still pending is a difference as well.

    Raises
    ------
    SettingsError
        The store's numbers mean something else than the settings say.
    """
    deadline = Deadline.after(_LIMIT)
    purpose = f"verifying {granularity}"
    rows = dict.fromkeys((table.name for table in DERIVED), 0)
    digests = {table.name: hashlib.sha256() for table in DERIVED}
    found: str | None = None
    # The granularity is held; the database is let go between instruments, so that the others get on.
    with pipeline.store.changing(granularity, deadline, purpose):
        with pipeline.store.reading(deadline, purpose) as session:
            refused = pipeline.refused(session)
            if refused:
                raise SettingsError(refused)
            pending = session.pending.count(granularity)
            oldest = session.data.oldest(granularity)
        if pending:
            found = f"{granularity}: {pending} ranges are still pending; `spike run {granularity}` works them off"
        for done, instrument in enumerate(sorted(oldest)):
            progress(done, len(oldest))
            span = Span(instrument, oldest[instrument], pipeline.clock() + timedelta(days=1))
            with pipeline.store.reading(deadline, purpose) as session:
                candles = session.data.read(granularity, CANDLES, [span])
                tables = {table: session.data.read(granularity, table, [span]) for table in _OF_ONE_INSTRUMENT}
            found = found or _repeated(granularity, {CANDLES: candles, **tables})
            wanted = recomputed(pipeline, granularity, candles.drop_duplicates(list(CANDLES.key)))
            for table, stored in tables.items():
                rows[table.name] += len(stored)
                digests[table.name].update(content_hash(table, stored).encode())
                found = found or _first_difference(granularity, table, stored, wanted[table.name])
        with pipeline.store.reading(deadline, purpose) as session:
            found = found or _orphans(session, granularity, rows, _OF_ONE_INSTRUMENT)
        for window in _windows(granularity, oldest, pipeline.clock()):
            with pipeline.store.reading(deadline, purpose) as session:
                stored = session.data.read(granularity, ALERTS, window)
                fresh = storable(ALERTS, alerts_of(session, granularity, window, pipeline.simultaneous_share))
            rows[ALERTS.name] += len(stored)
            digests[ALERTS.name].update(content_hash(ALERTS, stored).encode())
            found = found or _repeated(granularity, {ALERTS: stored})
            found = found or _first_difference(granularity, ALERTS, stored, fresh)
        with pipeline.store.reading(deadline, purpose) as session:
            found = found or _orphans(session, granularity, rows, (ALERTS,))
    hashes = {name: digest.hexdigest() for name, digest in digests.items()}
    return Verified(granularity, rows, hashes, found)


def _windows(granularity: Granularity, oldest: dict[str, datetime], now: datetime) -> Iterator[Window]:
    """Cut all of history into stretches that fit into memory."""
    start, end = min(oldest.values(), default=now), now + timedelta(days=1)
    while start < end:
        stop = min(chunk_end(granularity, start), end)
        yield Window(start, stop)
        start = stop


def _repeated(granularity: Granularity, tables: dict[Table, pd.DataFrame]) -> str | None:
    """Say which table has a key more than once."""
    for table, rows in tables.items():
        again = rows.duplicated(list(table.key))
        if again.any():
            row = rows[again].iloc[0]
            return f"{granularity.schema}.{table.name} repeats a key: {row['instrument']} {row['time']}"
    return None


def _orphans(session: Session, granularity: Granularity, rows: dict[str, int], tables: Iterable[Table]) -> str | None:
    """Say which table has rows of instruments that have no candle."""
    for table in tables:
        if session.data.count(granularity, table) != rows[table.name]:
            return f"{granularity.schema}.{table.name} has rows of an instrument that has no candle"
    return None


def _first_difference(granularity: Granularity, table: Table, stored: pd.DataFrame, wanted: pd.DataFrame) -> str | None:
    changed, gone, at = difference(granularity.schema, table, stored, wanted)
    name = f"{granularity.schema}.{table.name}"
    if gone.any():
        row = stored[gone].iloc[0]
        return f"{name} has a row that nothing explains: {row['instrument']} {row['time']}"
    if not changed.any():
        return None
    first = int(np.flatnonzero(changed)[0])
    row = wanted.iloc[first]
    where = f"{name}, {row['instrument']} {row['time']}"
    if at[first] < 0:
        return f"{where}: the row is missing"
    old = stored.iloc[int(at[first])]
    column = next(c.name for c in table.content if not _same(old[c.name], row[c.name]))
    return f"{where}: {column} is {old[column]!r}, recomputed it is {row[column]!r}"


def _same(left: object, right: object) -> bool:
    return (pd.isna(left) and pd.isna(right)) or bool(left == right)  # type: ignore[call-overload]
