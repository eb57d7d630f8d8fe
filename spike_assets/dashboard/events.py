"""Events as the page's table shows them, a page at a time, one with all its features, or all as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from spike_assets.dashboard.alerts import described_alerts
from spike_assets.dashboard.site import Finish, Query, Question
from spike_assets.dashboard.views import Record, iso, records
from spike_assets.granularity import Granularity
from spike_assets.store.queries import EVENT_COLUMNS, EventFilter, Key
from spike_assets.store.store import Session
from spike_assets.store.tables import FEATURES

PAGE = 50
"""Rows of a page, unless somebody asks for more."""

PIECE = 5_000
"""Rows that are read at once for a CSV: others get their turn in between."""

CSV_COLUMNS = (
    "event_id", "instrument", "granularity", "time", "closed_at", "level", "atr", "rebound_atr", "volume",
    "relative_volume", "volume_z", "pattern", "pattern_run", "distance_atr", "suspect", "rules",
)  # fmt: skip


def page(asked: EventFilter, sort: str, number: int, size: int | None = None) -> Question:
    """Ask for a page of events, for `GET /api/events`."""
    size = size or PAGE

    def read(session: Session) -> Finish:
        keys = session.queries.event_keys(asked, sort, size, (number - 1) * size)
        return described_events(session, asked.granularity, keys)

    return Question((read, _total(asked)), lambda found: {"events": found[0], **paged(found[1], number, size)})


def feature_page(asked: EventFilter, sort: str, number: int, size: int | None = None) -> Question:
    """Ask for a page of features, for `GET /api/features`."""
    size = size or PAGE

    def read(session: Session) -> Finish:
        keys = session.queries.event_keys(asked, sort, size, (number - 1) * size)
        rows = session.queries.features(asked.granularity, keys)
        return lambda: records(rows, FEATURES.columns)

    return Question((read, _total(asked)), lambda found: {"features": found[0], **paged(found[1], number, size)})


def _total(asked: EventFilter) -> Query:
    """Count, as a step of its own: filters over several tables take as long for it as for a page."""

    def read(session: Session) -> Finish:
        total = session.queries.count_events(asked)
        return lambda: total

    return read


def paged(total: int, number: int, size: int) -> Record:
    """Say which page this is, of how many."""
    return {"total": total, "page": number, "pages": max(1, -(-total // size))}


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


def detail(event_id: str, none: Exception) -> Question:
    """Ask for one event with all its features, for `GET /api/events/…`; `none` is raised where there is none."""
    places: list[tuple[Granularity, Key]] = []

    def read(session: Session) -> Finish:
        place = session.queries.event(event_id)
        if place is None:
            raise none
        places.append(place)
        granularity, key = place
        finish_rows = described_events(session, granularity, [key])
        features = session.queries.features(granularity, [key])
        broken = session.queries.broken_at(granularity, key)
        return lambda: finish_rows()[0] | {"features": _features(features), "broken_at": iso(broken)}

    def finish(found: list[Any]) -> Record:
        event, alerts = found
        return {**event, "alert": alerts[0] if alerts else None}

    return Question((read, lambda session: described_alerts(session, places)), finish)


def _features(rows: pd.DataFrame) -> Record:
    found = records(rows, FEATURES.columns)
    return {name: value for name, value in found[0].items() if name not in FEATURES.key} if found else {}


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
