"""A glance into the store, the briefest of all: what tells whether anything has changed, granularity by granularity."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spike_assets.dashboard import operations
from spike_assets.dashboard.site import Finish, Question, Site
from spike_assets.dashboard.standing import besides
from spike_assets.dashboard.views import Record
from spike_assets.granularity import GRANULARITIES
from spike_assets.store.ops import Provenance
from spike_assets.store.store import Session

_PASSES = 50


@dataclass(frozen=True)
class Glance:
    """What a glance found.

    Attributes
    ----------
    passes
        The newest ones by id, those that began last first.
    sizes
        Per granularity: how many rows there are, when a candle was fetched last, and what waits for a stage.
    outbox
        Counts of what channels were told, and of what was acknowledged.
    besides
        What else a status says.
    """

    provenance: Provenance | None
    passes: Mapping[str, Record]
    sizes: Mapping[str, tuple[Any, ...]]
    outbox: tuple[Any, ...]
    besides: Record

    def rows(self, granularity: str) -> tuple[Any, ...]:
        """Give what is the same exactly while the rows of a granularity are."""
        return self.sizes[granularity], self._passes(granularity, running=False)

    def standing(self, granularity: str) -> tuple[Any, ...]:
        """Give what is the same while the status of a granularity is, but for the time of day."""
        return self.sizes[granularity], self._passes(granularity, running=True)

    def alerts(self) -> tuple[Any, ...]:
        """Give what is the same exactly while alerts, and what was told of them, are."""
        return self.outbox, *(self.rows(name) for name in self.sizes)

    def is_under_way(self) -> bool:
        """Tell whether a pass has begun and not told of its end."""
        return any(one["status"] == "running" for one in self.passes.values())

    def _passes(self, granularity: str, *, running: bool) -> tuple[Any, ...]:
        return tuple(
            (i, one["status"], one["ended_at"])
            for i, one in self.passes.items()
            if one["granularity"] == granularity and (running or one["status"] != "running")
        )


def glance(site: Site, now: datetime) -> Question:
    """Ask for a `Glance`."""

    def read(session: Session) -> Finish:
        queries = session.queries
        provenance, rows, pending = session.ops.provenance(), queries.passes(None, _PASSES), queries.waiting()
        sizes = {name: (*queries.sizes(one), pending.get(name)) for name, one in GRANULARITIES.items()}
        told = (queries.count_items(), queries.count_deliveries(), queries.count_acknowledged())
        finish_besides = besides(session, site, now)
        return lambda: Glance(
            provenance,
            {one["pass_id"]: one for one in operations.shown(rows, site)},
            sizes,
            told,
            finish_besides(),
        )

    return Question.of(read)
