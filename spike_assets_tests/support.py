"""Test doubles and helpers that several test modules share."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from spike_assets import market_hours
from spike_assets.alerts.queue import Occasion
from spike_assets.core import alerts as alerts_core
from spike_assets.core import atr as atr_core
from spike_assets.core import events as events_core
from spike_assets.core import features as features_core
from spike_assets.core.alerts import Rules
from spike_assets.core.quality import validate
from spike_assets.core.significance import PsychologicalLevel
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.instruments import GRIDS, grid_at, instrument
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline, candles
from spike_assets.pipeline.context import Watch
from spike_assets.pipeline.passes import work_off
from spike_assets.pipeline.summary import Summary
from spike_assets.sources.base import CANDLE_COLUMNS, Fetched, no_candles
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.data import content_hash
from spike_assets.store.duckdb_engine import DuckDBConnection
from spike_assets.store.engine import Connection, Engine
from spike_assets.store.rows import storable
from spike_assets.store.store import TIDYING, Store
from spike_assets.store.tables import CANDLES, DERIVED, TABLES
from spike_assets_tests.oracle import Candle
from spike_assets_tests.shared_data import SHARED

INVARIANT = ("candles", "atr", "events", "features", "alerts")


class FrameSource:
    """A source over a frame of candles that a test may change while it runs."""

    name = "frame"
    price = "mid"

    def __init__(self, candles: pd.DataFrame) -> None:
        self.candles = candles.reset_index(drop=True)
        self.asked: list[Mapping[str, Window]] = []

    def fetch(
        self, granularity: Granularity, windows: Mapping[str, Window], *, now: datetime, deadline: Deadline
    ) -> Fetched:
        deadline.check("asking")
        self.asked.append(windows)
        known = set(self.candles["instrument"])
        parts = [self._part(granularity, name, window, now) for name, window in windows.items() if name in known]
        unavailable = {name: "not in the frame" for name in windows if name not in known}
        return Fetched(pd.concat([no_candles(), *parts]) if parts else no_candles(), unavailable)

    def _part(self, granularity: Granularity, name: str, window: Window, now: datetime) -> pd.DataFrame:
        rows = self.candles[self.candles["instrument"] == name]
        rows = rows[(rows["time"] >= window.start) & (rows["time"] < window.end)]
        closed = market_hours.candle_close(granularity, market_hours.utc_index(rows["time"])) <= pd.Timestamp(now)
        return rows.loc[np.asarray(closed), list(CANDLE_COLUMNS)]


def make_pipeline(
    source: object, database: Path | str | Store, instruments: tuple[str, ...], **settings: object
) -> Pipeline:
    """Give a pipeline on a database by its path or address, or on a store; no warm-up unless asked for."""
    defaults: dict[str, object] = {"history_start": datetime(2020, 1, 1, tzinfo=UTC), "warmup": 0}
    return Pipeline(
        source=source,  # type: ignore[arg-type]
        store=database if isinstance(database, Store) else open_store(str(database)),
        instruments=instruments,
        **(defaults | settings),  # type: ignore[arg-type]
    )


def hashes(pipeline: Pipeline, granularity: Granularity) -> dict[str, str]:
    """Give the content hash of every table that the invariant is about."""
    with pipeline.store.reading(Deadline.after(timedelta(seconds=30))) as session:
        return {name: session.data.content_hash(granularity, TABLES[name]) for name in INVARIANT}


def tables(pipeline: Pipeline, granularity: Granularity) -> dict[str, pd.DataFrame]:
    """Give the rows of the derived tables."""
    with pipeline.store.reading(Deadline.after(timedelta(seconds=30))) as session:
        return {table.name: session.data.read(granularity, table) for table in DERIVED}


FOREVER = Deadline.after(timedelta(days=1))


class MemoryEngine:
    """A database in memory, one connection for one thread at a time: as quick as it gets, and gone with its test."""

    url = "memory"

    def __init__(self, *, natural_keys: bool = False) -> None:
        self.natural_keys = natural_keys
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")
        self._in_use = threading.RLock()

    def exists(self) -> bool:
        return True

    def ddl(self, sql: str) -> str:
        return sql

    def stamp(self) -> str | None:
        return None

    @contextmanager
    def connect(
        self,
        deadline: Deadline,  # noqa: ARG002
        purpose: str,  # noqa: ARG002
        *,
        write: bool,  # noqa: ARG002
    ) -> Iterator[Connection]:
        with self._in_use:
            yield DuckDBConnection(self._connection)

    def snapshot(self, deadline: Deadline, purpose: str, folder: Path) -> AbstractContextManager[Connection]:  # noqa: ARG002
        return self.connect(deadline, purpose, write=False)

    def lock(
        self,
        name: str,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
        purpose: str,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def tidy(self, deadline: Deadline) -> None:
        pass

    def checkpoint(self, connection: Connection) -> None:
        pass


class CrashError(Exception):
    """The process dies here. Nothing in spike catches it."""


@dataclass
class CrashPlan:
    """At which commit a process dies, and on which side of it; commits are counted from 0, -1 is never."""

    at: int = -1
    before: bool = True
    commits: int = 0
    hit: bool = False

    def arm(self, at: int, *, before: bool) -> None:
        """Count from here, and die at the `at`-th commit."""
        self.at, self.before, self.commits, self.hit = at, before, 0, False

    def passes(self, *, before: bool) -> bool:
        """Tell whether the process goes on at this side of the current commit."""
        self.hit = self.hit or (self.commits == self.at and self.before == before)
        return not self.hit

    def die(self) -> None:
        """Die by an exception; a subclass may mean it."""
        raise CrashError(f"{'before' if self.before else 'after'} commit {self.at}")


class CrashingConnection:
    """Another connection, whose commits may be the last thing that happens."""

    def __init__(self, inner: Connection, plan: CrashPlan) -> None:
        self._inner = inner
        self._plan = plan
        self.execute, self.change, self.load = inner.execute, inner.change, inner.load
        self.frame, self.rows = inner.frame, inner.rows
        self.claim, self.keep, self.natural_keys = inner.claim, inner.keep, inner.natural_keys

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._inner.transaction():
            yield
            if not self._plan.passes(before=True):
                self._plan.die()
        if not self._plan.passes(before=False):
            self._plan.die()
        self._plan.commits += 1


class CrashingEngine:
    """Another engine, whose connections crash as planned."""

    def __init__(self, inner: Engine, plan: CrashPlan) -> None:
        self._inner = inner
        self._plan = plan
        self.url, self.natural_keys = inner.url, inner.natural_keys
        self.exists, self.lock, self.checkpoint, self.stamp = inner.exists, inner.lock, inner.checkpoint, inner.stamp
        self.ddl, self.snapshot, self.tidy = inner.ddl, inner.snapshot, inner.tidy

    @contextmanager
    def connect(self, deadline: Deadline, purpose: str, *, write: bool) -> Iterator[Connection]:
        with self._inner.connect(deadline, purpose, write=write) as connection:
            yield CrashingConnection(connection, self._plan)


def tidied() -> None:
    """Wait for what passes leave to a thread."""
    for thread in threading.enumerate():
        if thread.name == TIDYING:
            thread.join()


def run_window(
    pipeline: Pipeline, granularity: Granularity, window: Window, now: datetime, deadline: Deadline = FOREVER
) -> list[Summary]:
    """Fetch a window and work everything off, as a partition run does: no state is kept of it."""
    with pipeline.store.reading(deadline) as session:
        asked = candles.windows(pipeline, session, granularity, window, now)
    received = candles.fetch(pipeline, granularity, asked, Watch(now), deadline)
    with pipeline.changing(granularity, deadline, "a test") as session:
        return work_off(pipeline, session, granularity, received, deadline, Occasion(now, live=False))


def computed(frame: pd.DataFrame, granularity: Granularity, now: datetime, period: int = 14) -> dict[str, pd.DataFrame]:
    """Give the five tables that one clean run over these candles ends in, by the pure functions alone."""
    valid = validate(frame, granularity, now).candles
    ranges = atr_core.atr(valid, period)
    found = events_core.events(valid, ranges, granularity)
    rows = features_core.features(found, valid, granularity)
    return {
        "candles": valid.assign(fetched_at=pd.Timestamp(now)),
        "atr": ranges,
        "events": found,
        "features": rows,
        "alerts": _alerts(valid, found, rows, granularity),
    }


def _alerts(candles_: pd.DataFrame, found: pd.DataFrame, rows: pd.DataFrame, granularity: Granularity) -> pd.DataFrame:
    first = candles_.drop_duplicates("instrument").set_index("instrument")["close"]
    grids = {name: GRIDS.get(name) or grid_at(first[name], instrument(name).pip_location) for name in first.index}
    rules = Rules(PsychologicalLevel(grids, {name: instrument(name).decimals for name in first.index}))
    key = ["instrument", "time"]
    return alerts_core.alerts(
        found.merge(rows, on=key).merge(candles_[[*key, "close"]], on=key), candles_[["time"]], granularity, rules
    )


def computed_hashes(frame: pd.DataFrame, granularity: Granularity, now: datetime, period: int = 14) -> dict[str, str]:
    """Give what `hashes` must be after any history that ends in these candles."""
    rows = computed(frame, granularity, now, period)
    return {name: content_hash(TABLES[name], storable(TABLES[name], rows[name])) for name in INVARIANT}


def pending_marks(pipeline: Pipeline, granularity: Granularity) -> int:
    """Give how many marks are left."""
    with pipeline.store.reading(FOREVER) as session:
        return session.pending.count(granularity)


def stored_candles(pipeline: Pipeline, granularity: Granularity) -> pd.DataFrame:
    """Give the stored candles."""
    with pipeline.store.reading(FOREVER) as session:
        return session.data.read(granularity, CANDLES)


def simulated(granularity: Granularity, instruments: Sequence[str], window: Window) -> pd.DataFrame:
    """Give the simulated market's candles."""
    windows = dict.fromkeys(instruments, window)
    return SimulatedSource().fetch(granularity, windows, now=datetime(2040, 1, 1, tzinfo=UTC), deadline=FOREVER).candles


def captured(folder: str, instrument: str, window: Window | None = None) -> pd.DataFrame:
    """Give real candles of `../shared/data`, as a source would: unvalidated, volume as float64."""
    path = SHARED / folder / f"{instrument}.parquet"
    with duckdb.connect() as connection:
        arrays = connection.execute(
            "SELECT epoch_us(time) AS time, open, high, low, close, CAST(volume AS DOUBLE) AS volume"
            " FROM read_parquet(?) ORDER BY time",
            [str(path)],
        ).fetchnumpy()
    times = pd.DatetimeIndex(arrays.pop("time").astype("M8[us]")).tz_localize("UTC")
    frame = pd.DataFrame({"instrument": pd.Series([instrument] * len(times), dtype=object), "time": times, **arrays})
    if window is None:
        return frame
    inside = (frame["time"] >= window.start) & (frame["time"] < window.end)
    return frame[inside].reset_index(drop=True)


def captured_instruments(folder: str) -> list[str]:
    """Give which instruments a folder of `../shared/data` has; none where it is absent."""
    return sorted(path.stem for path in (SHARED / folder).glob("*.parquet"))


def candle_frame(instrument: str, candles_: Sequence[Candle]) -> pd.DataFrame:
    """Give candles as a source gives them."""
    columns: dict[str, Any] = {"instrument": pd.Series([instrument] * len(candles_), dtype=object)}
    columns["time"] = market_hours.utc_index(pd.DatetimeIndex([c.time for c in candles_], tz="UTC"))
    for name in CANDLE_COLUMNS[2:]:
        columns[name] = np.array([getattr(c, name) for c in candles_], dtype=np.float64)
    return pd.DataFrame(columns)


def candle_list(frame: pd.DataFrame, instrument: str) -> list[Candle]:
    """Give an instrument's candles one by one, as `oracle` wants them."""
    rows = frame[frame["instrument"] == instrument]
    numbers = [rows[name].tolist() for name in CANDLE_COLUMNS[2:]]
    times = [time.to_pydatetime().astimezone(UTC) for time in rows["time"]]
    return [Candle(t, o, h, lo, c, int(v)) for t, o, h, lo, c, v in zip(times, *numbers, strict=True)]


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows as dictionaries of plain Python values, None for NULL."""
    columns = {str(name): [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().astimezone(UTC)
    return None if pd.isna(value) else value
