"""What a stage tells of its work."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pandas as pd

from spike_assets.store.data import Changes

Status = Literal["success", "no_new_data", "failed"]
"""How a pass ended."""


_NOTHING = pd.DataFrame({"instrument": [], "time": []})
"""Shared by all that have touched nothing, and never changed."""


@dataclass
class Summary:
    """The work of one stage.

    Attributes
    ----------
    stage
        Name of the stage, which is the name of its table.
    added, updated, removed
        How many rows of the table were.
    changed
        One row per row touched: instrument, time.
    quarantined
        How many candles went into quarantine that were not there yet.
    missing
        Instruments that were asked for and lack the newest candle.
    unavailable
        Instruments that the source does not know.
    milliseconds
        How long the stage took.
    """

    stage: str
    added: int = 0
    updated: int = 0
    removed: int = 0
    changed: pd.DataFrame = field(default_factory=lambda: _NOTHING)
    quarantined: int = 0
    missing: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def take(self, changes: Changes) -> None:
        """Add what one write did."""
        self.added += changes.added
        self.updated += changes.updated
        self.removed += changes.removed
        if changes.rows:
            self.changed = pd.concat([self.changed, changes.keys]) if len(self.changed) else changes.keys

    @property
    def rows(self) -> int:
        """How many rows were touched."""
        return self.added + self.updated + self.removed

    @property
    def changed_range(self) -> tuple[datetime, datetime] | None:
        """Opens of the first and the last candle whose rows were touched."""
        if self.changed.empty:
            return None
        return self.changed["time"].min().to_pydatetime(), self.changed["time"].max().to_pydatetime()

    def by_instrument(self) -> dict[str, int]:
        """Give how many rows of each instrument were touched."""
        return {str(name): int(n) for name, n in self.changed.groupby("instrument").size().items()}

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Add what the block took."""
        start = time.perf_counter()
        yield
        self.milliseconds += (time.perf_counter() - start) * 1000


def status_of(summaries: Iterable[Summary]) -> Status:
    """Say how a pass went that did not fail: with no new data, when it stored nothing and had nothing pending."""
    return "success" if any(summary.rows or summary.quarantined for summary in summaries) else "no_new_data"
