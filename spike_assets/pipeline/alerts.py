"""The last stage: alerts, of every instrument at once, and what of them goes into the outbox.

Whatever changes at a candle time changes the alerts of that time, and of no other: nothing is handed on from one time
to the next. So marks of all instruments are one, and a stretch of time is done when it has been gone through.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pandas as pd

from spike_assets.alerts import queue
from spike_assets.alerts.queue import Occasion
from spike_assets.core.alerts import Rules, alerts
from spike_assets.core.grouped import positions
from spike_assets.core.significance import PsychologicalLevel, Simultaneous
from spike_assets.granularity import EARLIEST, Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import records
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.round_numbers import RoundNumbers
from spike_assets.pipeline.settle import Step, chunk_end
from spike_assets.pipeline.stages import ALERTS_STAGE
from spike_assets.store.data import Changes
from spike_assets.store.pending import Mark
from spike_assets.store.rows import no_rows
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, CANDLES, EVENTS, FEATURES

_JUST_BEHIND = timedelta(microseconds=1)


def all_instruments_at_once(pipeline: Pipeline, granularity: Granularity, occasion: Occasion) -> Step:
    """Give the step of the stage: the first stretch of time in which anything changed."""

    def step(session: Session, marks: list[Mark]) -> tuple[Changes, bool]:
        window = _first(granularity, marks)
        numbers = RoundNumbers.of(session, granularity, sorted({mark.instrument for mark in marks}))
        moved = _everything_of(session, granularity, numbers.keep(session, granularity))
        rows = recomputed(session, granularity, window, pipeline.simultaneous_share)
        changes = session.data.replace(granularity, ALERTS, window, rows)
        live_since, told_from = records.told(session, granularity)
        on = replace(occasion, live_since=live_since, told_from=told_from)
        queue.note(session, granularity, window, rows, pipeline.policy, on)
        touched = [mark for mark in marks if mark.from_time < window.end]
        rest = [Mark(m.instrument, window.end, m.to_time, m.began) for m in touched if m.to_time >= window.end]
        session.pending.clear(
            granularity,
            ALERTS_STAGE.name,
            [Mark(m.instrument, window.start, window.end - _JUST_BEHIND) for m in touched],
        )
        session.pending.mark(granularity, [ALERTS_STAGE.name], [*rest, *moved])
        return changes, bool(rest or moved) or len(touched) < len(marks)

    return step


def _first(granularity: Granularity, marks: Sequence[Mark]) -> Window:
    """Give the first stretch of time that marks cover without a gap, of whatever instruments."""
    in_order = sorted(marks, key=lambda mark: mark.from_time)
    start, last = in_order[0].from_time, in_order[0].to_time
    for mark in in_order[1:]:
        if mark.from_time > last:
            break
        last = max(last, mark.to_time)
    return Window(start, min(last + _JUST_BEHIND, chunk_end(granularity, start)))


def _everything_of(session: Session, granularity: Granularity, names: Sequence[str]) -> list[Mark]:
    """Give marks over all candles of some instruments."""
    if not names:
        return []
    oldest, newest = session.data.oldest(granularity), session.data.newest(granularity, names, EARLIEST)
    return [Mark(name, oldest[name], newest[name]) for name in names]


def recomputed(session: Session, granularity: Granularity, window: Window, share: float) -> pd.DataFrame:
    """Give the alerts of all candle times in a window, from what is stored.

    Parameters
    ----------
    share
        Of the instruments that have a candle: so many with an event make a group.
    """
    columns = ["instrument", "time", "event_id", "closed_at", "level", "atr", "suspect"]
    events = session.data.read(granularity, EVENTS, window, columns)
    if events.empty:
        return no_rows(ALERTS)
    candles = session.data.read(granularity, CANDLES, window, ["instrument", "time", "close"])
    columns = ["instrument", "time", "pattern", "pattern_run", "relative_volume", "volume_z"]
    features = session.data.read(granularity, FEATURES, window, columns)
    # Where another run is between two stages, an event may lack its features: their mark brings this stage back.
    known = _beside(_beside(events, features), candles)
    numbers = RoundNumbers.of(session, granularity, sorted(set(known["instrument"])))
    return alerts(known, candles[["time"]], granularity, rules(numbers, share))


def rules(numbers: RoundNumbers, share: float) -> Rules:
    """Give the rules, as this store's settings have them."""
    each = numbers.by_instrument
    levels = PsychologicalLevel(
        {name: one.grid for name, one in each.items()}, {name: 1 - one.pip_location for name, one in each.items()}
    )
    return Rules(levels, simultaneous=Simultaneous(share))


def _beside(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Give rows with the columns of others that have the same instrument and time; rows without any are left out."""
    at = positions(rows, others)
    more = others.drop(columns=["instrument", "time"]).take(at[at >= 0]).reset_index(drop=True)
    return pd.concat([rows[at >= 0].reset_index(drop=True), more], axis="columns")
