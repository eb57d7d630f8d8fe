"""Rows as JSON can hold them: times as ISO 8601 with Z, NULL as null, and nothing that is not a number."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from spike_assets.store.tables import Column

Record = dict[str, Any]


def iso(time: datetime | None) -> str | None:
    """Give a time as text; None stays None."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def records(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Record]:
    """Give rows as dictionaries of plain values, None for NULL."""
    plain = {column.name: _plain(column, frame[column.name]) for column in columns}
    return [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]


def _plain(column: Column, values: "pd.Series[Any]") -> list[Any]:
    missing = values.isna().tolist()
    if column.kind == "time":
        given = [None if gone else iso(time) for time, gone in zip(values, missing, strict=True)]
    else:
        given = values.tolist()
    return [None if gone else value for value, gone in zip(given, missing, strict=True)]


def encoded(value: object) -> str:
    """Give JSON; a number that is none would be a fault in a formula, and is refused."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def chosen(record: Mapping[str, Any], *names: str) -> Record:
    """Give some of a record, in this order."""
    return {name: record[name] for name in names}
