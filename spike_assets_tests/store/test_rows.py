"""Rows as frames: kinds and NULLs, what may be stored, and what counts as a difference."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.errors import StoreError
from spike_assets.store.rows import comparable, difference, no_rows, storable, typed
from spike_assets.store.tables import ATR, CANDLES, FEATURES, QUARANTINE, TABLES, Column, Table
from spike_assets_tests.strategies import examples

KINDS = Table(
    "kinds",
    "One column of each kind.",
    (
        Column("instrument", "text", "key"),
        Column("time", "time", "key"),
        Column("word", "text", "text", null="x"),
        Column("id", "uuid", "uuid", null="x"),
        Column("at", "time", "time", null="x"),
        Column("price", "float", "float", null="x"),
        Column("count", "int", "int", null="x"),
        Column("flag", "bool", "bool", null="x"),
        Column("seen", "time", "bookkeeping", null="x"),
    ),
    bookkeeping=("seen",),
)
START = pd.Timestamp("2025-03-10 05:00", tz="UTC").as_unit("us")
FULL: dict[str, Any] = {
    "instrument": "EUR_USD",
    "time": START,
    "word": "HH",
    "id": "f9a23b52-b573-5bd7-9ea3-e067007ddc98",
    "at": START,
    "price": 1.5,
    "count": 3,
    "flag": True,
    "seen": START,
}
EMPTY = FULL | {"word": None, "id": None, "at": pd.NaT, "price": np.nan, "count": pd.NA, "flag": pd.NA}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    made = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in KINDS.names})
    for name in ("time", "at", "seen"):
        made[name] = pd.DatetimeIndex(pd.to_datetime(made[name], utc=True)).as_unit("us")
    return made.astype({"price": "float64", "count": "Int64", "flag": "boolean"})


def at_hour(hour: int, **values: Any) -> dict[str, Any]:
    return FULL | {"time": START + pd.Timedelta(hours=hour)} | values


# --- typed ------------------------------------------------------------------------------------------------------------


def test_masked_entries_are_null_of_every_kind() -> None:
    mask = [False, True]
    arrays = {
        "word": np.ma.array(np.array(["HH", "?"], dtype=object), mask=mask),
        "at": np.ma.array(np.array(["2025-03-10T05:00", "1970-01-01"], dtype="M8[us]"), mask=mask),
        "price": np.ma.array([1.5, 9.0], mask=mask),
        "count": np.ma.array([3, 9], mask=mask),
        "flag": np.ma.array([True, True], mask=mask),
    }
    rows = typed([c for c in KINDS.columns if c.name in arrays], arrays)
    assert rows["word"].tolist() == ["HH", None]
    assert rows["at"][0] == START
    assert rows["at"].isna().tolist() == mask
    assert rows["price"].tolist()[0] == 1.5
    assert rows["price"].isna().tolist() == mask
    assert str(rows["count"].dtype) == "Int64"
    assert rows["count"].isna().tolist() == mask
    assert str(rows["flag"].dtype) == "boolean"
    assert rows["flag"].isna().tolist() == mask


def test_what_is_never_null_has_a_plain_type() -> None:
    rows = typed(CANDLES.columns, {name: np.array([]) for name in CANDLES.names})
    assert rows["volume"].dtype == np.int64
    assert rows["open"].dtype == np.float64
    assert rows["time"].dtype == "datetime64[us, UTC]"
    assert typed(ATR.columns, {name: np.array([]) for name in ATR.names})["suspect"].dtype == bool


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_no_rows_are_typed_as_rows(table: Table) -> None:
    empty = no_rows(table)
    assert tuple(empty.columns) == table.names
    assert empty.empty
    assert not (empty.dtypes[[c.name for c in table.columns if c.kind == "float"]] != "float64").any()


# --- storable ---------------------------------------------------------------------------------------------------------


def test_columns_come_in_order_and_others_go() -> None:
    stored = storable(KINDS, frame(FULL).assign(more=1)[["more", *reversed(KINDS.names)]])
    assert tuple(stored.columns) == KINDS.names


def test_negative_zero_is_zero() -> None:
    price = storable(KINDS, frame(FULL | {"price": -0.0}))["price"]
    assert math.copysign(1, price[0]) == 1


def test_nan_and_null_may_be_where_null_is_allowed() -> None:
    stored = storable(KINDS, frame(EMPTY))
    assert stored[["word", "id", "at", "price", "count", "flag"]].isna().all(axis=None)


@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
def test_an_infinity_is_an_error(infinity: float) -> None:
    with pytest.raises(StoreError, match=r"^kinds\.price would be infinite at EUR_USD 2025-03-10 06:00:00\+00:00$"):
        storable(KINDS, frame(FULL, at_hour(1, price=infinity)))


def test_quarantine_keeps_infinities_and_what_is_no_number() -> None:
    row = {name: [math.nan] for name in ("open", "high", "low", "close", "volume")} | {"open": [math.inf]}
    given_row = pd.DataFrame(
        {"instrument": ["EUR_USD"], "time": [START], "reason": ["x"], "fetched_at": [START], **row}
    )
    stored = storable(QUARANTINE, given_row)
    assert stored["open"].tolist() == [math.inf]
    assert stored["volume"].isna().all()


@pytest.mark.parametrize(
    ("column", "missing"), [("instrument", None), ("open", math.nan), ("volume", pd.NA), ("fetched_at", pd.NaT)]
)
def test_missing_where_null_is_not_allowed_is_an_error(column: str, missing: Any) -> None:
    candle = {"instrument": "EUR_USD", "time": START, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1}
    candles = pd.DataFrame([candle | {"fetched_at": START}]).astype({"volume": "Int64"})
    candles[column] = pd.Series([missing], dtype=candles[column].dtype if column != "instrument" else object)
    with pytest.raises(StoreError, match=rf"^candles\.{column} would be missing at "):
        storable(CANDLES, candles)


def test_index_of_the_frame_does_not_matter() -> None:
    rows = frame(FULL, at_hour(1))
    pd.testing.assert_frame_equal(storable(KINDS, rows.set_index(pd.Index([5, 5]))), storable(KINDS, rows))


# --- differences ------------------------------------------------------------------------------------------------------


def told_apart(stored: pd.DataFrame, fresh: pd.DataFrame) -> tuple[list[bool], list[bool], list[int]]:
    changed, gone, at = difference("h1", KINDS, stored, fresh)
    return changed.tolist(), gone.tolist(), at.tolist()


def test_equal_rows_do_not_differ() -> None:
    for row in (FULL, EMPTY):
        assert told_apart(frame(row), frame(row)) == ([False], [False], [0])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("word", "LH"),
        ("id", "00000000-b573-5bd7-9ea3-e067007ddc98"),
        ("at", START + pd.Timedelta(microseconds=1)),
        ("price", math.nextafter(1.5, 2)),
        ("count", 4),
        ("flag", False),
    ],
)
def test_every_value_counts(column: str, value: Any) -> None:
    assert told_apart(frame(FULL), frame(FULL | {column: value})) == ([True], [False], [0])
    assert told_apart(frame(FULL | {column: EMPTY[column]}), frame(FULL)) == ([True], [False], [0])
    assert told_apart(frame(FULL), frame(FULL | {column: EMPTY[column]})) == ([True], [False], [0])


def test_bookkeeping_and_the_sign_of_zero_do_not_count() -> None:
    later = FULL | {"seen": START + pd.Timedelta(hours=1)}
    assert told_apart(frame(FULL), frame(later)) == ([False], [False], [0])
    assert told_apart(frame(FULL | {"price": 0.0}), frame(FULL | {"price": -0.0})) == ([False], [False], [0])


def test_new_and_gone() -> None:
    stored = frame(at_hour(0), at_hour(1), at_hour(2))
    fresh = frame(at_hour(1, price=9.0), at_hour(2), at_hour(3), FULL | {"instrument": "USD_JPY"})
    assert told_apart(stored, fresh) == ([True, False, True, True], [True, False, False], [1, 2, -1, -1])
    assert told_apart(stored[:0], fresh) == ([True] * 4, [], [-1] * 4)
    assert told_apart(stored, fresh[:0]) == ([], [True] * 3, [])


def test_any_nan_is_the_same_nothing() -> None:
    odd = np.array([0x7FF8000000000001], dtype=np.int64).view(np.float64)
    price = KINDS.columns[5]
    assert comparable(pd.Series(odd), price).tolist() == comparable(pd.Series([math.nan]), price).tolist()


hours = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, math.nan])), unique_by=lambda row: row[0])


@examples(100)
@given(hours, hours)
def test_difference_is_that_of_dictionaries(before: list[tuple[int, float]], after: list[tuple[int, float]]) -> None:
    stored, fresh = (
        frame(*(at_hour(h, price=p) for h, p in rows)) if rows else no_rows(KINDS) for rows in (before, after)
    )
    changed, gone, at = told_apart(stored, fresh)
    was = {hour: str(price) for hour, price in before}
    assert changed == [was.get(hour) != str(price) for hour, price in after]
    assert gone == [hour not in dict(after) for hour, _ in before]
    assert at == [[hour for hour, _ in before].index(hour) if hour in was else -1 for hour, _ in after]


def test_features_have_every_nullable_kind() -> None:
    kinds = {(column.kind, column.nullable) for column in FEATURES.columns}
    assert {("float", True), ("int", True), ("bool", True), ("text", True), ("int", False)} <= kinds
