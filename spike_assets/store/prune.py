"""Removing old records of how the platform ran, behind an archive of them: nothing that any row or message needs.

Passes, messages with what the outbox remembers of them, and quarantine. Never candles and what is derived of them:
each row follows from all candles before it (docs/decisions.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.market_hours import Window
from spike_assets.store.copy import move, require_known
from spike_assets.store.folder import new_folder
from spike_assets.store.ops_tables import DELIVERIES, OUTBOX, PASSES
from spike_assets.store.outbox import UNSAID
from spike_assets.store.store import Session, Store
from spike_assets.store.tables import QUARANTINE
from spike_assets.store.whole import PLACES, Place

LEAST = timedelta(days=30)
"""What is younger is looked at: by reconciles, incidents, the dashboard, corrections."""

_LIMIT = timedelta(hours=1)
_PURPOSE = "pruning"
_PASSES, _OUTBOX, _DELIVERIES = (
    next(place for place in PLACES if place.table is table) for table in (PASSES, OUTBOX, DELIVERIES)
)


@dataclass(frozen=True)
class Pruned:
    """What goes of a table, or went: how many rows, and how many stay."""

    name: str
    going: int
    staying: int


class _Frames:
    """Rows in memory, as something to move from."""

    def __init__(self, frames: Mapping[Place, pd.DataFrame]) -> None:
        self._frames = frames

    def count(self, place: Place) -> int:
        return len(self._frames[place])

    def windows(self, place: Place) -> Iterator[Window | None]:  # noqa: ARG002
        yield None

    def rows(self, place: Place, window: Window | None) -> pd.DataFrame:  # noqa: ARG002
        return self._frames[place]


def prunable(store: Store, before: datetime, granularities: Sequence[Granularity]) -> list[Pruned]:
    """Say what pruning would remove; nothing is changed."""
    with store.reading(Deadline.after(_LIMIT), "looking for what can be pruned") as session:
        return _counted(session, _old(session, before, granularities))


def prune(
    store: Store, before: datetime, granularities: Sequence[Granularity], archive: Path, now: datetime
) -> list[Pruned]:
    """Archive what is older than a time in a new folder, read it again, and only then remove it.

    Parameters
    ----------
    before
        UTC; at least `LEAST` ago.
    granularities
        Whose records; messages that are of none go where all four are named.

    Raises
    ------
    StoreError
        There is nothing to prune, or the folder cannot be written. Nothing was removed.
    """
    if now - before < LEAST:
        raise StoreError(f"what is younger than {LEAST.days} days is not pruned; nothing was removed")
    deadline = Deadline.after(_LIMIT)
    with new_folder(archive) as folder, ExitStack() as stack:
        for granularity in granularities:
            stack.enter_context(store.changing(granularity, deadline, _PURPOSE))
        session = stack.enter_context(store.writing(deadline, _PURPOSE))
        stack.enter_context(session.transaction())
        require_known(store, session.whole)
        session.outbox.claim()
        found = _old(session, before, granularities)
        counted = _counted(session, found)
        if not sum(one.going for one in counted):
            raise StoreError(f"{store.url} has nothing older to prune; nothing was changed")
        move(_Frames(found), folder, list(found))
        provenance = session.ops.provenance()
        manifest = folder.describe(
            "archive",
            tuple(found),
            created_at=now,
            schema_version=session.whole.schema(),
            database=store.url,
            provenance=asdict(provenance) if provenance else None,
        )
        folder.finish(manifest, archive)
        for place, rows in found.items():
            session.whole.remove(place, rows)
    return counted


def _counted(session: Session, found: Mapping[Place, pd.DataFrame]) -> list[Pruned]:
    return [Pruned(place.name, len(rows), session.whole.count(place) - len(rows)) for place, rows in found.items()]


def _old(session: Session, before: datetime, granularities: Sequence[Granularity]) -> dict[Place, pd.DataFrame]:
    """Give what can go of each table."""
    schemas = {granularity.schema for granularity in granularities}
    quarantined = [place for place in PLACES if place.table is QUARANTINE and place.schema in schemas]
    found = {place: session.whole.matching(place, "t.fetched_at < ?", [before]) for place in quarantined}
    return found | {_PASSES: _passes(session, before, granularities)} | _told(session, before, granularities)


def _passes(session: Session, before: datetime, granularities: Sequence[Granularity]) -> pd.DataFrame:
    """Give the passes that have ended, but for the newest of each kind: it says when something went well last."""
    names = [granularity.name for granularity in granularities]
    return session.whole.matching(
        _PASSES,
        f"t.granularity IN ({', '.join('?' * len(names))}) AND t.status <> 'running' AND t.ended_at < ?"  # noqa: S608
        " AND t.ended_at < (SELECT MAX(n.ended_at) FROM ops.passes AS n"
        " WHERE n.granularity = t.granularity AND n.status = t.status AND n.trigger = t.trigger)",
        [*names, before],
    )


def _told(session: Session, before: datetime, granularities: Sequence[Granularity]) -> dict[Place, pd.DataFrame]:
    """Give the messages that are done with, and what the outbox remembers of them: these go together, or stay.

    What waits or was given up stays, and what may be queued anew because its candle is not processed yet. So does the
    newest message of each channel and status, whose number and time count on.
    """
    messages = session.whole.matching(
        _DELIVERIES,
        "t.status IN ('sent', 'discarded') AND t.created_at < ? AND t.number < (SELECT MAX(n.number)"
        " FROM ops.deliveries AS n WHERE n.channel = t.channel AND n.status = t.status)",
        [before],
    )
    items = session.whole.rows(_OUTBOX, None)
    settled = pd.Series(data=False, index=items.index)
    for granularity in granularities:
        state = session.ops.state(granularity)
        if state is not None and state.last_processed is not None:
            settled |= (items["granularity"] == granularity.name) & (items["time"] < min(before, state.last_processed))
    settled &= ~items["status"].isin(UNSAID) & (items["queued_at"] < before)
    names = {granularity.name for granularity in granularities}
    theirs = messages["granularity"].isin(names) | (messages["granularity"].isna() & (len(names) == len(GRANULARITIES)))
    messages = messages[theirs & ~messages["delivery_id"].isin(items["delivery_id"][~settled])]
    items = items[settled & (items["delivery_id"].isna() | items["delivery_id"].isin(messages["delivery_id"]))]
    return {_OUTBOX: items.reset_index(drop=True), _DELIVERIES: messages.reset_index(drop=True)}
