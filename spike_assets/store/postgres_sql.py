"""The store's SQL as Postgres takes it: the same text, its parameters and its types of text spelled otherwise."""

import re
from functools import lru_cache

_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\?|%", re.DOTALL)
"""Literals, quoted names and comments, in which a question mark is none of ours; parameters; percent signs."""
_CONTAINS = re.compile(r"\blist_contains\(\?, ([\w.]+)\)")
_TEXT = re.compile(r"\bVARCHAR\b(?! COLLATE)")
_TABLE = re.compile(r"^CREATE TABLE (\w+\.\w+) \($(.*?)^\);$", re.MULTILINE | re.DOTALL)
_ASKED_BY = ("time", "fetched_at")
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=1000)
def translated(sql: str) -> str:
    """Give a statement with `%s` for each `?` that is a parameter, and every percent sign doubled."""
    spelled = _CONTAINS.sub(r"\1 = ANY(?)", sql)
    return _PARTS.sub(lambda found: "%s" if found[0] == "?" else found[0].replace("%", "%%"), spelled)


@lru_cache(maxsize=1000)
def words(sql: str) -> frozenset[str]:
    """Give the words of a statement."""
    return frozenset(_WORD.findall(sql))


def ddl(sql: str) -> str:
    """Give a migration as Postgres is to run it.

    Text is ordered by its bytes, as DuckDB does it, whatever the database's own order is. And each table of a
    granularity has indexes by its times: a stretch of time is asked for as often as an instrument's, and when a candle
    was fetched last; Postgres has no zone maps that would find it.
    """
    indexes = [
        f"CREATE INDEX ON {table} ({column});"
        for table, columns in _TABLE.findall(sql)
        for column in _ASKED_BY
        if not table.startswith("ops.") and re.search(rf"^    {column} +TIMESTAMPTZ", columns, re.MULTILINE)
    ]
    return _TEXT.sub('VARCHAR COLLATE "C"', sql) + "\n".join(["", *indexes])
