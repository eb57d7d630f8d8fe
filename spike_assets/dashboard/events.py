"""Events as the page's table shows them, a page at a time, one with all its features, or all as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from spike_assets.dashboard.alerts import described_alerts
from spike_assets.dashboard.charts import Broken
from spike_assets.dashboard.site import Finish
from spike_assets.dashboard.views import Record, iso, records
from spike_assets.granularity import Granularity
from spike_assets.store.queries import EVENT_COLUMNS, EventFilter, Key
from spike_assets.store.store import Session
from spike_assets.store.tables import FEATURES

PAGE = 50
"""Rows of a page."""

PIECE = 5_000
"""Rows that are read at once for a CSV: others get their turn in between."""

CSV_COLUMNS = (
    "event_id", "instrument", "granularity", "time", "closed_at", "level", "atr", "rebound_atr", "volume",
    "relative_volume", "volume_z", "pattern", "pattern_run", "distance_atr", "suspect", "rules",
)  # fmt: skip


def page(session: Session, asked: EventFilter, sort: str, number: int) -> Finish:
    """Read a page of events, for `GET /api/events`."""
    total = session.queries.count_events(asked)
    keys = session.queries.event_keys(asked, sort, PAGE, (number - 1) * PAGE)
    finish_rows = described_events(session, asked.granularity, keys)
    return lambda: {"events": finish_rows(), **paged(total, number)}


def feature_page(session: Session, asked: EventFilter, sort: str, number: int) -> Finish:
    """Read a page of features, for `GET /api/features`."""
    total = session.queries.count_events(asked)
    keys = session.queries.event_keys(asked, sort, PAGE, (number - 1) * PAGE)
    rows = session.queries.features(asked.granularity, keys)
    return lambda: {"features": records(rows, FEATURES.columns), **paged(total, number)}


def paged(total: int, number: int) -> Record:
    """Say which page this is, of how many."""
    return {"total": total, "page": number, "pages": max(1, -(-total // PAGE))}


def described_events(session: Session, granularity: Granularity, keys: Sequence[Key]) -> Finish:
    """Read events by their keys, as the page knows them."""
    rows = session.queries.events(granularity, keys)
    decimals = session.ops.decimals(sorted({key.instrument for key in keys}))
    return lambda: shown(granularity, rows, decimals)


def shown(granularity: Granularity, rows: pd.DataFrame, decimals: dict[str, int]) -> list[Record]:
    """Give rows of `Queries.events` as the page knows them."""
    return [
        one
        | {
            "granularity": granularity.name,
            "decimals": decimals[one["instrument"]],
            "rules": one["rules"].split(",") if one["rules"] else [],
        }
        for one in records(rows, EVENT_COLUMNS)
    ]


def detail(session: Session, event_id: str) -> Finish | None:
    """Read one event with all its features, for `GET /api/events/…`; None where there is none of that id."""
    place = session.queries.event(event_id)
    if place is None:
        return None
    granularity, key = place
    finish_rows = described_events(session, granularity, [key])
    features = session.queries.features(granularity, [key])
    closes = session.queries.closes(granularity, key.instrument)
    finish_alerts = described_alerts(session, [(granularity, key)])

    def finish() -> Record:
        event: Record = finish_rows()[0]
        found = records(features, FEATURES.columns)
        at = pd.DataFrame({"time": [pd.Timestamp(key.time)], "level": [event["level"]]})
        broken = Broken(closes, at).broken_at(0)
        alerts = finish_alerts()
        return event | {
            "features": {name: value for name, value in found[0].items() if name not in FEATURES.key} if found else {},
            "alert": alerts[0] if alerts else None,
            "broken_at": iso(broken),
        }

    return finish


def csv_head() -> bytes:
    """Give the first line of a CSV."""
    return _csv([CSV_COLUMNS])


def csv_piece(session: Session, asked: EventFilter, behind: Key | None) -> Finish:
    """Read the next rows of a CSV, oldest first; it ends in these and the key that the next ones are behind."""
    keys = session.queries.event_keys_behind(asked, behind, PIECE)
    finish_rows = described_events(session, asked.granularity, keys)

    def finish() -> tuple[bytes, Key | None]:
        rows = [[_cell(one[name]) for name in CSV_COLUMNS] for one in finish_rows()]
        return _csv(rows), keys[-1] if len(keys) == PIECE else None

    return finish


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else value


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
