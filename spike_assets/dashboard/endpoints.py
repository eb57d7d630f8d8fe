"""The HTTP API declared as data: its paths, parameters and answers. `api` answers them, `openapi` prints them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spike_assets.dashboard import asked
from spike_assets.dashboard.asked import Parameter

EVENTS = (
    asked.GRANULARITY,
    asked.INSTRUMENTS,
    asked.PATTERN,
    asked.RULE,
    asked.SINCE,
    asked.SUSPECT,
)


@dataclass(frozen=True)
class Endpoint:
    """One thing that the API answers.

    Attributes
    ----------
    name
        Of the function that answers it.
    fields
        What the answer has, by name: in words.
    writes
        It changes something: it needs the header `X-Spike: 1` besides an own `Origin`.
    body
        What a JSON body has to have, by name.
    media
        The type of an answer that is no JSON.
    """

    name: str
    path: str
    summary: str
    method: str = "GET"
    parameters: tuple[Parameter, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    writes: bool = False
    body: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"
    in_path: Mapping[str, str] = field(default_factory=dict)

    @property
    def success(self) -> int:
        """Status of an answer that went well."""
        return 204 if self.writes else 200


_PAGED = {"total": "how many rows the filter has", "page": "this page", "pages": "how many there are"}
_EVENT = (
    "event_id, instrument, granularity, time, closed_at, level, decimals, atr, rebound_atr, volume, relative_volume,"
    " volume_z, pattern, pattern_run, distance_atr, suspect, rules"
)
_ALERT = (
    "alert_id, event_id, instrument (`*` is many), granularity, time, closed_at, level, decimals, rules, reasons,"
    " members, text, acknowledged_at, deliveries (channel, status, delivery_status, sent_at, error)"
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "status",
        "/api/status",
        "How everything stands.",
        fields={
            "healthy": "whether nothing is wrong",
            "reasons": "what is wrong, one sentence each",
            "catching_up": "what is behind while passes go well right now, one sentence each",
            "granularities": "per granularity: last run, next close, lag, due_since (of the oldest candle that is not"
            " processed; null where all are), failures and so on",
            "market": "open or not, and until when",
            "instruments": "configured instruments with their decimals",
            "outbox": "messages that wait, and that were given up",
            "feed_lag_seconds": "how long candles have been due; null while the market is closed",
            "silences": "what nobody is told of, and until when",
        },
    ),
    Endpoint(
        "candles",
        "/api/candles",
        "Candles of an instrument, oldest first, with ATR and relative volume.",
        parameters=(asked.INSTRUMENT, asked.GRANULARITY, asked.CANDLES, asked.BEFORE),
        fields={
            "candles": "time, open, high, low, close, volume, atr, relative_volume, suspect",
            "more": "whether there are older ones",
            "decimals": "how many decimals its prices have",
        },
    ),
    Endpoint(
        "levels",
        "/api/levels",
        "Levels of an instrument's events, and the nearest ten older ones that no candle has closed above.",
        parameters=(asked.INSTRUMENT, asked.GRANULARITY, asked.FROM, asked.TO),
        fields={"levels": "event_id, time, closed_at, level, broken_at, suspect, pattern"},
    ),
    Endpoint(
        "events",
        "/api/events",
        "Events (new resistance levels), 50 a page.",
        parameters=(*EVENTS, asked.SORT, asked.PAGE, asked.ROWS),
        fields={"events": _EVENT, **_PAGED},
    ),
    Endpoint(
        "events_csv",
        "/api/events.csv",
        "All events of a filter as CSV, oldest first.",
        parameters=EVENTS,
        media="text/csv",
    ),
    Endpoint(
        "event",
        "/api/events/{event_id}",
        "One event with all its features, its alert, and when a candle closed above its level.",
        in_path={"event_id": "as in a list of events"},
        fields={
            "features": "as in docs/data.md",
            "alert": "null where it is none",
            "broken_at": "null while it stands",
        },
    ),
    Endpoint(
        "features",
        "/api/features",
        "Features of events, 50 a page.",
        parameters=(*EVENTS, asked.SORT, asked.PAGE, asked.ROWS),
        fields={"features": "the columns of the table `features` in docs/data.md", **_PAGED},
    ),
    Endpoint(
        "alerts",
        "/api/alerts",
        "Alerts, newest first, 50 a page.",
        parameters=(asked.ANY_GRANULARITY, asked.INSTRUMENTS, asked.ALERT_RULE, asked.STATE, asked.SINCE, asked.PAGE),
        fields={
            "alerts": _ALERT,
            **_PAGED,
            "unread": "recent alerts that nobody has acknowledged, whatever the filter",
            "unread_hours": "for so long after its candle closed an alert counts as recent",
        },
    ),
    Endpoint(
        "acknowledge",
        "/api/alerts/{alert_id}/acknowledge",
        "Note that somebody has seen an alert.",
        method="POST",
        writes=True,
        in_path={"alert_id": "as in a list of alerts"},
    ),
    Endpoint(
        "acknowledge_all",
        "/api/alerts/acknowledge",
        "Note that somebody has seen these alerts; what is not unread any more is left as it is.",
        method="POST",
        writes=True,
        body={"alert_ids": "1 to 500 of them, as in a list of alerts"},
    ),
    Endpoint(
        "silences",
        "/api/silences",
        "What nobody is told of.",
        fields={"silences": "instrument (`*` is everything) and until when"},
    ),
    Endpoint(
        "silence",
        "/api/silences",
        "Tell nobody of an instrument for a while; its alerts are stored as always.",
        method="POST",
        writes=True,
        body={"instrument": "like EUR_USD, or * for everything", "for": "how long: 30m, 2h, 3d or 1w"},
    ),
    Endpoint(
        "end_silence",
        "/api/silences/{instrument}",
        "End a silence.",
        method="DELETE",
        writes=True,
        in_path={"instrument": "like EUR_USD, or * for everything"},
    ),
    Endpoint(
        "passes",
        "/api/passes",
        "Passes, those that began last first.",
        parameters=(asked.ANY_GRANULARITY, asked.PASSES, asked.PAGE),
        fields={
            "passes": "pass_id, granularity, trigger, status, window_start, window_end, started_at, ended_at, candles,"
            " events, quarantined, stages (milliseconds each), error, run_url (of its run in Dagster)"
        },
    ),
    Endpoint(
        "operations",
        "/api/operations",
        "What an operator looks at.",
        fields={
            "tables": "rows of each",
            "quarantine": "candles by reason",
            "late": "instruments that lack the newest candle",
            "unavailable": "instruments that the source does not know",
            "outbox": "what waits and what was given up, by channel",
            "incidents": "what is wrong and was told of",
            "database": "where it is, and its size",
        },
    ),
)
"""Every endpoint under `/api` but the document itself and the live feed."""


def by_name() -> dict[str, Any]:
    """Give the endpoints by their names."""
    return {endpoint.name: endpoint for endpoint in ENDPOINTS}
