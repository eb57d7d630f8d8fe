"""Other people's words in one line of ours, without our secrets in them."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

_SHORTEST_SECRET = 4
"""Shorter parts of a URL are words like `yes`, which a reason may well have in it."""

_LONGEST = 200


def redacted(says: str, secrets: Iterable[str]) -> str:
    """Give at most the first 200 characters of what was said, in one line, secrets struck out."""
    line = " ".join("".join(c if c.isprintable() else " " for c in says).split())
    for part in sorted(filter(None, set(secrets)), key=len, reverse=True):
        line = line.replace(part, "****")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def parts_of(url: str, host: str = "") -> set[str]:
    """Give every part of a URL that may be a secret: all but its schema, and the host where one is given."""
    _, _, rest = url.partition("://")
    raw = {url, rest, *re.split(r"[/?&=@:,#\s]+", rest)}
    return {part for given in raw for part in (given, unquote(given)) if len(part) >= _SHORTEST_SECRET} - {host}
