"""Asset checks: what the stored rows promise, and what an operator should be warned of.

Two kinds, none of them partitioned. *Promises* are evaluated by the assets themselves, in the session in which they
wrote: a step of their own each would cost a pass more than the whole pipeline does. They read the run's window only,
and a broken one stops everything downstream. *Warnings* are one step per granularity that runs behind all stages; it
reads the granularity's lookback (35 days of H1), so it costs the same however long history is. It never fails a run.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.alerts import GROUP
from spike_assets.core.grouped import floats
from spike_assets.defs.resources import PipelineResource
from spike_assets.errors import SpikeError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.store.rows import row_keys
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, ATR, CANDLES, EVENTS, FEATURES, Table

PROMISES = "promises"
PARENTS: dict[str, Table] = {ATR.name: CANDLES, EVENTS.name: CANDLES, FEATURES.name: EVENTS, ALERTS.name: EVENTS}
"""The table whose keys the rows of a table are held against."""
_ONE_EACH = (ATR, FEATURES)
"""Tables that have a row for every one of these keys."""

COVERED_SHARE = 0.9
"""Of the candles that the market could make. Christmas and New Year, two days without any, leave 92 % of 35 days."""
QUARANTINE_DAYS = timedelta(days=1)
"""How long a candle that came into quarantine keeps its check yellow; at least one candle length."""


def promises_spec(granularity: Granularity, table: Table) -> dg.AssetCheckSpec:
    """Declare the blocking check that an asset evaluates on the rows of its run's window."""
    return dg.AssetCheckSpec(
        PROMISES,
        asset=[granularity.schema, table.name],
        description={
            CANDLES.name: "low ≤ open, close ≤ high, prices above 0, one row per key",
            ATR.name: "one row per candle, ATR not negative",
            EVENTS.name: "one row per key, each on a candle",
            FEATURES.name: "one row per event",
            ALERTS.name: "one row per key, each on an event, or of a group",
        }[table.name],
        blocking=True,
    )


def promises(table: Table, rows: pd.DataFrame, parent: pd.DataFrame | None) -> dg.AssetCheckResult:
    """Hold rows against what the schema promises; `parent` has the keys of `PARENTS`' table in the same window."""
    broken = _broken(table, rows, parent)
    metadata: dict[str, int | str] = {"rows": len(rows)}
    for what, where in broken.items():
        metadata[what] = len(where)
        metadata[f"{what}: first"] = f"{where['instrument'].iloc[0]} {where['time'].iloc[0]}"
    return dg.AssetCheckResult(
        passed=not broken,
        check_name=PROMISES,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{len(where)} × {what}" for what, where in broken.items()) or None,
        metadata=metadata,
    )


def _broken(table: Table, rows: pd.DataFrame, parent: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Give the keys of all rows that break a promise, by the promise."""
    keys, of_parent = row_keys(table, rows, rows[:0] if parent is None else parent)
    found = {"key twice": rows[pd.Series(keys).duplicated().to_numpy()]}
    if table is CANDLES:
        open_, high, low, close = (floats(rows, name) for name in ("open", "high", "low", "close"))
        sound = (low > 0) & (low <= np.minimum(open_, close)) & (np.maximum(open_, close) <= high) & np.isfinite(high)
        found["prices out of order"] = rows[~sound]
        found["negative volume"] = rows[rows["volume"] < 0]
    if table is ATR:
        found["negative ATR"] = rows[rows["atr"] < 0]
    if parent is not None:
        above = PARENTS[table.name].name
        of_one = rows["instrument"].to_numpy(dtype=object) != GROUP
        found[f"not in {above}"] = rows[of_one & ~np.isin(keys, of_parent)]
        if table in _ONE_EACH:
            found[f"missing for {above}"] = parent[~np.isin(of_parent, keys)]
    return {what: where[["instrument", "time"]] for what, where in found.items() if len(where)}


def warnings(granularity: Granularity) -> dg.AssetChecksDefinition:
    """Give the checks that warn: quarantine, coverage and freshness of a granularity's candles."""
    specs = [
        dg.AssetCheckSpec(name, asset=[granularity.schema, CANDLES.name], description=_MEANINGS[name])
        for name in _WARNINGS
    ]

    @dg.multi_asset_check(
        name=f"{granularity.schema}_warnings",
        specs=specs,
        can_subset=True,
        op_tags={"dagster/priority": "-1"},  # behind the stages: nobody waits for a warning
    )
    def look(context: dg.AssetCheckExecutionContext, pipeline: PipelineResource) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        try:
            results = evaluate(pipeline, granularity, chosen)
        except SpikeError as error:
            results = [_warning(name, passed=False, says=f"could not look: {error}") for name in sorted(chosen)]
        yield from results

    return look


def evaluate(resource: PipelineResource, granularity: Granularity, chosen: set[str]) -> list[dg.AssetCheckResult]:
    """Open the store once and evaluate the chosen warnings."""
    pipeline = resource.get()
    with pipeline.store.reading(resource.rest(granularity), f"checks of {granularity}") as session:
        return [look(session, pipeline, granularity) for name, look in _WARNINGS.items() if name in chosen]


def _quarantine(session: Session, pipeline: Pipeline, granularity: Granularity) -> dg.AssetCheckResult:
    """Count what came into quarantine of late."""
    since = pipeline.clock() - max(QUARANTINE_DAYS, granularity.step)
    reasons = session.data.quarantined_since(granularity, since)
    says = ", ".join(f"{n} × {reason}" for reason, n in reasons.items())
    return _warning(
        "quarantine",
        passed=not reasons,
        says=f"new since {since:%Y-%m-%d %H:%M} UTC: {says}" if reasons else None,
        metadata={"new": sum(reasons.values()), **reasons},
    )


def _coverage(session: Session, pipeline: Pipeline, granularity: Granularity) -> dg.AssetCheckResult:
    """Hold each instrument's candles of the granularity's lookback against the market's hours."""
    newest = session.data.last_time(granularity)
    if newest is None:
        return _warning("coverage", passed=True, says="no candles yet")
    recent = Window(newest - granularity.lookback, newest + timedelta(microseconds=1))
    found = session.data.coverage(granularity, recent.start - granularity.lookback, recent.start)
    possible = market_hours.candle_times(granularity, recent)
    # An instrument that has no candle before the stretch began in it, and lacks nothing from before then.
    before = np.searchsorted(possible.asi8, pd.DatetimeIndex(found["first"]).as_unit("us").asi8)
    share = found["n"].to_numpy(dtype="float64") / np.maximum(len(possible) - before, 1)
    shares = dict(zip(map(str, found["instrument"]), share.round(4).tolist(), strict=True))
    unavailable = set(session.ops.unavailable(granularity)["instrument"])
    shares |= {i: 0.0 for i in pipeline.instruments if i not in shares and i not in unavailable}
    thin = {i: shares[i] for i in pipeline.instruments if shares.get(i, 1.0) < COVERED_SHARE}
    return _warning(
        "coverage",
        passed=not thin,
        says=f"below {COVERED_SHARE:.0%}: " + ", ".join(f"{i} {s:.0%}" for i, s in thin.items()) if thin else None,
        metadata={"lowest": min(shares.values(), default=1.0), "possible": len(possible), "since": str(recent.start)},
    )


def _freshness(session: Session, pipeline: Pipeline, granularity: Granularity) -> dg.AssetCheckResult:
    """Hold the newest candle against the market's hours."""
    expected = _expected(granularity, pipeline.clock())
    newest = session.data.last_time(granularity)
    fresh = newest is not None and newest >= expected
    has = _minute(newest) if newest else "none"
    return _warning(
        "freshness",
        passed=fresh,
        says=None if fresh else f"newest candle {has}, expected {_minute(expected)}; a holiday looks the same",
        metadata={"newest": has, "expected": _minute(expected)},
    )


def _expected(granularity: Granularity, now: datetime) -> datetime:
    """Give the open of the last candle that closed, whose tick came, and whose pass has had its time."""
    newest = market_hours.last_closed(granularity, now)
    if market_hours.next_tick(granularity, newest.end) + granularity.timeout >= now:
        newest = market_hours.last_closed(granularity, newest.end - timedelta(microseconds=1))
    return newest.start


_MEANINGS = {
    "quarantine": "No candle came into quarantine of late: in a day, at least in one candle length.",
    "coverage": f"Each instrument has {COVERED_SHARE:.0%} of the candles that the market could make, in the"
    " granularity's lookback.",
    "freshness": "The newest candle is the one that closed last in an open market, once its tick and a pass are over.",
}
_WARNINGS: dict[str, Callable[[Session, Pipeline, Granularity], dg.AssetCheckResult]] = {
    "quarantine": _quarantine,
    "coverage": _coverage,
    "freshness": _freshness,
}


def _warning(
    name: str, *, passed: bool, says: str | None = None, metadata: dict[str, int | float | str] | None = None
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=says,
        metadata=metadata or {},
    )


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
