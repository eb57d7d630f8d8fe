"""A made-up market as the dashboard's server would tell of it: for tests of the page, without store or pipeline.

The numbers are those of the simulated source and of `core`, so they look real. Everything is known from the start and
revealed candle by candle; each step gives the changes that the live feed would send.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pandas as pd

from spike_assets import market_hours
from spike_assets.core.alerts import Rules, alerts
from spike_assets.core.atr import atr
from spike_assets.core.events import events
from spike_assets.core.features import against_slot, features
from spike_assets.core.significance import PsychologicalLevel
from spike_assets.deadline import Deadline
from spike_assets.granularity import GRANULARITIES, H1, D, Granularity
from spike_assets.instruments import GRIDS, instrument
from spike_assets.market_hours import Window
from spike_assets.sources.simulated import SimulatedSource

Json = dict[str, Any]

NAMES = ("EUR_USD", "GBP_USD", "EUR_JPY", "USD_SEK", "CAD_CHF", "USD_HUF", "USD_ZAR")
NOW = datetime(2025, 11, 19, 15, 5, 2, tzinfo=UTC)
HISTORY = {"H1": timedelta(days=120), "D": timedelta(days=700)}
AHEAD = timedelta(days=4)
"""How far behind `NOW` candles can still be revealed."""

_RULES = Rules(PsychologicalLevel(GRIDS, {name: instrument(name).decimals for name in NAMES}))
_DESCENDING = "-"


def iso(time: datetime | pd.Timestamp) -> str:
    """Give a time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(row: Mapping[Any, Any]) -> Json:
    """Give a row as JSON holds it: no NaN, times as text."""
    return {str(key): _plain(value) for key, value in row.items()}


def without(row: Json, *names: str) -> Json:
    """Give a row without what the API leaves out of it."""
    return {key: value for key, value in row.items() if key not in names}


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return iso(value)
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


class Table:
    """Everything of one granularity, ahead of time.

    Attributes
    ----------
    candles, events, alerts
        As the API gives them, oldest first; candles by instrument.
    features
        All features by event id.
    """

    def __init__(self, granularity: Granularity) -> None:
        self.granularity = granularity
        window = Window(NOW - HISTORY[granularity.name], NOW + AHEAD)
        fetched = SimulatedSource().fetch(
            granularity, dict.fromkeys(NAMES, window), now=NOW + AHEAD, deadline=Deadline.after(timedelta(minutes=1))
        )
        candles = fetched.candles.sort_values(["instrument", "time"], ignore_index=True)
        ranges = atr(candles)
        found = events(candles, ranges, granularity)
        known = features(found, candles, granularity)
        relative, _ = against_slot(candles, candles, granularity)
        rows = candles.assign(atr=ranges["atr"], suspect=ranges["suspect"], relative_volume=relative)
        self.candles = {
            str(name): [without(plain(row), "instrument") for row in part] for name, part in _by_instrument(rows)
        }
        self.features = {
            str(event_id): without(plain(row), "instrument", "time")
            for event_id, row in zip(found["event_id"], known.to_dict("records"), strict=True)
        }
        self.alerts = self._alerts(found, known, candles)
        rules = {alert["event_id"]: alert["rules"] for alert in self.alerts if alert["event_id"]}
        self.events = sorted(
            (self._event(plain(row), rules) for row in found.to_dict("records")),
            key=lambda event: (event["closed_at"], event["instrument"]),
        )
        self.broken_at = {event["event_id"]: self._broken_at(event) for event in self.events}

    def _broken_at(self, event: Json) -> str | None:
        later = (candle for candle in self.candles[event["instrument"]] if candle["time"] > event["time"])
        return next((str(candle["time"]) for candle in later if candle["close"] > event["level"]), None)

    def _event(self, row: Json, rules: Mapping[str, list[str]]) -> Json:
        of = self.features[row["event_id"]]
        names = ("relative_volume", "volume_z", "pattern", "pattern_run", "distance_atr")
        return {
            "granularity": self.granularity.name,
            "decimals": instrument(row["instrument"]).decimals,
            "rules": rules.get(row["event_id"], []),
            **without(row, "rebound", "hour_of_day", "day_of_week"),
            **{name: of[name] for name in names},
        }

    def _alerts(self, found: pd.DataFrame, known: pd.DataFrame, candles: pd.DataFrame) -> list[Json]:
        columns = ["relative_volume", "volume_z", "pattern", "pattern_run"]
        closes = candles.set_index(["instrument", "time"])["close"]
        keys = pd.MultiIndex.from_frame(found[["instrument", "time"]])
        met = found.assign(close=closes.reindex(keys).to_numpy(), **{name: known[name] for name in columns})
        rows = [plain(row) for row in alerts(met, candles, self.granularity, _RULES).to_dict("records")]
        return sorted(map(self._alert, rows), key=lambda row: (row["closed_at"], row["instrument"]))

    def _alert(self, row: Json) -> Json:
        name = row["instrument"]
        decimals = None if name == "*" else instrument(name).decimals
        at = "" if decimals is None else f" {row['level']:.{decimals}f}"
        return {
            **row,
            "granularity": self.granularity.name,
            "decimals": decimals,
            "rules": row["rules"].split(","),
            "reasons": json.loads(row["reasons"]),
            "members": row["members"].split(",") if row["members"] else [],
            "text": f"{'Many at once' if name == '*' else name}{at} {row['rules']}",
        }


@cache
def _table(granularity: Granularity) -> Table:
    return Table(granularity)


@cache
def closed(granularity: Granularity, at: datetime) -> Window:
    """Give the candle that closed last by a time; asked for again and again."""
    return market_hours.last_closed(granularity, at)


@cache
def next_close(granularity: Granularity, at: datetime) -> datetime:
    """Give when a candle closes next."""
    return market_hours.next_close(granularity, at)


def _by_instrument(rows: pd.DataFrame) -> Iterable[tuple[Any, list[Any]]]:
    for name, part in rows.groupby("instrument", sort=False):
        yield name, part.to_dict("records")


class Market:
    """What the server knows at `at`, and what visitors did."""

    def __init__(self) -> None:
        self.tables = {granularity.name: _table(granularity) for granularity in (H1, D)}
        self.at = NOW
        self.acknowledged: dict[str, str] = {}
        self.silences: dict[str, str] = {}
        self.healthy = True
        self.behind = 0
        self.due_since: datetime | None = None
        self.unseen = timedelta(0)  # how long ago the store could last be read
        self.passes = [self._pass(n) for n in range(60)]
        for alert in self._seen("D", "alerts")[:-1] + self._seen("H1", "alerts")[:-4]:
            self.acknowledged[alert["alert_id"]] = iso(NOW)

    def _seen(self, granularity: str, what: str) -> list[Json]:
        until, table = iso(self.at), self.tables.get(granularity)
        return [row for row in getattr(table, what) if row["closed_at"] <= until] if table else []

    def candles_of(self, granularity: str, name: str) -> list[Json]:
        """Give the closed candles of an instrument, oldest first."""
        table = self.tables.get(granularity)
        if table is None:
            return []
        until = iso(closed(table.granularity, self.at).start)
        return [candle for candle in table.candles.get(name, []) if candle["time"] <= until]

    def events(self, **wanted: Any) -> list[Json]:
        """Give the events that a filter asks for, sorted."""
        granularity = wanted.get("granularity", "H1")
        since = self._since(wanted.get("since"))
        tests: dict[str, Callable[[Json, Any], bool]] = {
            "instrument": lambda event, value: event["instrument"] in value,
            "pattern": lambda event, value: event["pattern"] == value,
            "rule": lambda event, value: value in event["rules"],
            "suspect": lambda event, value: event["suspect"] == (value == "true"),
        }
        rows = [
            event
            for event in self._seen(granularity, "events")
            if event["closed_at"] >= since
            and all(test(event, wanted[key]) for key, test in tests.items() if wanted.get(key))
        ]
        sort = wanted.get("sort") or "-closed_at"
        column = sort.lstrip(_DESCENDING)
        rows.sort(key=lambda event: event["instrument"])
        rows.sort(
            key=lambda event: (event[column] is not None, event[column]) if event[column] is not None else (False, 0),
            reverse=sort.startswith(_DESCENDING),
        )
        return rows

    def _since(self, text: str | None) -> str:
        if not text:
            return ""
        if text[-1] in "hd":
            return iso(self.at - timedelta(**{{"h": "hours", "d": "days"}[text[-1]]: int(text[:-1])}))
        return text

    def event(self, event_id: str) -> Json | None:
        """Give one event with all its features."""
        for granularity, table in self.tables.items():
            for event in self._seen(granularity, "events"):
                if event["event_id"] == event_id:
                    own = [alert for alert in self.alerts() if alert["event_id"] == event_id]
                    of = {
                        "features": table.features[event_id],
                        "alert": own[0] if own else None,
                        "broken_at": self._broken_at(event),
                    }
                    return {**event, **of}
        return None

    def _broken_at(self, event: Json) -> str | None:
        broken = self.tables[event["granularity"]].broken_at[event["event_id"]]
        newest = closed(GRANULARITIES[event["granularity"]], self.at).start
        return broken if broken is not None and broken <= iso(newest) else None

    def levels(self, granularity: str, name: str, start: str) -> list[Json]:
        """Give the levels of the candles from a time on, and the nearest unbroken older ones."""
        keys = ("event_id", "time", "closed_at", "level", "suspect", "pattern")
        mine = [event for event in self._seen(granularity, "events") if event["instrument"] == name]
        rows = [{**{key: e[key] for key in keys}, "broken_at": self._broken_at(e)} for e in mine]
        older = [row for row in rows if row["time"] < start and row["broken_at"] is None]
        return sorted(older, key=lambda row: row["level"])[:10] + [row for row in rows if row["time"] >= start]

    def alerts(self) -> list[Json]:
        """Give all alerts, newest first."""
        rows = sorted(
            (row for granularity in self.tables for row in self._seen(granularity, "alerts")),
            key=lambda row: (row["closed_at"], row["alert_id"]),
            reverse=True,
        )
        return [
            {**row, "acknowledged_at": self.acknowledged.get(row["alert_id"]), "deliveries": _deliveries(n, row)}
            for n, row in enumerate(rows)
        ]

    def unread(self) -> int:
        """Give how many alerts nobody has acknowledged."""
        return len(self.unread_ids())

    def unread_ids(self) -> list[str]:
        """Give what counts as unread: of the last 24 hours, and not acknowledged."""
        since = self._since("24h")
        return [a["alert_id"] for a in self.alerts() if a["acknowledged_at"] is None and a["closed_at"] > since]

    def alerts_page(self, page: int = 1, rows: list[Json] | None = None) -> Json:
        """Give a page of alerts."""
        rows = self.alerts() if rows is None else rows
        return paged("alerts", rows, page) | {"unread": self.unread(), "unread_hours": 24}

    def alerts_of(self, **wanted: str) -> list[Json]:
        """Give the alerts that a filter asks for, newest first."""
        unread = set(self.unread_ids())
        tests: dict[str, Callable[[Json, str], bool]] = {
            "instrument": lambda alert, value: value in (alert["instrument"], *alert["members"]),
            "granularity": lambda alert, value: alert["granularity"] == value,
            "rule": lambda alert, value: value in alert["rules"],
            "state": lambda alert, value: (
                alert["alert_id"] in unread if value == "unread" else alert["acknowledged_at"] is not None
            ),
        }
        asked = {name: value for name, value in wanted.items() if value}
        return [one for one in self.alerts() if all(tests[name](one, value) for name, value in asked.items())]

    def acknowledge(self, ids: Iterable[str]) -> list[Json]:
        """Note that somebody has seen alerts; give the change."""
        chosen = set(ids)
        self.acknowledged |= dict.fromkeys(chosen, iso(self.at))
        rows = [row for row in self.alerts() if row["alert_id"] in chosen]
        return [self._rung(rows)]

    def _rung(self, rows: list[Json]) -> Json:
        total = {"unread": self.unread(), "total": len(self.alerts()), "again": False}
        return {"kind": "alerts", "alerts": rows, "removed": [], **total}

    def advance(self) -> list[Json]:
        """Reveal the next H1 candle of every instrument; give the changes."""
        # The market closes on Friday; nothing is revealed before Sunday.
        before, unread = iso(self.at), self.unread()
        self.at = next_close(H1, self.at) + timedelta(seconds=3)
        self.passes.insert(0, self._pass(0))
        changes: list[Json] = [
            {"kind": "pass", "pass": self.passes[0]},
            {"kind": "status", "status": self.status()},
        ]
        for name, table in self.tables.items():
            if iso(closed(table.granularity, self.at).end) > before:
                changes += self._closed(name, before)
        rung = [alert for alert in self.alerts() if alert["closed_at"] > before]
        if rung or self.unread() != unread:
            changes.append(self._rung(rung))
        return changes

    def _closed(self, granularity: str, before: str) -> list[Json]:
        candles = {name: self.candles_of(granularity, name)[-1:] for name in NAMES}
        new = [event for event in self._seen(granularity, "events") if event["closed_at"] > before]
        return [
            {"kind": "candles", "granularity": granularity, "instruments": candles},
            {"kind": "levels", "granularity": granularity, "instruments": list(NAMES)},
            *(
                [{"kind": "events", "granularity": granularity, "events": new, "removed": [], "again": False}]
                if new
                else []
            ),
        ]

    def status(self, *, running: bool = False) -> Json:
        """Give `/api/status`."""
        each = {name: self._granularity(granularity) for name, granularity in GRANULARITIES.items()}
        if running:
            each["H1"]["running_since"] = iso(self.at - timedelta(seconds=1))
        if not self.healthy:
            each["H4"] |= {"outcome": "failed", "consecutive_failures": 2, "last_error": "the broker answers 503"}
        reasons = [] if self.healthy else ["H4 failed 2 times in a row (the broker answers 503)"]
        week_close = next_close(GRANULARITIES["W"], self.at)
        return {
            "at": iso(self.at),
            "now": iso(self.at),
            "healthy": not reasons,
            "reasons": reasons,
            "catching_up": [f"H1 has {self.behind} candle times to go"] if self.behind else [],
            "recent_events": sum(len(self.events(granularity=name, since="24h")) for name in self.tables),
            "source": "simulated",
            "simulated": True,
            "database": "data/simulated.duckdb",
            "unavailable": {"USD_ZAR": "the source knows no USD_ZAR"},
            "granularities": each,
            "market": {"open": True, "until": iso(week_close)},
            "instruments": [{"name": name, "decimals": instrument(name).decimals} for name in NAMES],
            "outbox": {"waiting": 2, "dead": 1},
            "feed_lag_seconds": 0,
            "silences": [{"instrument": name, "until": until} for name, until in self.silences.items()],
            "public_url": None,
            "dagster_url": "http://127.0.0.1:3000",
            "may_write": True,
        }

    def _granularity(self, granularity: Granularity) -> Json:
        newest = closed(granularity, self.at)
        ran = iso(newest.end + timedelta(seconds=4))
        return {
            "outcome": "ok",
            "last_run": ran,
            "last_success": ran,
            "running_since": None,
            "crashed": None,
            "last_processed": iso(newest.end),
            "next_close": iso(next_close(granularity, self.at)),
            "next_run": iso(next_close(granularity, self.at) + timedelta(minutes=5)),
            "newest_candle": iso(newest.start),
            "last_candle_closed_at": iso(newest.end),
            "lag_seconds": 0,
            "due_since": iso(self.due_since) if self.due_since and granularity is H1 else None,
            "behind": self.behind if granularity is H1 else 0,
            "overdue_since": None,
            "went_well": None,
            "consecutive_failures": 0,
            "last_error": None,
            "unavailable": {"USD_ZAR": "the source knows no USD_ZAR"} if granularity.name == "W" else {},
            "late": ["CAD_CHF"] if granularity.name == "H4" else [],
            "pending": 0,
            "quarantined": 3 if granularity.name == "H1" else 0,
            "recent_events": len(self.events(granularity=granularity.name, since="24h")),
        }

    def _pass(self, n: int) -> Json:
        """Give the n-th pass before now."""
        start = closed(H1, self.at - timedelta(hours=n)).end
        failed = n % 17 == 9
        pass_id = f"00000000-0000-4000-8000-{int(start.timestamp()):012d}"
        trigger = "schedule" if n % 7 else "reconcile"
        stages = dict(zip(("fetch", "candles", "atr", "events", "features", "alerts"), _times(start), strict=True))
        return {
            "pass_id": pass_id,
            "granularity": "H1" if n % 5 else "H4",
            "trigger": trigger,
            "status": "failed" if failed else "success",
            "window_start": iso(start - timedelta(hours=1)),
            "window_end": iso(start),
            "started_at": iso(start + timedelta(minutes=5)),
            "ended_at": iso(start + timedelta(minutes=5, seconds=1)),
            "candles": 0 if failed else len(NAMES),
            "events": 0 if failed else n % 4,
            "quarantined": 0,
            "stages": {"fetch": stages["fetch"]} if failed else stages,
            "error": "the broker answers 503; it is tried again with the next tick" if failed else None,
            "run_url": f"http://127.0.0.1:3000/runs/{pass_id}" if trigger == "schedule" else None,
        }

    def operations(self) -> Json:
        """Give `/api/operations`."""
        rows = [
            {"granularity": name, "table": table, "rows": count}
            for name in self.tables
            for table, count in (
                ("candles", sum(len(self.candles_of(name, i)) for i in NAMES)),
                ("events", len(self._seen(name, "events"))),
                ("features", len(self._seen(name, "events"))),
                ("alerts", len(self._seen(name, "alerts"))),
            )
        ]
        since = iso(self.at - timedelta(hours=5))
        return {
            "tables": rows,
            "quarantine": [{"granularity": "H1", "reason": "market_closed", "candles": 3, "newest": since}],
            "late": [{"granularity": "H4", "instrument": "CAD_CHF"}],
            "unavailable": [
                {"granularity": "W", "instrument": "USD_ZAR", "since": since, "reason": "the source knows no USD_ZAR"}
            ],
            "outbox": {
                "waiting": 2,
                "dead": 1,
                "by_channel": [
                    {"channel": "log", "waiting": 0, "dead": 0, "last_sent_at": since},
                    {"channel": "ntfy", "waiting": 2, "dead": 1, "last_sent_at": None},
                ],
            },
            "incidents": [{"incident": "dead letters", "text": "1 dead letter on ntfy: 404 Not Found", "since": since}],
            "database": {"path": "data/simulated.duckdb", "megabytes": 48.3},
        }


def paged(what: str, rows: list[Json], page: int, size: int = 50) -> Json:
    """Give a page as the API does."""
    return {
        what: rows[(page - 1) * size : page * size],
        "total": len(rows),
        "page": page,
        "pages": max(1, math.ceil(len(rows) / size)),
    }


def _times(start: datetime) -> list[float]:
    hour = int(start.timestamp()) // 3600
    return [round(base + hour * prime % 97 / 97 * base, 1) for base, prime in zip(
        (90, 22, 14, 9, 31, 12), (31, 37, 41, 43, 47, 53), strict=True
    )]  # fmt: skip


def _deliveries(n: int, row: Json) -> list[Json]:
    sent = {"channel": "log", "status": "told", "delivery_status": "sent", "sent_at": row["closed_at"], "error": None}
    second: Json = {"channel": "ntfy", "status": "told", "delivery_status": "sent", "sent_at": row["closed_at"]}
    if n == 0:
        second |= {"status": "pending", "delivery_status": "waiting", "sent_at": None}
    elif n == 2:
        second |= {"delivery_status": "dead", "sent_at": None, "error": "404 Not Found"}
    elif n == 3:
        second |= {"status": "silenced", "delivery_status": None, "sent_at": None}
    elif n == 6:
        second |= {"status": "missed", "delivery_status": None, "sent_at": None}
    return [sent, {"error": None, **second}]
