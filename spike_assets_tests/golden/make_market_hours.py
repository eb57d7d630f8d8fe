"""Writes the golden calendar of 2024, 2025 and 2026, by a plain walk over every hour.

README: run `python spike_assets_tests/golden/make_market_hours.py` to write `days.csv` and `weeks.csv` beside this
file, or name another folder as its argument. Any Python with a time zone database will do: the script uses the
standard library only and knows nothing of `spike_assets`. Read its output before committing it.

Each UTC hour is looked at on a clock in New York: what the clock shows decides whether the market is open and
whether a candle opens. There is no arithmetic with offsets here, so there is none to get wrong.

`days.csv`: one row per D candle of the grid, from 17:00 New York to the next.
    weekday      the day on which it opens, in New York
    market       `open` when the market trades in it, `closed` from Friday 17:00 to Sunday 17:00
    open, close  in UTC
    h4           the UTC hours at which its six H4 candles open, in order; each closes where the next one opens
`weeks.csv`: one row per W candle, from Friday 17:00 New York to the next.
    open, close              in UTC
    hours                    between the two: 168, or 167 and 169 when the clocks change
    first_open, last_close   of its H1 candles, in UTC
    h1, h4, d                how many candles of each granularity the open market makes in it
"""

import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
FIRST = datetime(2023, 12, 29, 17, tzinfo=NEW_YORK).astimezone(UTC)
LAST = datetime(2027, 1, 1, 17, tzinfo=NEW_YORK).astimezone(UTC)
HOUR = timedelta(hours=1)
FRIDAY = 4
SATURDAY = 5
SUNDAY = 6

Row = dict[str, str | int]


def hours(start: datetime, end: datetime) -> Iterator[datetime]:
    """Give every UTC hour of `[start, end)`."""
    while start < end:
        yield start
        start += HOUR


def market_is_open(hour: datetime) -> bool:
    """Tell whether the market is open in the hour that begins at `hour`."""
    clock = hour.astimezone(NEW_YORK)
    if clock.weekday() == FRIDAY:
        return clock.hour < 17
    if clock.weekday() == SATURDAY:
        return False
    if clock.weekday() == SUNDAY:
        return clock.hour >= 17
    return True


def h4_opens(hour: datetime) -> bool:
    """Tell whether an H4 candle opens: at these hours, and at 01:00 only the first time the clock shows it."""
    clock = hour.astimezone(NEW_YORK)
    return clock.hour in {17, 21, 1, 5, 9, 13} and clock.fold == 0


def d_opens(hour: datetime) -> bool:
    """Tell whether a D candle opens."""
    return hour.astimezone(NEW_YORK).hour == 17


def w_opens(hour: datetime) -> bool:
    """Tell whether a W candle opens."""
    return d_opens(hour) and hour.astimezone(NEW_YORK).weekday() == FRIDAY


def text(time: datetime) -> str:
    """Write a time as the golden files do."""
    return time.strftime("%Y-%m-%dT%H:%MZ")


def days() -> Iterator[Row]:
    """Give the rows of `days.csv`."""
    opens = [hour for hour in hours(FIRST, LAST + HOUR) if d_opens(hour)]
    for start, end in pairwise(opens):
        yield {
            "weekday": start.astimezone(NEW_YORK).strftime("%a"),
            "market": "open" if market_is_open(start) else "closed",
            "open": text(start),
            "close": text(end),
            "h4": " ".join(f"{hour.hour:02}" for hour in hours(start, end) if h4_opens(hour)),
        }


def weeks() -> Iterator[Row]:
    """Give the rows of `weeks.csv`."""
    opens = [hour for hour in hours(FIRST, LAST + HOUR) if w_opens(hour)]
    for start, end in pairwise(opens):
        traded = [hour for hour in hours(start, end) if market_is_open(hour)]
        yield {
            "open": text(start),
            "close": text(end),
            "hours": sum(1 for _ in hours(start, end)),
            "first_open": text(traded[0]),
            "last_close": text(traded[-1] + HOUR),
            "h1": len(traded),
            "h4": sum(h4_opens(hour) for hour in traded),
            "d": sum(d_opens(hour) for hour in traded),
        }


def write(path: Path, rows: list[Row]) -> None:
    """Write one golden file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write(folder / "days.csv", list(days()))
    write(folder / "weeks.csv", list(weeks()))
