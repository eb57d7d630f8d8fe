"""A store with something in every table, for whoever moves them all."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pandas as pd

from spike_assets.granularity import GRANULARITIES, H1
from spike_assets.market_hours import Window
from spike_assets.store.ops import Pass, Provenance, State
from spike_assets.store.outbox import Delivery, Incident, Item
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session, Store
from spike_assets.store.whole import PLACES
from spike_assets_tests.support import FOREVER, MemoryEngine, computed, simulated

NOW = datetime(2025, 3, 10, tzinfo=UTC)
HISTORY = Window(NOW - timedelta(days=60), NOW)


def filled() -> Store:
    """Give a store with something in every table of H1 and of `ops`, but for `ops.grids`."""
    store = Store(MemoryEngine())
    with store.writing(FOREVER, "a test") as session, session.transaction():
        frame = simulated(H1, ("EUR_USD", "USD_JPY"), HISTORY)
        made = computed(frame, H1, NOW)
        for place in PLACES:
            if place.schema == "ops":
                continue
            if place.table.name in made and place.schema == "h1":
                rows = made[place.table.name][list(place.table.names)]
                session.whole.add(place, rows)
        _fill(session)
    return store


def _fill(session: Session) -> None:
    candle = simulated(H1, ("EUR_USD",), Window(NOW, NOW + timedelta(hours=1)))
    bad = candle.assign(reason="price_not_finite", open=np.inf, low=-np.inf, close=np.nan, volume=-0.5)
    session.data.write_quarantine(H1, bad, NOW)
    for granularity in GRANULARITIES.values():
        session.ops.write_state(granularity, State(NOW, NOW, None, 2, 17))
        session.ops.record(Pass(granularity.name, "cli", None, NOW, NOW, NOW, "failed", error="ü\n'%?", process="a/1"))
    session.ops.write_provenance(Provenance("simulated", "mid", 14, 1, 0.1 + 0.2))
    session.ops.write_unavailable(H1, "USD_RON", "no such thing", NOW)
    session.ops.write_pips({"EUR_USD": -4})
    session.ops.write_backfilled(H1, NOW, "all", NOW)
    session.pending.mark(H1, ["atr", "events"], [Mark("EUR_USD", NOW, NOW + timedelta(hours=1))])
    alert = str(UUID(int=7))
    session.outbox.put([Item("desk", alert, "H1", "*", NOW, "told", NOW, "said", str(UUID(int=9)))])
    session.outbox.freeze(Delivery("desk", 0, "digest", "H1", NOW, '{"ü": "x"}', NOW, NOW, NOW))
    session.outbox.freeze(Delivery("desk", 0, "operational", None, None, "{}", NOW, NOW, NOW))
    session.outbox.silence("EUR_USD", NOW, NOW + timedelta(hours=1))
    session.outbox.open_incident(Incident("H1 failed", "…", NOW))
    session.queries.acknowledge([alert], NOW)


def everything(store: Store) -> dict[str, pd.DataFrame]:
    with store.reading(FOREVER) as session:
        return {place.name: session.whole.rows(place, None) for place in PLACES}
