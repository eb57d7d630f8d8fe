"""What pages and metrics ask of the store: filtered, sorted and paged reads over several tables at once.

Rows in key order, and writing, are the business of `store.data`. One SQL text serves every engine.
"""

from spike_assets.store.queries.alerts import TOLD_COLUMNS, AlertFilter, AlertQueries
from spike_assets.store.queries.candles import CANDLE_COLUMNS, CandleQueries
from spike_assets.store.queries.events import EVENT_COLUMNS, EVENT_SORTS, EventFilter, EventQueries
from spike_assets.store.queries.parts import Key
from spike_assets.store.queries.running import RunningQueries

__all__ = [
    "CANDLE_COLUMNS",
    "EVENT_COLUMNS",
    "EVENT_SORTS",
    "TOLD_COLUMNS",
    "AlertFilter",
    "EventFilter",
    "Key",
    "Queries",
]


class Queries(CandleQueries, EventQueries, AlertQueries, RunningQueries):
    """Reads for pages and metrics, through one open connection."""
