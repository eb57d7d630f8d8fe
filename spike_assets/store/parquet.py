"""Rows as Parquet files and back, bit for bit. Times are timestamps in UTC, UUIDs text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from spike_assets.store.duckdb_engine import DuckDBConnection
from spike_assets.store.tables import SQL_TYPES, Column, Kind

_TYPES: dict[Kind, str] = SQL_TYPES | {"uuid": "VARCHAR"}


class ParquetFiles:
    """Writes and reads files; what goes wrong is raised as DuckDB raises it."""

    def __init__(self, connection: DuckDBConnection) -> None:
        self._connection = connection

    def write(self, path: Path, columns: Sequence[Column], rows: pd.DataFrame) -> None:
        """Write rows, in their order."""
        casts = ", ".join(f"CAST({c.name} AS {_TYPES[c.kind]}) AS {c.name}" for c in columns)
        quoted = str(path).replace("'", "''")
        self._connection.load("written", columns, rows)
        self._connection.execute(
            f"COPY (SELECT {casts} FROM written) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608
        )

    def read(self, path: Path, columns: Sequence[Column]) -> pd.DataFrame:
        """Give the rows of a file, in their order, typed (`store.rows`)."""
        names = ", ".join(column.name for column in columns)
        return self._connection.frame(f"SELECT {names} FROM read_parquet(?)", columns, [str(path)])  # noqa: S608


@contextmanager
def parquet_files() -> Iterator[ParquetFiles]:
    """Be ready to write and read files inside the block: that takes longer than a small file."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield ParquetFiles(DuckDBConnection(connection))
