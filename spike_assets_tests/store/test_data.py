"""Writing only what changed, reading stretches, and content hashes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.errors import StoreError
from spike_assets.granularity import GRANULARITIES, H1, H4, D
from spike_assets.market_hours import Window
from spike_assets.store import open_store
from spike_assets.store.data import Changes, Data, Span, content_hash
from spike_assets.store.pending import Mark
from spike_assets.store.store import Store
from spike_assets.store.tables import ATR, CANDLES, EVENTS, FEATURES, QUARANTINE, TABLES
from spike_assets_tests.store.conftest import Opened
from spike_assets_tests.strategies import examples
from spike_assets_tests.support import FOREVER, MemoryEngine, computed, plain, simulated

START = datetime(2025, 3, 10, tzinfo=UTC)
ONE, TWO, THREE, FOUR = (START + timedelta(days=day) for day in (1, 2, 3, 4))


@pytest.fixture(params=["duck", "duck_with_keys", "elephant"])
def data(request: pytest.FixtureRequest) -> Iterator[Data]:
    """Give the data tables of an empty store."""
    with request.getfixturevalue(request.param)() as session:
        yield session.data


def hour(n: int) -> datetime:
    return START + timedelta(hours=n)


def candles(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """Give valid candles of (instrument, hour, close)."""
    return pd.DataFrame(
        {
            "instrument": pd.Series([name for name, _, _ in rows], dtype=object),
            "time": pd.DatetimeIndex([hour(n) for _, n, _ in rows], tz="UTC").as_unit("us"),
            "open": 1.0,
            "high": 9.0,
            "low": 0.5,
            "close": [close for _, _, close in rows],
            "volume": np.arange(len(rows), dtype=np.int64) * 0 + 7,
        }
    )


def closes(data: Data) -> dict[tuple[str, int], float]:
    rows = data.read(H1, CANDLES)
    hours = [(time - START) // timedelta(hours=1) for time in rows["time"]]
    return dict(zip(zip(rows["instrument"], hours, strict=True), rows["close"], strict=True))


def fetched(data: Data) -> list[datetime]:
    return list(data.read(H1, CANDLES)["fetched_at"])


def touched(changes: Changes) -> tuple[int, int, int]:
    assert changes.rows == len(changes.keys)
    return changes.added, changes.updated, changes.removed


# --- candles ----------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_touched(data: Data) -> None:
    first = data.write_candles(H1, candles(("A", 0, 1.5), ("A", 1, 1.5), ("B", 1, 2.5)), ONE)
    assert touched(first) == (3, 0, 0)
    assert first.ranges() == [Mark("A", hour(0), hour(1)), Mark("B", hour(1), hour(1))]
    again = data.write_candles(H1, candles(("A", 0, 1.5), ("A", 1, 1.5), ("B", 1, 2.5)), TWO)
    assert touched(again) == (0, 0, 0)
    assert again.ranges() == []
    third = data.write_candles(H1, candles(("A", 0, 1.5), ("A", 1, 1.75), ("B", 1, 2.5), ("B", 2, 2.5)), THREE)
    assert touched(third) == (1, 1, 0)
    assert third.ranges() == [Mark("A", hour(1), hour(1)), Mark("B", hour(2), hour(2))]
    assert closes(data) == {("A", 0): 1.5, ("A", 1): 1.75, ("B", 1): 2.5, ("B", 2): 2.5}


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_every_value_of_a_candle_may_be_corrected(data: Data, column: str) -> None:
    candle = candles(("A", 0, 1.5))
    data.write_candles(H1, candle, ONE)
    candle[column] += 1
    assert touched(data.write_candles(H1, candle, TWO)) == (0, 1, 0)
    assert data.read(H1, CANDLES)[column].tolist() == candle[column].tolist()


def test_an_older_fetch_never_replaces_a_newer_one(data: Data) -> None:
    data.write_candles(H1, candles(("A", 0, 1.5)), TWO)
    assert touched(data.write_candles(H1, candles(("A", 0, 1.75), ("A", 1, 1.75)), ONE)) == (1, 0, 0)
    assert closes(data) == {("A", 0): 1.5, ("A", 1): 1.75}
    assert fetched(data) == [TWO, ONE]


def test_the_same_again_moves_fetched_at_forward_only(data: Data) -> None:
    data.write_candles(H1, candles(("A", 0, 1.5)), TWO)
    data.write_candles(H1, candles(("A", 0, 1.5)), ONE)
    assert fetched(data) == [TWO]
    data.write_candles(H1, candles(("A", 0, 1.5)), THREE)
    assert fetched(data) == [THREE]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_any_order_of_arrival_ends_in_what_was_fetched_last(data: Data, order: tuple[int, ...]) -> None:
    """A at one, B at two, A again at three: B may come last and must not win."""
    versions = [(1.5, ONE), (1.75, TWO), (1.5, THREE)]
    for i in order:
        close, at = versions[i]
        data.write_candles(H1, candles(("A", 0, close)), at)
    assert closes(data) == {("A", 0): 1.5}


def test_granularities_do_not_touch(data: Data) -> None:
    data.write_candles(H1, candles(("A", 0, 1.5)), ONE)
    assert [data.count(granularity, CANDLES) for granularity in GRANULARITIES.values()] == [1, 0, 0, 0]


def test_no_candles_are_no_change(data: Data) -> None:
    assert touched(data.write_candles(H1, candles(), ONE)) == (0, 0, 0)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_no_candle_may_be_is_refused(data: Data, bad: float) -> None:
    with pytest.raises(StoreError):
        data.write_candles(H1, candles(("A", 0, bad)), ONE)
    assert closes(data) == {}


def test_a_repeated_key_is_refused_and_undone() -> None:
    with Store(MemoryEngine()).writing(FOREVER, "a test") as session:
        session.data.write_candles(H1, candles(("A", 0, 1.5)), ONE)
        twice = candles(("A", 1, 1.5), ("A", 1, 1.75))
        with (
            pytest.raises(StoreError, match=r"^h1\.candles would repeat keys; nothing was written, report this$"),
            session.transaction(),
        ):
            session.data.write_candles(H1, twice, TWO)
        assert closes(session.data) == {("A", 0): 1.5}


fetches = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 3), st.sampled_from([1.5, 1.75, 2.0])), max_size=5),
        st.integers(0, 9),
    ),
    max_size=6,
    unique_by=lambda fetch: fetch[1],
)


@examples(60)
@given(fetches)
def test_the_candle_fetched_last_is_stored(
    opened: Opened, given_fetches: list[tuple[list[tuple[str, int, float]], int]]
) -> None:
    with opened() as session:
        for rows, day in given_fetches:
            batch = list({(name, n): (name, n, close) for name, n, close in rows}.values())
            session.data.write_candles(H1, candles(*batch), START + timedelta(days=day))
        final = {(n, h): close for rows, _ in sorted(given_fetches, key=lambda f: f[1]) for n, h, close in rows}
        assert closes(session.data) == final


# --- quarantine -------------------------------------------------------------------------------------------------------


def rejected(reason: str = "price_not_finite", **values: Any) -> pd.DataFrame:
    return candles(("A", 0, 1.5)).astype({"volume": "float64"}).assign(reason=reason, **values)


def test_rejected_candles_are_kept_as_they_came(data: Data) -> None:
    assert touched(data.write_quarantine(H1, rejected(open=np.inf, close=np.nan, volume=-0.5), ONE)) == (1, 0, 0)
    row = plain(data.read(H1, QUARANTINE))[0]
    assert (row["open"], row["close"], row["volume"], row["reason"]) == (np.inf, None, -0.5, "price_not_finite")


def test_quarantine_keeps_one_row_per_reason(data: Data) -> None:
    data.write_quarantine(H1, rejected(), ONE)
    assert touched(data.write_quarantine(H1, rejected(), TWO)) == (0, 0, 0)
    assert touched(data.write_quarantine(H1, rejected("off_grid"), TWO)) == (1, 0, 0)
    assert touched(data.write_quarantine(H1, rejected(close=-1.0), THREE)) == (0, 1, 0)
    rows = data.read(H1, QUARANTINE)
    assert rows["reason"].tolist() == ["off_grid", "price_not_finite"]
    assert rows["close"].tolist() == [1.5, -1.0]
    assert rows["fetched_at"].tolist() == [TWO, THREE]


def test_nothing_rejected(data: Data) -> None:
    assert touched(data.write_quarantine(H1, rejected()[:0], ONE)) == (0, 0, 0)


# --- replace ----------------------------------------------------------------------------------------------------------


def atr_rows(*rows: tuple[str, int, float]) -> pd.DataFrame:
    return candles(*rows)[["instrument", "time"]].assign(
        true_range=[np.nan if n == 0 else 1.0 for _, n, _ in rows], atr=[value for *_, value in rows], suspect=False
    )


def values(data: Data) -> dict[tuple[str, int], float | None]:
    rows = plain(data.read(H1, ATR))
    return {(row["instrument"], (row["time"] - START) // timedelta(hours=1)): row["atr"] for row in rows}


def test_rows_of_a_span_become_exactly_these(data: Data) -> None:
    everything = [Span("A", hour(0), hour(99)), Span("B", hour(0), hour(99))]
    data.replace(
        H1, ATR, everything, atr_rows(("A", 0, 1.0), ("A", 1, 2.0), ("A", 2, 3.0), ("A", 5, 4.0), ("B", 1, 5.0))
    )
    spans = [Span("A", hour(1), hour(5))]
    changes = data.replace(H1, ATR, spans, atr_rows(("A", 1, 2.0), ("A", 3, 9.0)))
    assert touched(changes) == (1, 0, 1)
    assert changes.ranges() == [Mark("A", hour(2), hour(3))]
    assert values(data) == {("A", 0): 1.0, ("A", 1): 2.0, ("A", 3): 9.0, ("A", 5): 4.0, ("B", 1): 5.0}
    assert touched(data.replace(H1, ATR, spans, atr_rows(("A", 1, 2.0), ("A", 3, 9.0)))) == (0, 0, 0)
    assert touched(data.replace(H1, ATR, spans, atr_rows())) == (0, 0, 2)
    assert values(data) == {("A", 0): 1.0, ("A", 5): 4.0, ("B", 1): 5.0}


def test_a_bit_is_a_change_and_the_sign_of_zero_is_none(data: Data) -> None:
    span = [Span("A", hour(0), hour(9))]
    data.replace(H1, ATR, span, atr_rows(("A", 1, 0.0), ("A", 2, 1.0)))
    assert touched(data.replace(H1, ATR, span, atr_rows(("A", 1, -0.0), ("A", 2, np.nextafter(1.0, 2))))) == (0, 1, 0)
    assert values(data)["A", 2] == np.nextafter(1.0, 2)


def test_null_comes_and_goes(data: Data) -> None:
    span = [Span("A", hour(0), hour(9))]
    for value in (np.nan, 1.0, np.nan):
        assert touched(data.replace(H1, ATR, span, atr_rows(("A", 1, value)))) in {(1, 0, 0), (0, 1, 0)}
        assert touched(data.replace(H1, ATR, span, atr_rows(("A", 1, value)))) == (0, 0, 0)
        assert values(data) == {("A", 1): None if np.isnan(value) else value}


def test_an_infinity_is_refused(data: Data) -> None:
    with pytest.raises(StoreError, match="would be infinite at A"):
        data.replace(H1, ATR, [Span("A", hour(0), hour(9))], atr_rows(("A", 1, np.inf)))
    assert values(data) == {}


some_rows = st.dictionaries(
    st.tuples(st.sampled_from("AB"), st.integers(0, 9)), st.sampled_from([1.0, 2.0, np.nan]), max_size=12
)


@examples(80)
@given(some_rows, some_rows, st.integers(0, 10), st.integers(0, 10))
def test_replace_is_that_of_dictionaries(
    opened: Opened, before: dict[tuple[str, int], float], after: dict[tuple[str, int], float], start: int, end: int
) -> None:
    spans = [Span("A", hour(start), hour(end))]
    inside = {key: value for key, value in after.items() if key[0] == "A" and start <= key[1] < end}
    with opened() as session:
        everything = [Span(name, hour(0), hour(99)) for name in "AB"]
        session.data.replace(H1, ATR, everything, atr_rows(*((*key, value) for key, value in sorted(before.items()))))
        changes = session.data.replace(
            H1, ATR, spans, atr_rows(*((*key, value) for key, value in sorted(inside.items())))
        )
        expected = {k: v for k, v in before.items() if k[0] != "A" or not start <= k[1] < end} | inside
        assert {k: str(v) for k, v in values(session.data).items()} == {
            k: "None" if np.isnan(v) else str(v) for k, v in sorted(expected.items())
        }
        differ = {k for k in before.keys() | expected.keys() if str(before.get(k)) != str(expected.get(k))}
        assert changes.rows == len(differ)
        assert {(m.instrument, m.from_time, m.to_time) for m in changes.ranges()} == (
            {("A", hour(min(n for _, n in differ)), hour(max(n for _, n in differ)))} if differ else set()
        )


# --- reading ----------------------------------------------------------------------------------------------------------


def test_rows_come_in_key_order_whatever_the_order_of_writing(data: Data) -> None:
    data.write_candles(H1, candles(("B", 2, 1.0), ("A", 3, 1.0)), ONE)
    data.write_candles(H1, candles(("A", 1, 1.0), ("B", 0, 1.0), ("A", 10, 1.0)), TWO)
    assert list(closes(data)) == [("A", 1), ("A", 3), ("A", 10), ("B", 0), ("B", 2)]


def test_spans_are_half_open_and_of_one_instrument(data: Data) -> None:
    data.write_candles(H1, candles(*((name, n, 1.0) for name in "ABC" for n in range(6))), ONE)
    spans = [Span("A", hour(1), hour(3)), Span("B", hour(1), hour(3)), Span("C", hour(5), hour(99))]
    rows = data.read(H1, CANDLES, spans, ["close", "instrument", "time"])
    assert list(rows.columns) == ["instrument", "time", "close"]
    found = [(row["instrument"], (row["time"] - START) // timedelta(hours=1)) for row in plain(rows)]
    assert found == [("A", 1), ("A", 2), ("B", 1), ("B", 2), ("C", 5)]
    assert data.read(H1, CANDLES, []).empty
    assert data.read(H1, CANDLES, [Span("A", hour(3), hour(3))]).empty
    assert data.read(H1, CANDLES, [Span("D", hour(0), hour(9))]).empty


def test_ends_of_each_instrument(data: Data) -> None:
    data.write_candles(H1, candles(("A", 1, 1.0), ("A", 5, 1.0), ("B", 3, 1.0)), ONE)
    assert data.newest(H1, ["A", "B", "C"], hour(4)) == {"A": hour(5), "B": hour(3)}
    assert data.newest(H1, ["A"], hour(4)) == {"A": hour(5)}
    assert data.oldest(H1) == {"A": hour(1), "B": hour(3)}
    assert data.last_time(H1) == hour(5)
    assert data.next_after(H1, [Span("A", hour(0), hour(2)), Span("B", hour(0), hour(3))]) == {
        "A": hour(5),
        "B": hour(3),
    }
    assert data.next_after(H1, [Span("A", hour(0), hour(6)), Span("C", hour(0), hour(1))]) == {}
    assert (data.last_time(H4), data.oldest(H4), data.newest(H4, ["A"], hour(0))) == (None, {}, {})


def test_clear_empties_one_table_of_one_granularity(data: Data) -> None:
    for granularity in (H1, D):
        data.write_candles(granularity, candles(("A", 0, 1.0)), ONE)
    data.clear(H1, CANDLES)
    assert (data.count(H1, CANDLES), data.count(D, CANDLES)) == (0, 1)


def test_what_the_pure_functions_give_comes_back_bit_for_bit(data: Data) -> None:
    frame = simulated(
        H4, ("EUR_USD", "USD_JPY"), Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 9, 1, tzinfo=UTC))
    )
    rows = computed(frame, H4, FOUR)
    spans = [Span(name, datetime(2000, 1, 1, tzinfo=UTC), FOUR) for name in ("EUR_USD", "USD_JPY")]
    data.write_candles(H4, rows["candles"], FOUR)
    for table in (ATR, EVENTS, FEATURES):
        data.replace(H4, table, spans, rows[table.name])
        assert len(rows[table.name]) > 100
        given_rows, stored = plain(rows[table.name][list(table.names)]), plain(data.read(H4, table))
        assert stored == given_rows
        assert data.content_hash(H4, table) == content_hash(table, data.read(H4, table))


# --- content hashes ---------------------------------------------------------------------------------------------------


def test_content_is_keys_and_values(data: Data) -> None:
    data.write_candles(H1, candles(("A", 0, 1.5), ("A", 1, 1.5)), ONE)
    first = data.content_hash(H1, CANDLES)
    data.write_candles(H1, candles(("A", 0, 1.5)), TWO)
    assert data.content_hash(H1, CANDLES) == first  # fetched_at is bookkeeping
    hashes = {first}
    for row in (("A", 1, np.nextafter(1.5, 2)), ("A", 2, 1.5), ("B", 0, 1.5)):
        data.write_candles(H1, candles(row), THREE)
        hashes.add(data.content_hash(H1, CANDLES))
    assert len(hashes) == 4


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_of_content_is_in_the_hash(table: Any) -> None:
    frame = simulated(H4, ("EUR_USD",), Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 9, 1, tzinfo=UTC)))
    rows = computed(frame, H4, FOUR) | {"quarantine": rejected().assign(fetched_at=pd.Timestamp(ONE))}
    whole = rows[table.name][list(table.names)]
    before = content_hash(table, whole)
    for column in table.columns:
        changed = whole.copy()
        last = len(whole) - 1
        values_of = changed[column.name].astype(object).tolist()
        values_of[last] = {
            "text": "other",
            "uuid": "00000000-b573-5bd7-9ea3-e067007ddc98",
            "time": START - timedelta(days=400),
            "float": 123.5,
            "int": 123,
            "bool": not values_of[last],
        }[column.kind]
        dtype = "boolean" if column.kind == "bool" and column.nullable else whole[column.name].dtype
        changed[column.name] = pd.Series(values_of, dtype=dtype)
        is_same = content_hash(table, changed) == before
        assert is_same == (column.name in table.bookkeeping), column.name


def test_store_of_a_file_hashes_as_one_in_memory(opened: Opened, tmp_path: Any) -> None:
    frame = candles(("A", 0, 1.5), ("B", 1, 1.5))
    with open_store(str(tmp_path / "x.duckdb")).writing(FOREVER, "a test") as session:
        session.data.write_candles(H1, frame, ONE)
        on_disk = session.data.content_hash(H1, CANDLES)
    with opened() as session:
        session.data.write_candles(H1, frame, TWO)
        assert session.data.content_hash(H1, CANDLES) == on_disk
