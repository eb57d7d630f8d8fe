"""Writes the data dictionary, `docs/data.md`, from the declared tables: `python -m spike_assets.store.dictionary`."""

from spike_assets.store.ops_tables import OPS_TABLES
from spike_assets.store.tables import SQL_TYPES, TABLES, Table

_HEAD = """\
# Data dictionary

Written by `make docs` from `spike_assets/store/tables.py` and `ops_tables.py`; a test holds it to the schema.

Each granularity has a schema of its own (`h1`, `h4`, `d`, `w`) with the same tables, named like the Dagster assets.
`time` is a candle's **open**, `closed_at` its close; all times are UTC. Prices are in units of the quote currency,
volumes in ticks (prices created). A float is never NaN or infinite: what is not defined is NULL.
Columns in *italics* say how a row came about and are outside the invariant.

`{schema}.now` is a view: for each instrument the last event and its level, hours and candles since it, and
`resistances_30`, as of now rather than as of an event. All but `resistances_30` are NULL for an instrument that never
had one.
"""


def data_dictionary() -> str:
    """Give the data dictionary as Markdown."""
    parts = [_HEAD]
    parts += [_section(f"{{schema}}.{table.name}", table) for table in TABLES.values()]
    parts += [_section(f"ops.{table.name}", table) for table in OPS_TABLES.values()]
    return "\n".join(parts)


def _section(name: str, table: Table) -> str:
    lines = [f"## {name}", "", table.meaning, "", "| column | type | meaning | NULL |", "|---|---|---|---|"]
    for column in table.columns:
        shown = f"**{column.name}**" if column.name in table.key else column.name
        shown = f"*{column.name}*" if column.name in table.bookkeeping else shown
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| {shown} | {SQL_TYPES[column.kind]} | {meaning} | {column.null or 'never'} |")
    return "\n".join([*lines, "", "Key: **" + ", ".join(table.key) + "**", ""])


if __name__ == "__main__":
    print(data_dictionary(), end="")
