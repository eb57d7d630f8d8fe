"""What every answer of the dashboard is made from: a pipeline, and where people reach what."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spike_assets.deadline import Deadline
from spike_assets.pipeline.context import Pipeline
from spike_assets.settings import Settings
from spike_assets.store.store import Session, Store

Finish = Callable[[], Any]
"""The rest of an answer, for which the store does not have to be open: a reader lets go of it as soon as it can."""

Query = Callable[[Session], Finish]
"""Reads from an open store what is needed."""


_TURN = 0.01
"""Seconds of an opening within which another step is begun."""


@dataclass(frozen=True)
class Question:
    """Something to be read, in steps between which others get their turn: no pass waits long for it.

    Opening the store takes longer than many a step, so steps that are quick share an opening.

    Attributes
    ----------
    steps
        Each reads from the store; a step may use what those before it have read.
    finish
        Makes the answer of what the steps ended in.
    """

    steps: tuple[Query, ...]
    finish: Callable[[list[Any]], Any]

    @classmethod
    def of(cls, query: Query) -> "Question":
        """Give the question of one step."""
        return cls((query,), lambda found: found[0])

    def ask(self, store: Store, deadline: Deadline, purpose: str) -> Any:
        """Read it, and give the answer."""
        finishes: list[Finish] = []
        while len(finishes) < len(self.steps):
            with store.reading(deadline, purpose) as session:
                over = time.monotonic() + _TURN
                finishes.append(self.steps[len(finishes)](session))
                while len(finishes) < len(self.steps) and time.monotonic() < over:
                    finishes.append(self.steps[len(finishes)](session))
        return self.finish([finish() for finish in finishes])


@dataclass(frozen=True)
class Site:
    """A pipeline that is looked at.

    Attributes
    ----------
    public_url, dagster_url
        Where people reach the dashboard and the Dagster UI; None when nobody said.
    """

    pipeline: Pipeline
    public_url: str | None = None
    dagster_url: str | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, settings: Settings) -> "Site":
        """Give the site that settings ask for."""
        return cls(pipeline, settings.public_url, settings.dagster_url)

    def now(self) -> datetime:
        """Give the time of day, UTC."""
        return self.pipeline.clock()
