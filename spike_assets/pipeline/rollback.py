"""Going back to a time: what was derived of candles that closed after it is removed, and made anew."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from spike_assets import market_hours
from spike_assets.alerts.queue import Occasion
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline.backfill import Progress, backfill
from spike_assets.pipeline.context import Pipeline
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.settle import Stage
from spike_assets.pipeline.stages import STAGES
from spike_assets.pipeline.summary import Summary
from spike_assets.store.outbox import UNSAID
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session
from spike_assets.store.tables import CANDLES, DERIVED

_LIMIT = timedelta(minutes=30)


@dataclass(frozen=True)
class Plan:
    """What a rollback would do.

    Attributes
    ----------
    window
        The stored candles concerned: from the first that closed after the time to the newest, UTC; empty where none is.
    going, staying
        How many rows of each table are of these candles, and of earlier ones; upstream first.
    told, untold
        How many times a channel was told of an alert of these candles, and how often it still is to be.
    """

    granularity: Granularity
    window: Window
    going: dict[str, int]
    staying: dict[str, int]
    told: int
    untold: int


def plan(pipeline: Pipeline, granularity: Granularity, to: datetime) -> Plan:
    """Say what a rollback to a time would do; nothing is changed.

    Raises
    ------
    SettingsError
        The store's numbers mean something else than the settings say.
    """
    with pipeline.store.reading(Deadline.after(_LIMIT), "planning a rollback") as session:
        if refused := pipeline.refused(session):
            raise SettingsError(refused)
        window = _window(session, granularity, to)
        going, staying = dict[str, int](), dict[str, int]()
        for table in (CANDLES, *DERIVED):
            going[table.name] = session.data.count_since(granularity, table, window.start)
            staying[table.name] = session.data.count(granularity, table) - going[table.name]
        items = session.outbox.items(granularity, Window(window.start, window.end + granularity.step))
    untold = sum(item.status in UNSAID for item in items)
    return Plan(granularity, window, going, staying, len(items) - untold, untold)


def rollback(
    pipeline: Pipeline,
    granularity: Granularity,
    to: datetime,
    *,
    candles: bool = False,
    fetching: Callable[[Progress], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _stage: None,
) -> list[Summary]:
    """Remove what was derived of candles that closed after a time, and make it anew.

    It goes in one transaction, which marks it all as pending; then it is worked off, commit by commit. Passes of the
    granularity wait until that is done, for whoever saw half of it might tell somebody; the others get their turn.
    Killed, the next pass works off the rest, or the same rollback, again.

    What channels were told stays remembered: nothing is told twice, and what turns out not to be true is taken back, as
    behind a corrected candle. How far candles are processed does not change.

    Parameters
    ----------
    candles
        Then fetch them anew, as far as candles are stored, chunk by chunk, and remove those that the source no longer
        has. Instruments that are not watched, or that the source does not know, keep theirs.
    fetching
        Called behind each chunk of candles.
    progress
        Told the stage that is next.

    Raises
    ------
    SpikeError
        The settings mean something else, or the source or the store cannot be had. What was done is right as it is.
    """
    purpose = f"a rollback of {granularity}"
    with pipeline.store.changing(granularity, Deadline.after(_LIMIT), purpose):
        with _opened(pipeline, purpose) as session, session.transaction():
            window = _window(session, granularity, to)
            _remove(session, granularity, window.start)
        made = [_rebuilt(pipeline, granularity, stage, purpose, progress) for stage in STAGES]
    if candles and window:
        backfill(pipeline, granularity, window, exact=True, progress=fetching)
    return made


@contextmanager
def _opened(pipeline: Pipeline, purpose: str) -> Iterator[Session]:
    with pipeline.store.writing(Deadline.after(_LIMIT), purpose) as session:
        pipeline.require_provenance(session)
        yield session


def _rebuilt(
    pipeline: Pipeline, granularity: Granularity, stage: Stage, purpose: str, progress: Callable[[str], None]
) -> Summary:
    """Work off all that is pending for a stage; the database is let go between commits."""
    total, left = Summary(stage.name), True
    while left:
        progress(stage.name)
        occasion = Occasion(pipeline.clock(), live=False)
        with _opened(pipeline, purpose) as session:
            done = run_stage(pipeline, session, granularity, stage, Deadline.after(_LIMIT), occasion, steps=1)
            left = bool(session.pending.of(granularity, stage.name))
        total.added += done.added
    return total


def _window(session: Session, granularity: Granularity, to: datetime) -> Window:
    start = market_hours.candle_open(granularity, market_hours.utc_index([to]))[0].to_pydatetime()
    newest = session.data.last_time(granularity)
    return Window(start, start if newest is None else market_hours.close_of(granularity, newest))


def _remove(session: Session, granularity: Granularity, since: datetime) -> None:
    for table in DERIVED:
        session.data.clear(granularity, table, since)
    found = session.data.coverage(granularity, since, since)
    marks = [
        Mark(str(name), first.to_pydatetime(), newest.to_pydatetime())
        for name, first, newest, _ in found.itertuples(index=False)
    ]
    session.pending.mark(granularity, [stage.name for stage in STAGES], marks)
