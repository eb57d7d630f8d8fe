"""What arguments and options may say: granularities, times, and how long ago."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from spike_assets.granularity import EARLIEST, GRANULARITIES, LATEST, Granularity
from spike_assets.instruments import instrument

ALL = "all"
"""Stands for all four granularities, finest first."""

_AGO = re.compile(r"(\d{1,5})([hdw])")
_LENGTH = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class GranularityType(click.ParamType[Any]):
    """`H1`, `H4`, `D` or `W`, in any case; `all` where that makes sense. Converts to a tuple of granularities."""

    name = "granularity"

    def __init__(self, *, or_all: bool = False) -> None:
        self._names = [*GRANULARITIES, *([ALL] if or_all else [])]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Granularity, ...]:
        """Give the granularities that are meant."""
        if isinstance(value, tuple):
            return value
        if value.lower() == ALL and ALL in self._names:
            return tuple(GRANULARITIES.values())
        if value.upper() not in GRANULARITIES:
            self.fail(f"{value!r} is none of {', '.join(self._names)}", param, ctx)
        return (GRANULARITIES[value.upper()],)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Show the choice in the help."""
        return f"{{{'|'.join(self._names)}}}"


class TimeType(click.ParamType[Any]):
    """A date or an ISO 8601 time, UTC unless it has an offset; `24h`, `7d` or `2w` ago where `ago` is allowed."""

    name = "time"

    def __init__(self, *, ago: bool = False) -> None:
        self._ago = ago
        if ago:
            self.name = "time|ago"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Give the time in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            if self._ago and (ago := _AGO.fullmatch(value)):
                return datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
            time = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            or_ago = ", or how long ago, like 24h or 7d" if self._ago else ""
            self.fail(f"{value!r} is no time; write a date or an ISO time, like 2025-03-10T05:00Z{or_ago}", param, ctx)
        if not EARLIEST.year <= time.year <= LATEST.year:
            self.fail(f"{value!r} lies outside {EARLIEST.year} to {LATEST.year}", param, ctx)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class LengthType(click.ParamType[Any]):
    """A length of time: `30m`, `2h`, `3d` or `1w`."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Give the length."""
        if isinstance(value, timedelta):
            return value
        found = _LENGTH.fullmatch(value)
        if not found or not int(found[1]):
            self.fail(f"{value!r} is no length of time; write one like 30m, 2h, 3d or 1w", param, ctx)
        return int(found[1]) * (_UNITS | {"m": timedelta(minutes=1)})[found[2]]


class InstrumentType(click.ParamType[Any]):
    """An instrument, like EUR_USD."""

    name = "instrument"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the symbol in capitals."""
        try:
            return instrument(value.upper().replace("/", "_")).name
        except ValueError as error:
            self.fail(str(error), param, ctx)
