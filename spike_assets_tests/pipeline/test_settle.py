"""The mechanism: marks are worked off commit by commit, as far as something changed and no further."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError
from spike_assets.granularity import H1, Granularity
from spike_assets.market_hours import Window, candle_times
from spike_assets.pipeline import settle as settle_module
from spike_assets.pipeline.settle import Stage, Stretch, Work, instrument_by_instrument, settle
from spike_assets.pipeline.stages import STAGES
from spike_assets.store.data import Span
from spike_assets.store.pending import Mark
from spike_assets.store.store import Session, Store
from spike_assets.store.tables import ATR, EVENTS
from spike_assets_tests.oracle import Candle
from spike_assets_tests.support import FOREVER, MemoryEngine, candle_frame

START = datetime(2025, 3, 10, tzinfo=UTC)
TIMES = [t.astimezone(UTC) for t in candle_times(H1, Window(START, START + timedelta(days=40))).to_pydatetime()]
STAGE = Stage(ATR, downstream=("events", "features"))


class Toy:
    """A stage whose row is a number that a test sets per candle; each is its own state."""

    def __init__(self, n: int = 300) -> None:
        self.truth = {("EUR_USD", i): 1.0 for i in range(n)}
        self.seen: list[list[tuple[str, int, int]]] = []

    def __call__(self, _session: Session, _granularity: Granularity, todo: Sequence[Stretch]) -> Work:
        self.seen.append([(s.instrument, place(s.start), sum(time < s.end for time in TIMES)) for s in todo])
        rows, anchors = [], {}
        for stretch in todo:
            here = sorted(i for name, i in self.truth if name == stretch.instrument)
            mine = [i for i in here if stretch.start <= TIMES[i] < stretch.end]
            rows += [(stretch.instrument, TIMES[i], self.truth[stretch.instrument, i]) for i in mine]
            if mine and TIMES[mine[-1]] > stretch.to_time:
                anchors[stretch.instrument] = TIMES[mine[-1]]
        return Work(atr_rows(rows), anchors)


def place(time: datetime) -> int:
    return TIMES.index(time)


def atr_rows(rows: Sequence[tuple[str, datetime, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "instrument": pd.Series([name for name, _, _ in rows], dtype=object),
            "time": pd.DatetimeIndex([time for _, time, _ in rows], tz="UTC").as_unit("us"),
            "true_range": 1.0,
            "atr": np.array([value for *_, value in rows], dtype=np.float64),
            "suspect": False,
        }
    )


class Bench:
    """A store with candles, a toy stage, and small steps."""

    def __init__(self, session: Session, names: tuple[str, ...] = ("EUR_USD",), n: int = 300) -> None:
        self.session = session
        self.toy = Toy(0)
        self.toy.truth = {(name, i): 1.0 for name in names for i in range(n)}
        frames = [candle_frame(name, [Candle(time, 1, 1, 1, 1, 1) for time in TIMES[:n]]) for name in names]
        session.data.write_candles(H1, pd.concat(frames).astype({"volume": "int64"}), START)
        self.mark(*((name, 0, n - 1) for name in names))
        self.run()
        session.pending.clear(H1, "events")
        session.pending.clear(H1, "features")
        self.toy.seen.clear()

    def mark(self, *marks: tuple[str, int, int]) -> None:
        self.session.pending.mark(H1, ["atr"], [Mark(name, TIMES[a], TIMES[b]) for name, a, b in marks])

    def run(self, steps: int | None = None) -> list[tuple[str, int]]:
        """Work off what is pending; give the rows that were touched."""
        summary = settle(self.session, H1, STAGE, instrument_by_instrument(H1, STAGE, self.toy), FOREVER, steps)
        rows = summary.changed
        return sorted(zip(rows["instrument"], (place(t.to_pydatetime()) for t in rows["time"]), strict=True))

    def marks(self, stage: str) -> list[tuple[str, int, int]]:
        return [(m.instrument, place(m.from_time), place(m.to_time)) for m in self.session.pending.of(H1, stage)]

    def stored(self) -> dict[tuple[str, int], float]:
        rows = self.session.data.read(H1, ATR)
        keys = zip(rows["instrument"], (place(t.to_pydatetime()) for t in rows["time"]), strict=True)
        return dict(zip(keys, rows["atr"], strict=True))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    with Store(MemoryEngine()).writing(FOREVER, "a test") as session:
        made = Bench(session)
    monkeypatch.setattr(settle_module, "TAIL_CANDLES", 10)  # fourteen hours
    monkeypatch.setattr(settle_module, "CHUNK_CANDLES", 30)  # forty-two hours
    return made


def test_nothing_pending_is_nothing_done(bench: Bench) -> None:
    assert bench.run() == []
    assert bench.toy.seen == []


def test_it_stops_behind_the_mark_where_nothing_differs(bench: Bench) -> None:
    bench.toy.truth["EUR_USD", 5] = 2.0
    bench.mark(("EUR_USD", 5, 7))
    assert bench.run() == [("EUR_USD", 5)]
    assert bench.toy.seen == [[("EUR_USD", 5, 21)]]
    assert bench.marks("atr") == []
    assert bench.marks("events") == bench.marks("features") == [("EUR_USD", 5, 5)]


def test_it_goes_on_while_something_differs(bench: Bench) -> None:
    for i in range(5, 60):
        bench.toy.truth["EUR_USD", i] = 2.0
    bench.mark(("EUR_USD", 5, 5))
    assert bench.run() == [("EUR_USD", i) for i in range(5, 60)]
    assert bench.stored() == bench.toy.truth
    ends = [stop for ((_, _, stop),) in bench.toy.seen]
    starts = [start for ((_, start, _),) in bench.toy.seen]
    assert starts[1:] == ends[:-1]
    assert 60 < ends[-1] <= 80
    assert bench.marks("atr") == []
    covered = {i for _, first, last in bench.marks("events") for i in range(first, last + 1)}
    assert covered == set(range(5, 60))


def test_a_change_right_at_the_end_of_a_stretch_goes_on(bench: Bench) -> None:
    bench.toy.truth["EUR_USD", 18] = 2.0
    bench.mark(("EUR_USD", 5, 5))
    assert bench.run() == [("EUR_USD", 18)]
    assert len(bench.toy.seen) == 2


def test_a_long_mark_is_worked_off_to_its_end_though_nothing_differs(bench: Bench) -> None:
    bench.mark(("EUR_USD", 5, 200))
    assert bench.run() == []
    assert bench.toy.seen[0] == [("EUR_USD", 5, 47)]
    assert bench.toy.seen[-1][0][2] > 200


def test_a_missing_row_differs(bench: Bench) -> None:
    span = [Span("EUR_USD", TIMES[8], TIMES[12])]
    bench.session.data.replace(H1, ATR, span, atr_rows([]))
    bench.mark(("EUR_USD", 5, 5))
    assert bench.run() == [("EUR_USD", i) for i in range(8, 12)]
    assert bench.stored() == bench.toy.truth


def test_a_row_that_is_no_more_is_removed(bench: Bench) -> None:
    del bench.toy.truth["EUR_USD", 6]
    bench.mark(("EUR_USD", 5, 7))
    assert bench.run() == [("EUR_USD", 6)]
    assert ("EUR_USD", 6) not in bench.stored()
    assert bench.marks("events") == [("EUR_USD", 6, 6)]


def test_marks_far_apart_are_worked_off_one_by_one(bench: Bench) -> None:
    for i in (5, 150, 290):
        bench.toy.truth["EUR_USD", i] = 2.0
    bench.mark(("EUR_USD", 290, 290), ("EUR_USD", 5, 5), ("EUR_USD", 150, 151))
    assert bench.run() == [("EUR_USD", 5), ("EUR_USD", 150), ("EUR_USD", 290)]
    assert [start for ((_, start, _),) in bench.toy.seen] == [5, 150, 290]
    assert bench.marks("events") == [("EUR_USD", i, i) for i in (5, 150, 290)]
    assert bench.marks("atr") == []


def test_instruments_are_worked_off_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "TAIL_CANDLES", 10)
    with Store(MemoryEngine()).writing(FOREVER, "a test") as session:
        bench = Bench(session, ("EUR_USD", "GBP_USD", "USD_JPY"), 60)
        bench.toy.truth["USD_JPY", 40] = 2.0
        bench.mark(("EUR_USD", 5, 5), ("USD_JPY", 40, 40))
        assert bench.run() == [("USD_JPY", 40)]
        assert [{name for name, _, _ in seen} for seen in bench.toy.seen] == [{"EUR_USD", "USD_JPY"}]
        assert bench.marks("events") == [("USD_JPY", 40, 40)]


def test_the_end_of_the_candles_is_the_end(bench: Bench) -> None:
    bench.toy.truth["EUR_USD", 299] = 2.0
    bench.mark(("EUR_USD", 299, 299))
    assert bench.run() == [("EUR_USD", 299)]
    assert bench.marks("atr") == []


def test_a_gap_longer_than_a_stretch_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No candle lies behind the mark in its stretch, but some lie behind that."""
    monkeypatch.setattr(settle_module, "TAIL_CANDLES", 10)
    kept = [*range(50), *range(280, 300)]
    with Store(MemoryEngine()).writing(FOREVER, "a test") as session:
        other = Bench(session, n=50)
        candles = candle_frame("EUR_USD", [Candle(TIMES[i], 1, 1, 1, 1, 1) for i in range(280, 300)])
        session.data.write_candles(H1, candles.astype({"volume": "int64"}), START)
        other.toy.truth = {("EUR_USD", i): 1.0 for i in kept}
        other.mark(("EUR_USD", 49, 49))
        assert other.run() == [("EUR_USD", i) for i in range(280, 300)]


def test_no_more_steps_than_asked_for(bench: Bench) -> None:
    for i in range(5, 60):
        bench.toy.truth["EUR_USD", i] = 2.0
    bench.mark(("EUR_USD", 5, 5))
    bench.run(steps=1)
    assert len(bench.toy.seen) == 1
    assert bench.marks("atr") == [("EUR_USD", 19, 19)]
    assert bench.marks("events") == [("EUR_USD", 5, 18)]
    bench.run()
    assert bench.stored() == bench.toy.truth


def test_each_step_is_a_commit_and_the_deadline_comes_between(bench: Bench) -> None:
    for i in range(5, 60):
        bench.toy.truth["EUR_USD", i] = 2.0
    bench.mark(("EUR_USD", 5, 5))
    with pytest.raises(DeadlineError, match="out of time before H1/atr"):
        settle(bench.session, H1, STAGE, instrument_by_instrument(H1, STAGE, bench.toy), Deadline.after(timedelta(0)))
    assert bench.marks("atr") == [("EUR_USD", 5, 5)]
    assert bench.toy.seen == []
    bench.run()
    assert bench.stored() == bench.toy.truth


def test_a_step_that_fails_is_undone(bench: Bench) -> None:
    bench.toy.truth["EUR_USD", 5] = np.inf
    bench.mark(("EUR_USD", 4, 5))
    with pytest.raises(Exception, match="infinite"):
        bench.run()
    assert bench.stored()["EUR_USD", 5] == 1.0
    assert (bench.marks("atr"), bench.marks("events")) == ([("EUR_USD", 4, 5)], [])


def test_stages_come_upstream_first_and_name_what_reads_them() -> None:
    assert [stage.name for stage in STAGES] == ["atr", "events", "features", "alerts"]
    reads = [("events", "features"), ("features", "alerts"), ("alerts",), ()]
    assert [stage.downstream for stage in STAGES] == reads
    assert STAGES[1].table is EVENTS
