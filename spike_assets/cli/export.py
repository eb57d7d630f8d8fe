"""Rows as CSV, JSON or Parquet: full precision, NULL empty, times ISO 8601 in UTC."""

import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from spike_assets.store.parquet import parquet_files
from spike_assets.store.tables import Table


def write_csv(table: Table, rows: pd.DataFrame, file: IO[str]) -> None:
    """Write a header and a line per row; NULL is an empty field."""
    text = as_text(table, rows)
    flags = {c.name: text[c.name].map({True: "true", False: "false"}) for c in table.columns if c.kind == "bool"}
    text.assign(**flags).to_csv(file, index=False, lineterminator="\n")


def write_json(table: Table, rows: pd.DataFrame, file: IO[str]) -> None:
    """Write an array with an object per row, each on a line of its own."""
    text = as_text(table, rows)
    file.write("[")
    for i, values in enumerate(zip(*(_plain(text[name]) for name in table.names), strict=True)):
        file.write(",\n" if i else "\n")
        file.write(json.dumps(dict(zip(table.names, values, strict=True))))
    file.write("\n]\n")


def write_parquet(table: Table, rows: pd.DataFrame, path: Path | None) -> None:
    """Write a Parquet file, or to stdout; times are timestamps in UTC."""
    if path is not None:
        with parquet_files() as files:
            files.write(path, table.columns, rows)
        return
    with tempfile.TemporaryDirectory() as folder:  # a Parquet file is written to a place that has a name
        write_parquet(table, rows, Path(folder) / "rows")
        sys.stdout.buffer.write((Path(folder) / "rows").read_bytes())


def as_text(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Give the rows with times as text, the rest as it is."""
    times = {
        c.name: pd.Series(rows[c.name].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), dtype=object)
        for c in table.columns
        if c.kind == "time"
    }
    return rows.assign(**times)


def _plain(values: "pd.Series[Any]") -> Iterator[Any]:
    """Give values as JSON knows them: NULL is null."""
    items: Iterable[Any] = values.astype(object).tolist()
    return (None if v is pd.NA or v is None or (isinstance(v, float) and math.isnan(v)) else v for v in items)
