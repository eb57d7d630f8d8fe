"""Moving everything that a store knows into another one, of whatever engine; verified before it is committed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError
from spike_assets.store.data import content_hash
from spike_assets.store.ops import MEANING
from spike_assets.store.store import Store
from spike_assets.store.whole import PLACES, Place, Whole

_PURPOSE = "a copy"


@dataclass(frozen=True)
class Copied:
    """What was copied of one table: rows, and the SHA-256 of every bit of them."""

    name: str
    rows: int
    sha256: str


def copy(
    here: Store, there: Store, deadline: Deadline, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[Copied]:
    """Copy one state of everything into an empty store, in one transaction.

    Parameters
    ----------
    progress
        Told the name of a table, how many rows of all tables are done, and of how many.

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
        source, target = read.whole, write.whole
        _require_known(here, source)
        _require_known(there, target)
        counts = {place: source.count(place) for place in PLACES}
        if not any(counts.values()):
            raise StoreError(f"{here.url} is empty; there is nothing to copy")
        write.keep(MEANING)
        with write.transaction():
            _require_empty(there, target)
            copied, done = [], 0
            for place, rows in counts.items():
                progress(place.name, done, sum(counts.values()))
                copied.append(_table(source, target, place))
                done += rows
            progress("all", done, done)
    return copied


def _require_known(store: Store, whole: Whole) -> None:
    if not whole.is_known():
        raise StoreError(
            f"{store.url} was brought up to date by a newer release of spike, whose additions a copy by this one would"
            " lose; nothing was changed, copy with that release"
        )


def _require_empty(store: Store, whole: Whole) -> None:
    for place in PLACES:
        if rows := whole.count(place):
            raise StoreError(
                f"{store.url} is not empty: {place.name} has {rows:,} rows; nothing was changed, give a new database"
            )


def _table(source: Whole, target: Whole, place: Place) -> Copied:
    sent, found = hashlib.sha256(), hashlib.sha256()
    count = 0
    for window in source.windows(place):
        rows = source.rows(place, window)
        target.add(place, rows)
        sent.update(_hash(place, rows))
        found.update(_hash(place, target.rows(place, window)))
        count += len(rows)
    if sent.digest() != found.digest() or target.count(place) != count or source.count(place) != count:
        raise StoreError(f"{place.name} did not arrive as it was; nothing was written, report this")
    return Copied(place.name, count, sent.hexdigest())


def _hash(place: Place, rows: pd.DataFrame) -> bytes:
    return content_hash(replace(place.table, bookkeeping=()), rows).encode()
