"""What an operator looks at: passes, sizes, quarantine, who is late or unavailable, and what was not delivered."""

import json
from pathlib import Path

import pandas as pd

from spike_assets.dashboard.site import Finish, Question, Site
from spike_assets.dashboard.standing import depth, statuses
from spike_assets.dashboard.views import Record, iso, records
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.store.ops_tables import PASSES
from spike_assets.store.store import Session
from spike_assets.store.tables import TABLES

_RUNS = frozenset({"schedule", "ui"})
"""What only Dagster starts; backfills and reconciles may come from the command line, too."""

_PASS = tuple(column for column in PASSES.columns if column.name != "process")


def passes(session: Session, site: Site, granularity: Granularity | None, limit: int, page: int) -> Finish:
    """Read passes, for `GET /api/passes`."""
    rows = session.queries.passes(granularity, limit, skip=(page - 1) * limit)
    return lambda: {"passes": shown(rows, site)}


def shown(rows: pd.DataFrame, site: Site) -> list[Record]:
    """Give passes as the page knows them."""
    return [
        one | {"stages": json.loads(one["stages"]), "run_url": _run_url(one, site.dagster_url)}
        for one in records(rows, _PASS)
    ]


def _run_url(one: Record, dagster_url: str | None) -> str | None:
    """Give where a pass is in Dagster: one that a schedule or the UI launched has the id of its run."""
    return f"{dagster_url}/runs/{one['pass_id']}" if dagster_url and one["trigger"] in _RUNS else None


def operations(site: Site) -> Question:
    """Ask for everything else, for `GET /api/operations`."""
    status = statuses(site, site.now())
    return Question(
        (_sizes, _trouble, _deliveries, *status.steps),
        lambda found: {
            **found[0],
            **found[1],
            **found[2],
            "late": [
                {"granularity": one.granularity.name, "instrument": name}
                for one in status.finish(found[3:]).granularities
                for name in one.late
            ],
            "database": {"path": site.pipeline.store.url, "megabytes": _megabytes(site.pipeline.store.url)},
        },
    )


def _sizes(session: Session) -> Finish:
    tables = [
        {"granularity": granularity.name, "table": name, "rows": session.data.count(granularity, table)}
        for granularity in GRANULARITIES.values()
        for name, table in TABLES.items()
    ]
    return lambda: {"tables": tables}


def _trouble(session: Session) -> Finish:
    quarantine = {name: session.queries.quarantined(granularity) for name, granularity in GRANULARITIES.items()}
    unavailable = {name: session.ops.unavailable(granularity) for name, granularity in GRANULARITIES.items()}
    incidents = session.outbox.incidents()
    return lambda: {
        "quarantine": [
            {"granularity": name, "reason": str(reason), "candles": int(n), "newest": iso(newest.to_pydatetime())}
            for name, rows in quarantine.items()
            for reason, n, newest in rows.itertuples(index=False)
        ],
        "unavailable": [
            {"granularity": name, "instrument": i, "since": iso(since.to_pydatetime()), "reason": reason}
            for name, rows in unavailable.items()
            for i, since, _, reason in rows.itertuples(index=False)
        ],
        "incidents": [{"incident": one.incident, "text": one.text, "since": iso(one.since_time)} for one in incidents],
    }


def _deliveries(session: Session) -> Finish:
    outbox, last_sent = depth(session), session.queries.last_sent()
    waiting, dead = outbox["waiting"], outbox["dead"]
    return lambda: {
        "outbox": {
            "waiting": sum(waiting.values()),
            "dead": sum(dead.values()),
            "by_channel": [
                {
                    "channel": channel,
                    "waiting": waiting.get(channel, 0),
                    "dead": dead.get(channel, 0),
                    "last_sent_at": iso(last_sent.get(channel)),
                }
                for channel in sorted({*waiting, *dead, *last_sent})
            ],
        }
    }


def _megabytes(url: str) -> float | None:
    """Give the size of the database's file; None where it is none."""
    path = Path(url)
    return round(path.stat().st_size / 1e6, 1) if path.is_file() else None
