"""Alert rows: one per significant event, with its reasons to the number, and one per group of instruments.

What each rule looks at stands in `significance`; who is told is the business of `alerts`.
"""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.core.ids import of_names
from spike_assets.core.significance import PatternCompletion, PsychologicalLevel, Simultaneous, VolumeSpike
from spike_assets.granularity import Granularity

GROUP = "*"
"""Stands in the place of the instrument where an alert is about many."""

ALERT_NAMESPACE = uuid.UUID("0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11")
"""Namespace of all alert ids; changing it changes every id ever given."""


@dataclass(frozen=True)
class Rules:
    """The four rules, with their parameters."""

    level: PsychologicalLevel
    volume: VolumeSpike = field(default_factory=VolumeSpike)
    pattern: PatternCompletion = field(default_factory=PatternCompletion)
    simultaneous: Simultaneous = field(default_factory=Simultaneous)


def alerts(events: pd.DataFrame, traded: pd.DataFrame, granularity: Granularity, rules: Rules) -> pd.DataFrame:
    """Give the alerts of whole candle times.

    A suspect event raises none of its own; as a member of a group it counts.

    Parameters
    ----------
    events
        Every event at these times: instrument, time, event_id, closed_at, level, atr, suspect, the candle's close,
        relative_volume, volume_z, pattern, pattern_run.
    traded
        time of every candle at these times, once per instrument.

    Returns
    -------
    DataFrame
        Sorted by (instrument, time), groups first, their instrument being `*`: instrument, time, alert_id, event_id
        (None of a group), closed_at, level (price; NaN of a group), rules (names, in one order, with commas), reasons
        (JSON: the numbers of each rule), members (a group's instruments, with commas; of an event the others of its
        group, None where there is none).
    """
    events = events.reset_index(drop=True)
    groups = rules.simultaneous.groups(events, traded)
    members = dict(zip(groups["time"], groups["members"], strict=True))
    single = _single(events, members, rules)
    together = _together(groups, granularity, rules)
    return pd.concat([together, single], ignore_index=True) if len(together) else single


def _single(events: pd.DataFrame, members: dict[pd.Timestamp, tuple[str, ...]], rules: Rules) -> pd.DataFrame:
    reasons: dict[int, dict[str, dict[str, Any]]] = {}
    sound = events[~events["suspect"].to_numpy(dtype=bool)]
    for rule in (rules.level, rules.volume, rules.pattern):
        found = rule.reasons(sound)
        for i, numbers in zip(found.index.tolist(), found.to_dict("records"), strict=True):
            reasons.setdefault(i, {})[rule.name] = {str(name): value for name, value in numbers.items()}
    at = np.array(sorted(reasons), dtype=np.int64)
    names = events["instrument"].to_numpy(dtype=object)
    for i in at.tolist():
        if rules.level.name in reasons[i]:
            # A round number is a whole number of pips, one decimal less than a tick.
            _as_prices(reasons[i][rules.level.name], rules.level.decimals[str(names[i])] - 1)
    rows = events.iloc[at]
    times = rows["time"]
    return pd.DataFrame(
        {
            "instrument": rows["instrument"].to_numpy(dtype=object),
            "time": times.to_numpy(),
            "alert_id": _objects(of_names(ALERT_NAMESPACE, map(str, rows["event_id"]))),
            "event_id": rows["event_id"].to_numpy(dtype=object),
            "closed_at": rows["closed_at"].to_numpy(),
            "level": rows["level"].to_numpy(dtype="float64"),
            "rules": _objects([",".join(reasons[i]) for i in at.tolist()]),
            "reasons": _objects([_json(reasons[i]) for i in at.tolist()]),
            "members": _objects(
                [_others(members.get(time), name) for time, name in zip(times, rows["instrument"], strict=True)]
            ),
        }
    ).astype({"time": "datetime64[us, UTC]", "closed_at": "datetime64[us, UTC]"})


def _as_prices(numbers: dict[str, Any], decimals: int) -> None:
    """Write a round number and the distance from it as prices are quoted."""
    numbers["number"] = f"{numbers['number']:.{decimals}f}"
    numbers["pips"] = f"{numbers['pips']:.1f}"


def _together(groups: pd.DataFrame, granularity: Granularity, rules: Rules) -> pd.DataFrame:
    times = market_hours.utc_index(groups["time"])
    stamps = [f"{rules.simultaneous.name}|{granularity.name}|{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]
    numbers = groups[["of", "currency", "sharing"]].to_dict("records")
    return pd.DataFrame(
        {
            "instrument": _objects([GROUP] * len(groups)),
            "time": times,
            "alert_id": _objects(of_names(ALERT_NAMESPACE, stamps)),
            "event_id": _objects([None] * len(groups)),
            "closed_at": market_hours.candle_close(granularity, times),
            "level": np.full(len(groups), np.nan),
            "rules": _objects([rules.simultaneous.name] * len(groups)),
            "reasons": _objects([_json({rules.simultaneous.name: one}) for one in numbers]),
            "members": _objects([",".join(names) for names in groups["members"]]),
        }
    )


def _others(members: tuple[str, ...] | None, name: str) -> str | None:
    return None if members is None else ",".join(other for other in members if other != name)


def _json(reasons: dict[str, Any]) -> str:
    return json.dumps(reasons, separators=(",", ":"), allow_nan=False)


def _objects(values: list[Any]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
