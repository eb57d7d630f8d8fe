"""Backups: one state of everything as a folder of files, of whatever engine, and back into a database of any."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreError, StoreLockedError
from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline import records
from spike_assets.store.copy import Copied, Progress, move, require_empty, require_rows
from spike_assets.store.folder import new_folder, opened
from spike_assets.store.manifest import Manifest
from spike_assets.store.migrations import LATEST
from spike_assets.store.ops import MEANING
from spike_assets.store.store import Session, Store
from spike_assets.store.whole import PLACES, Place

_LIMIT = timedelta(hours=12)
_BACKUP, _RESTORE = "a backup", "a restore"


@dataclass(frozen=True)
class Backup:
    """A backup: what it says of itself, what was moved of each table, and how many bytes its files have."""

    manifest: Manifest
    tables: tuple[Copied, ...]
    size: int


def backup(store: Store, name: Path, now: datetime, progress: Progress = lambda *_: None) -> Backup:
    """Save one state of everything in a new folder, whoever is at work meanwhile.

    Nobody waits for its end: writers of a DuckDB file wait for as long as the file is copied, those of Postgres not at
    all. The folder has its name only once all of it is written, read again and on the disk.

    Raises
    ------
    SpikeError
        There is nothing to save, a newer release has been at the database, or the folder cannot be written.
    """
    if not store.exists():
        raise StoreError(f"there is no database at {store.url} to back up; set SPIKE_DATABASE")
    with new_folder(name) as folder:
        with store.snapshot(Deadline.after(_LIMIT), _BACKUP, folder.path) as session:
            version = session.whole.schema()
            if version > LATEST:
                raise StoreError(
                    f"{store.url} has tables of schema {version}, of which this release knows {LATEST}; a newer release"
                    " has been at it, and has to back it up"
                )
            require_rows(store, session.whole)
            provenance = session.ops.provenance()
            tables = move(session.whole, folder, PLACES, progress)
        manifest = folder.describe(
            "backup",
            PLACES,
            created_at=now,
            schema_version=version,
            database=store.url,
            provenance=asdict(provenance) if provenance else None,
        )
        folder.finish(manifest, name)
        return Backup(manifest, tuple(tables), folder.size)


def restore(
    name: Path, store: Store, now: datetime, *, replace: bool = False, progress: Progress = lambda *_: None
) -> Backup:
    """Write a backup into a database, in one transaction: it has all of it in the end, or what it had before.

    What a later schema wants done to the rows is done behind that. Passes, senders and the dashboard should be
    stopped: what was fetched or sent before would be noted behind.

    Parameters
    ----------
    replace
        Remove what the database holds, in the same transaction.

    Raises
    ------
    SpikeError
        The folder is no whole backup of this release or an older one, the database is not empty and not to be replaced,
        or a pass is at work on it.
    """
    deadline = Deadline.after(_LIMIT)
    with opened(name, "backup") as (folder, manifest, places), ExitStack() as stack:
        for granularity in GRANULARITIES.values():
            stack.enter_context(store.changing(granularity, deadline, _RESTORE))
        session = stack.enter_context(store.restoring(deadline, _RESTORE, manifest.schema_version))
        session.keep(MEANING)
        with session.transaction():
            if not session.held_at(manifest.schema_version):
                raise StoreLockedError(
                    f"{store.url} was opened by another process, which changed its schema; nothing was restored, stop"
                    " all that opens it, the dashboard too, and restore into a new database"
                )
            if replace:
                _empty(session, places, store.url, now)
            require_empty(store, session.whole, places, "give a new database, or --replace what it holds")
            tables = move(folder, session.whole, places, progress)
        return Backup(manifest, tuple(tables), folder.size)


def _empty(session: Session, places: Sequence[Place], url: str, now: datetime) -> None:
    session.outbox.claim()
    for granularity in GRANULARITIES.values():
        for running in session.ops.unfinished(granularity):
            if not records.crashed(running, now):
                raise StoreLockedError(
                    f"a pass over {granularity} is at work on {url} ({running.process}); stop what runs passes, and"
                    " try again"
                )
    for place in places:
        session.whole.clear(place)
