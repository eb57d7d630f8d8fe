"""Moving everything that a store knows into another one, of whatever engine; verified before it is committed."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError
from spike_assets.store.data import content_hash
from spike_assets.store.ops import MEANING
from spike_assets.store.store import Store
from spike_assets.store.whole import PLACES, Keeper, Place, Tables, Whole

Progress = Callable[[str, int, int], None]
"""Told the name of a table, how many rows of all tables are done, and of how many."""

_PURPOSE = "a copy"


@dataclass(frozen=True)
class Copied:
    """What was copied of one table: rows, and the SHA-256 of every bit of them."""

    name: str
    rows: int
    sha256: str


def copy(here: Store, there: Store, deadline: Deadline, progress: Progress = lambda *_: None) -> list[Copied]:
    """Copy one state of everything into an empty store, in one transaction.

    Raises
    ------
    StoreError
        There is nothing to copy, the other store is not empty, one of them is a newer release's, or what came there is
        not what was sent. Nothing was written.
    """
    if here.url == there.url or not here.exists():
        raise StoreError(
            f"there is nothing to copy from {here.url} to {there.url}; name two databases, one of them new"
        )
    with here.reading(deadline, _PURPOSE) as read, there.writing(deadline, _PURPOSE) as write:
        require_rows(here, read.whole)
        require_known(there, write.whole)
        write.keep(MEANING)
        with write.transaction():
            require_empty(there, write.whole, PLACES, "give a new database")
            return move(read.whole, write.whole, PLACES, progress)


def require_rows(store: Store, whole: Whole) -> None:
    """Raise `StoreError` where a store has nothing that could be moved, or more than this release knows."""
    require_known(store, whole)
    if not any(whole.count(place) for place in PLACES):
        raise StoreError(f"{store.url} is empty; there is nothing to copy or to back up")


def require_known(store: Store, whole: Whole) -> None:
    """Raise `StoreError` where a newer release may have added what this one would leave behind."""
    if not whole.is_known():
        raise StoreError(
            f"{store.url} was brought up to date by a newer release of spike, whose additions this one would lose;"
            " nothing was changed, do it with that release"
        )


def require_empty(store: Store, whole: Whole, places: Sequence[Place], otherwise: str) -> None:
    """Raise `StoreError` where a store has any rows, with what is to be done `otherwise`."""
    for place in places:
        if rows := whole.count(place):
            raise StoreError(
                f"{store.url} is not empty: {place.name} has {rows:,} rows; nothing was changed, {otherwise}"
            )


def move(
    source: Tables,
    target: Keeper,
    places: Sequence[Place],
    progress: Progress = lambda *_: None,
) -> list[Copied]:
    """Add all rows of tables to somewhere that has none, and read them back.

    Raises
    ------
    StoreError
        What came there is not what was sent. Whoever called undoes it.
    """
    counts = {place: source.count(place) for place in places}
    total = sum(counts.values())
    copied, done = [], 0
    for place, rows in counts.items():
        progress(place.name, done, total)
        copied.append(_table(source, target, place))
        done += rows
    progress("all", total, total)
    return copied


def _table(source: Tables, target: Keeper, place: Place) -> Copied:
    sent, found = hashlib.sha256(), hashlib.sha256()
    count = 0
    for window in source.windows(place):
        rows = source.rows(place, window)
        if rows.empty:
            continue
        target.add(place, rows)
        sent.update(content(place, rows).encode())
        found.update(content(place, target.rows(place, window)).encode())
        count += len(rows)
    if sent.digest() != found.digest() or target.count(place) != count or source.count(place) != count:
        raise StoreError(f"{place.name} did not arrive as it was; nothing was written, report this")
    return Copied(place.name, count, sent.hexdigest())


def content(place: Place, rows: pd.DataFrame) -> str:
    """Give the SHA-256 of rows, every bit of them."""
    return content_hash(replace(place.table, bookkeeping=()), rows)
