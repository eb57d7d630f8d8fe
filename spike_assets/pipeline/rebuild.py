"""Recomputes the derived tables after a change of setting or formula, or empties the store for another source."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from spike_assets.alerts.claim import freeze
from spike_assets.alerts.digest import Notice
from spike_assets.alerts.queue import Occasion
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError
from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.pipeline.context import Pipeline, refusal
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.stages import STAGES
from spike_assets.store.ops import MEANING
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES, DERIVED, QUARANTINE

_LIMIT = timedelta(minutes=30)
_PURPOSE = "a rebuild"


def rebuild(
    pipeline: Pipeline,
    *,
    discard_candles: bool = False,
    progress: Callable[[Granularity, str], None] = lambda _granularity, _stage: None,
) -> None:
    """Make the derived tables of all granularities anew, under the settings in force.

    First, in one transaction, they are emptied and everything is marked as pending; then it is worked off, commit by
    commit, others getting their turn in between. Interrupted, the next pass or rebuild goes on.

    Parameters
    ----------
    discard_candles
        Remove the candles as well: the way to another source or price.

    Raises
    ------
    SettingsError
        The candles are of another source or price, and are not to be discarded.
    """
    _mark_everything(pipeline, discard_candles=discard_candles)
    for granularity in GRANULARITIES.values():
        for stage in STAGES:
            left = True
            while left:
                progress(granularity, stage.name)
                deadline = Deadline.after(_LIMIT)
                occasion = Occasion(pipeline.clock(), live=False, rebuilding=True)
                with pipeline.changing(granularity, deadline, _PURPOSE) as session:
                    run_stage(pipeline, session, granularity, stage, deadline, occasion, steps=1)
                    left = bool(session.pending.of(granularity, stage.name))
    _tell(pipeline)


def _tell(pipeline: Pipeline) -> None:
    """Say in one message per channel how much of what it was told came out differently: not in one for each alert."""
    with pipeline.store.writing(Deadline.after(_LIMIT), _PURPOSE) as session, session.transaction():
        session.outbox.claim()
        changed = session.outbox.recomputed()
        counts = Counter(item.channel for item in changed)
        now = pipeline.clock()
        for channel in pipeline.policy.channels:
            if counts[channel.name] and channel.wants.operational():
                n = counts[channel.name]
                says = f"spike was rebuilt: {n} {'alert' if n == 1 else 'alerts'} sent before came out differently"
                note = Notice(key="rebuild", text=says, since=now)
                freeze(session, channel, pipeline.sender.about.digest("operational", now, notice=note))
        session.outbox.put([replace(item, status="told") for item in changed])


def _mark_everything(pipeline: Pipeline, *, discard_candles: bool) -> None:
    deadline = Deadline.after(_LIMIT)
    with ExitStack() as stack:
        for granularity in GRANULARITIES.values():
            stack.enter_context(pipeline.store.changing(granularity, deadline, _PURPOSE))
        session = stack.enter_context(pipeline.store.writing(deadline, _PURPOSE))
        session.keep(MEANING)
        stored, wanted = session.ops.provenance(), pipeline.provenance
        if not discard_candles and stored and (stored.source, stored.price) != (wanted.source, wanted.price):
            raise SettingsError(refusal(pipeline.store.url, stored, wanted))
        with session.transaction():
            session.outbox.claim()
            session.ops.write_provenance(wanted)
            for granularity in GRANULARITIES.values():
                _empty(session, granularity, discard_candles=discard_candles)


def _empty(session: Session, granularity: Granularity, *, discard_candles: bool) -> None:
    for table in DERIVED:
        session.data.clear(granularity, table)
    for stage in STAGES:
        session.pending.clear(granularity, stage.name)
    if discard_candles:
        session.data.clear(granularity, CANDLES)
        session.data.clear(granularity, QUARANTINE)
        session.ops.forget(granularity)
        session.outbox.forget(granularity)
        return
    newest = session.data.last_time(granularity)
    if newest is not None:
        marks = [
            Mark(instrument, first, newest) for instrument, first in sorted(session.data.oldest(granularity).items())
        ]
        session.pending.mark(granularity, [stage.name for stage in STAGES], marks)
