"""What a chart is drawn from: candles with their ATR and relative volume. Levels are in `levels`."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from spike_assets import market_hours
from spike_assets.core.features import against_slot
from spike_assets.dashboard.site import Finish
from spike_assets.dashboard.views import Record, chosen, records
from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.store.queries import CANDLE_COLUMNS
from spike_assets.store.store import Session
from spike_assets.store.tables import Column

_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_SHOWN = ("time", "open", "high", "low", "close", "volume", "atr", "relative_volume", "suspect")
_COLUMNS = (*CANDLE_COLUMNS, Column("relative_volume", "float", "…", "below 10 samples"))


def candles(
    session: Session, granularity: Granularity, instrument: str, *, limit: int, before: datetime | None = None
) -> Finish:
    """Read the newest candles of an instrument that open before a time, for `GET /api/candles`."""
    newest = session.data.last_time(granularity)
    end = before or (_LATEST if newest is None else newest + timedelta(microseconds=1))
    decimals = session.ops.decimals([instrument])[instrument]
    # One more than is asked for tells whether there are older ones; relative_volume looks back further still.
    start = market_hours.nth_candle_before(granularity, end, limit + 1) - 2 * granularity.lookback
    rows = session.queries.candles(granularity, max(start, EARLIEST), end, [instrument])
    if len(rows) <= limit and newest is not None:  # holes, or no more than that at all
        rows = session.queries.candles(granularity, EARLIEST, end, [instrument])

    def finish() -> Record:
        return {
            "instrument": instrument,
            "granularity": granularity.name,
            "decimals": decimals,
            "candles": [candle for _, candle in shown(with_volume(granularity, rows).tail(limit))],
            "more": len(rows) > limit,
        }

    return finish


def with_volume(granularity: Granularity, rows: pd.DataFrame) -> pd.DataFrame:
    """Give candles, sorted by (instrument, time), with `relative_volume` against those before them."""
    relative, _ = against_slot(rows, rows, granularity)
    return rows.assign(relative_volume=relative)


def shown(rows: pd.DataFrame) -> list[tuple[str, Record]]:
    """Give candles as the page knows them, each with its instrument; without an ATR row none is suspect."""
    return [
        (one["instrument"], chosen(one, *_SHOWN) | {"suspect": bool(one["suspect"])}) for one in records(rows, _COLUMNS)
    ]
