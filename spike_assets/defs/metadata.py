"""What an asset shows of its table and of a run: column schema, numbers per partition, a preview.

Numbers that Dagster plots over time are those of one partition, in range runs too; what is true of a whole run only
stands in `run`, which is not plotted. No stage runs here and nothing is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from spike_assets import market_hours
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline.summary import Summary
from spike_assets.store.tables import SQL_TYPES, Table

PREVIEW_ROWS = 30
PREVIEW_COLUMNS = 8

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """What the store holds in a run's window: rows of the asset's table, keys of its parent and of quarantine."""

    rows: pd.DataFrame
    parent: pd.DataFrame | None
    quarantined: pd.DataFrame


def column_schema(table: Table) -> dg.TableSchema:
    """Give the declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                SQL_TYPES[column.kind],
                column.meaning + (f"; NULL {column.null}" if column.null else ""),
                dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"one row per ({', '.join(table.key)})"]),
    )


def of_run(table: Table, window: Window, partitions: int, summary: Summary, stored: Stored) -> Metadata:
    """Give what is true of the run as a whole."""
    run: Metadata = {
        "window": _span(window.start, window.end),
        "run": dg.MetadataValue.json(
            {
                "partitions": partitions,
                "added": summary.added,
                "updated": summary.updated,
                "removed": summary.removed,
                "newly_quarantined": summary.quarantined,
                "milliseconds": round(summary.milliseconds, 1),
            }
        ),
    }
    if summary.changed_range:
        run["changed_range"] = _span(*summary.changed_range)
    if summary.missing:
        run["missing"] = ", ".join(summary.missing)
    if summary.unavailable:
        run["unavailable"] = ", ".join(summary.unavailable)
    if partitions == 1:
        run["preview"] = dg.MetadataValue.md(preview(table, stored.rows))
    return run


def of_partitions(
    granularity: Granularity, opens: Sequence[datetime], summary: Summary, stored: Stored
) -> dict[datetime, Metadata]:
    """Give the numbers of each partition, by the open of its candle.

    `rows` and `quarantined` are what the store holds of it, `changed` the rows of it that the run added, changed or
    removed, `milliseconds` its share of the stage's time.
    """
    rows, changed, quarantined = (
        _per_candle(granularity, frame) for frame in (stored.rows, summary.changed, stored.quarantined)
    )
    share = round(summary.milliseconds / len(opens), 3)
    numbers: dict[datetime, Metadata] = {}
    for open_ in opens:
        numbers[open_] = {
            "dagster/partition_row_count": rows.get(open_, 0),
            "rows": rows.get(open_, 0),
            "changed": changed.get(open_, 0),
            "milliseconds": share,
        }
        if summary.stage == "candles":
            numbers[open_]["quarantined"] = quarantined.get(open_, 0)
    return numbers


def preview(table: Table, rows: pd.DataFrame) -> str:
    """Give the rows of one candle time as a Markdown table."""
    if rows.empty:
        return f"no {table.name} at this time"
    names = [name for name in table.names if name != "time" and name not in table.bookkeeping][:PREVIEW_COLUMNS]
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(map(_cell, row)) for row in rows[names].head(PREVIEW_ROWS).itertuples(index=False)]
    more = len(rows) - PREVIEW_ROWS
    return "\n".join(f"| {line} |" for line in lines) + (f"\n\nand {more} more" if more > 0 else "")


def _per_candle(granularity: Granularity, rows: pd.DataFrame) -> Mapping[datetime, int]:
    """Count rows by the open of the candle that their time falls in."""
    if rows.empty:
        return {}
    opens = market_hours.candle_open(granularity, market_hours.utc_index(rows["time"]))
    counts = opens.value_counts()
    return {time.to_pydatetime().astimezone(UTC): int(n) for time, n in counts.items()}  # type: ignore[attr-defined]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None or value is pd.NA else str(value)


def _span(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} UTC"
