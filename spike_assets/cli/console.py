"""How output looks: stdout for results, stderr for progress, eighty columns unless the terminal is wider."""

from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table


def out() -> Console:
    """Give the console of results."""
    return Console(highlight=False, soft_wrap=False)


def err() -> Console:
    """Give the console of progress and remarks."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def plain_table(*columns: tuple[str, bool]) -> Table:
    """Give a table without lines; a column is its header and whether it holds numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", footer_style="bold", padding=(0, 2, 0, 0))
    for header, number in columns:
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    return table


def rough(span: timedelta) -> str:
    """Give a length of time as a person says it: `2 min`, `3 hrs`, `1 day`."""
    minutes = max(0, round(span.total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours = round(minutes / 60)
    if hours < 48:
        return f"{hours} {'hr' if hours == 1 else 'hrs'}"
    return f"{round(hours / 24)} days"


def minute(time: datetime) -> str:
    """Give a time to the minute, UTC."""
    return f"{time:%Y-%m-%d %H:%M}"


def count(n: int, noun: str) -> str:
    """Give a number with its noun: `1 candle`, `1,200 candles`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
