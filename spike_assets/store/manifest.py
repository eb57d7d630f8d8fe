"""What a folder of saved tables says of itself, and whether it says so still."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from spike_assets.errors import StoreError

NAME = "manifest.json"
Kind = Literal["backup", "archive"]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Said):
    """A Parquet file: the rows of a stretch of time, or all of a table that has no stretches.

    Attributes
    ----------
    sha256
        Of every bit of the rows, as `spike copy` counts them; not of the file's bytes.
    first, last
        The rows' first and last `time`, UTC; None of a table that is not by time.
    """

    file: str
    rows: int
    sha256: str
    first: datetime | None = None
    last: datetime | None = None


class Saved(_Said):
    """A table: its columns, and its rows in the order of its parts."""

    name: str
    columns: tuple[str, ...]
    rows: int
    parts: tuple[Part, ...]


class Manifest(_Said):
    """What a folder holds.

    Attributes
    ----------
    kind
        A `backup` is one state of everything; an `archive` is what was removed from a database.
    schema_version
        The newest migration of the database.
    spike
        The release that wrote it.
    database
        Where it comes from, without a password.
    provenance
        What the numbers mean; None where nobody has said so.
    """

    format: Literal[1] = 1
    kind: Kind
    created_at: datetime
    schema_version: int
    spike: str
    database: str
    provenance: dict[str, Any] | None
    tables: tuple[Saved, ...]

    @property
    def rows(self) -> int:
        """How many rows there are of all tables."""
        return sum(table.rows for table in self.tables)


def written(manifest: Manifest) -> str:
    """Give a manifest as text that shows when it was changed."""
    says = manifest.model_dump(mode="json")
    return json.dumps({"manifest": says, "sha256": _digest(says)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(folder: Path, kind: Kind) -> Manifest:
    """Read what a folder says of itself.

    Raises
    ------
    StoreError
        It says nothing, something else than what was written, or that it is of another kind.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StoreError(f"{folder} is no {kind}: it has no {NAME}; name the folder that `spike` wrote") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StoreError(f"{path} cannot be read: {why}") from error
    try:
        both = json.loads(text)
        says, digest = both["manifest"], both["sha256"]
        if says["format"] != 1:
            raise StoreError(f"{path} is of format {says['format']}; a newer release of spike reads it")
        if digest != _digest(says):
            raise StoreError(f"{path} was changed after it was written; use another {kind}")
        manifest = Manifest.model_validate(says)
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise StoreError(f"{path} is damaged; use another {kind}") from error
    if manifest.kind != kind:
        raise StoreError(f"{folder} is {_a(manifest.kind)}, not {_a(kind)}")
    return manifest


def _a(kind: Kind) -> str:
    return f"an {kind}" if kind == "archive" else f"a {kind}"


def _digest(says: Any) -> str:
    return hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()
