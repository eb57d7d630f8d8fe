"""Tables in a folder, as Parquet files and a manifest: a folder that is not whole does not bear its name."""

import errno
import fcntl
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from spike_assets.errors import StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.market_hours import Window
from spike_assets.store.copy import content
from spike_assets.store.manifest import NAME, Kind, Manifest, Part, Saved, read_manifest, written
from spike_assets.store.migrations import LATEST
from spike_assets.store.parquet import ParquetFiles, parquet_files
from spike_assets.store.rows import no_rows
from spike_assets.store.whole import PLACES, Place

_JUST_BEHIND = timedelta(microseconds=1)
_OURS = re.compile(r".*\.parquet|manifest\.json|snapshot\.duckdb(\.wal|\.tmp)?")


class Folder:
    """Saved tables; `path` is where they stand."""

    def __init__(self, path: Path, files: ParquetFiles) -> None:
        self.path = path
        self._files = files
        self._parts: defaultdict[str, list[Part]] = defaultdict(list)

    def count(self, place: Place) -> int:
        """Give how many rows a table has."""
        return sum(part.rows for part in self._parts[place.name])

    def windows(self, place: Place) -> Iterator[Window | None]:
        """Give the stretches of time of a table's parts; None for all rows at once."""
        for part in self._parts[place.name]:
            yield _window(part)

    def rows(self, place: Place, window: Window | None) -> pd.DataFrame:
        """Give the rows of the part that lies in a stretch.

        Raises
        ------
        StoreError
            They cannot be read, or are not those that were saved.
        """
        for part in self._parts[place.name]:
            if window is None or (part.first is not None and window.start <= part.first < window.end):
                return self._read(place, part)
        return no_rows(place.table)

    def _read(self, place: Place, part: Part) -> pd.DataFrame:
        file = self.path / part.file
        try:
            rows = self._files.read(file, place.table.columns)
        except duckdb.Error as error:
            why = " ".join(str(error).split())
            raise StoreError(f"{file} is missing, damaged or cut short ({why}); use another backup") from error
        if len(rows) != part.rows or content(place, rows) != part.sha256:
            raise StoreError(f"{file} does not hold the rows that the manifest says; use another backup")
        return rows

    def add(self, place: Place, rows: pd.DataFrame) -> None:
        """Save rows as the next part of a table."""
        if rows.empty:
            return
        parts = self._parts[place.name]
        file = self.path / f"{place.name}.{len(parts):04}.parquet"
        try:
            self._files.write(file, place.table.columns, rows)
        except duckdb.Error as error:
            why = " ".join(str(error).split())
            raise StoreUnavailableError(f"{file} cannot be written ({why}); nothing is left of it") from error
        _sync(file)
        first, last = (None, None) if place.step is None else _ends(rows)
        parts.append(Part(file=file.name, rows=len(rows), sha256=content(place, rows), first=first, last=last))

    def describe(self, kind: Kind, places: tuple[Place, ...], **says: Any) -> Manifest:
        """Give the manifest of what was saved."""
        tables = tuple(
            Saved(
                name=place.name,
                columns=place.table.names,
                rows=self.count(place),
                parts=tuple(self._parts[place.name]),
            )
            for place in places
        )
        return Manifest(kind=kind, spike=version("spike-assets"), tables=tables, **says)

    def finish(self, manifest: Manifest, name: Path) -> None:
        """Write the manifest, and give the folder its name: from now on it is whole, whatever happens."""
        file = self.path / NAME
        file.write_text(written(manifest), encoding="utf-8")
        _sync(file)
        _sync(self.path)
        self.path.rename(name)
        _sync(name.parent)
        self.path = name

    def take(self, manifest: Manifest) -> None:
        """Take over what a manifest says is there."""
        self._parts |= {table.name: list(table.parts) for table in manifest.tables}

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(file.stat().st_size for file in self.path.iterdir())


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[tuple[Folder, Manifest, list[Place]]]:
    """Open a folder that is whole; give also its manifest, and the tables as they were when it was written.

    Raises
    ------
    StoreError
        It is none, or a newer release wrote it.
    """
    manifest = read_manifest(path, kind)
    if manifest.schema_version > LATEST:
        raise StoreError(
            f"{path} has tables of schema {manifest.schema_version}, written by spike {manifest.spike}; this release"
            f" knows schema {LATEST}: use that release, or a newer one"
        )
    places = {place.name: place for place in PLACES}
    with parquet_files() as files:
        folder = Folder(path, files)
        folder.take(manifest)
        yield folder, manifest, [_as_saved(places[table.name], table) for table in manifest.tables]


def _as_saved(place: Place, saved: Saved) -> Place:
    columns = tuple(column for column in place.table.columns if column.name in saved.columns)
    return replace(place, table=replace(place.table, columns=columns))


@contextmanager
def new_folder(name: Path) -> Iterator[Folder]:
    """Make a folder under another name, which `Folder.finish` gives its own; what was not finished is removed.

    Raises
    ------
    StoreError
        There is something of that name, or it cannot be written.
    """
    if name.exists():
        raise StoreError(f"{name} is there already; nothing was done, give a name that is new")
    partial = name.with_name(name.name + ".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _alone(partial), parquet_files() as files:
            _remove_leftovers(partial)
            try:
                yield Folder(partial, files)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        where = f"{name} cannot be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailableError(f"{where}; free some space and try again") from error
        raise StoreError(f"{where}; name a folder that can be") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder, until its process ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLockedError(f"{folder} is being written by another process; give another name") from None
        yield
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Remove what one that was killed has left; what else is there is not ours to remove."""
    for file in folder.iterdir():
        if not _OURS.fullmatch(file.name):
            raise StoreError(f"{folder} holds {file.name}, which spike did not write; give another name")
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()


def _window(part: Part) -> Window | None:
    return None if part.first is None or part.last is None else Window(part.first, part.last + _JUST_BEHIND)


def _ends(rows: pd.DataFrame) -> tuple[datetime, datetime]:
    return rows["time"].min().to_pydatetime(), rows["time"].max().to_pydatetime()


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything goes on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
