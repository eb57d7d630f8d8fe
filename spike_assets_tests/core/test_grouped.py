"""Shifting stays within an instrument; NULLs go in and out as what they are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_assets.core.grouped import (
    Grouped,
    floats,
    instrument_codes,
    micros,
    nullable_bool,
    nullable_int,
    nullable_text,
    positions,
    stretches,
)
from spike_assets_tests.strategies import examples


def frame(instruments: str) -> pd.DataFrame:
    """Give a frame with one row per letter."""
    return pd.DataFrame({"instrument": pd.Series(list(instruments), dtype=object)})


def test_rows_know_their_place() -> None:
    grouped = Grouped(frame("AAABCC"))
    assert grouped.start.tolist() == [0, 0, 0, 3, 4, 4]
    assert grouped.position.tolist() == [0, 1, 2, 3, 4, 5]
    assert grouped.rank.tolist() == [0, 1, 2, 0, 0, 1]
    assert grouped.stretches() == [(0, 3), (3, 4), (4, 6)]
    assert stretches(frame("AAABCC")) == {"A": slice(0, 3), "B": slice(3, 4), "C": slice(4, 6)}


def test_shift_stays_within_an_instrument() -> None:
    grouped = Grouped(frame("AAABCC"))
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(grouped.shift(values), [np.nan, 1, 2, np.nan, np.nan, 5])
    np.testing.assert_array_equal(grouped.shift(values, 2), [np.nan, np.nan, 1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(grouped.shift(values, 0), values)
    np.testing.assert_array_equal(grouped.shift(values, 99), [np.nan] * 6)


def test_shift_keeps_integers_and_flags_apart_from_nan() -> None:
    grouped = Grouped(frame("AAB"))
    assert grouped.shift(np.array([7, 8, 9], dtype=np.int64), fill=0).tolist() == [0, 7, 0]
    flags = grouped.shift(np.array([True, True, True]), fill=False)
    assert flags.dtype == bool
    assert flags.tolist() == [False, True, False]


def test_no_rows() -> None:
    grouped = Grouped(frame(""))
    assert grouped.stretches() == []
    assert grouped.rank.tolist() == []
    assert grouped.shift(np.array([], dtype=np.float64)).tolist() == []
    assert stretches(frame("")) == {}


@pytest.mark.parametrize("instruments", ["ABA", "AABBA", "BABA"])
def test_rows_of_an_instrument_must_be_together(instruments: str) -> None:
    with pytest.raises(ValueError, match="not sorted by instrument"):
        Grouped(frame(instruments))


def test_codes_are_one_per_instrument_for_text_and_categories() -> None:
    text = frame("BBACC")
    categories = text.astype("category")
    for codes in (instrument_codes(text), instrument_codes(categories)):
        assert codes.dtype == np.int64
        assert len(set(codes[:2])) == 1
        assert len(set(codes)) == 3
    assert Grouped(categories).stretches() == Grouped(text).stretches()


@examples(100)
@given(st.lists(st.integers(0, 6), max_size=6), st.integers(0, 8))
def test_shift_is_that_of_each_instrument_by_itself(lengths: list[int], by: int) -> None:
    names = "".join(letter * length for letter, length in zip("ABCDEF", lengths, strict=False))
    values = np.arange(len(names), dtype=np.float64)
    expected = []
    for letter in "ABCDEF":
        mine = [value for name, value in zip(names, values.tolist(), strict=True) if name == letter]
        expected += ([np.nan] * by + mine)[: len(mine)]
    np.testing.assert_array_equal(Grouped(frame(names)).shift(values, by), expected)


def test_micros_are_since_1970_in_any_unit() -> None:
    for unit in ("s", "ms", "us", "ns"):
        times = pd.DatetimeIndex(["1970-01-01 00:00:01", "2025-03-10 05:00"], tz="UTC").as_unit(unit)
        assert micros(times).tolist() == [1_000_000, 1_741_582_800_000_000]
        assert micros(pd.Series(times)).tolist() == [1_000_000, 1_741_582_800_000_000]


def test_null_is_nan_as_float() -> None:
    columns = pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "f": [0.5, np.nan]})
    np.testing.assert_array_equal(floats(columns, "i"), [1.0, np.nan])
    np.testing.assert_array_equal(floats(columns, "f"), [0.5, np.nan])


def test_nan_is_null_as_integer_flag_and_text() -> None:
    whole = pd.Series(nullable_int(np.array([3.0, np.nan])))
    assert str(whole.dtype) == "Int64"
    assert whole[0] == 3
    assert whole[1] is pd.NA
    flags = pd.Series(nullable_bool(np.array([True, True]), np.array([True, False])))
    assert str(flags.dtype) == "boolean"
    assert flags[0]
    assert flags[1] is pd.NA
    assert nullable_text(np.array(["HH", "LH"]), np.array([True, False])).tolist() == ["HH", None]


def keyed(*keys: tuple[str, int]) -> pd.DataFrame:
    """Give a frame of instruments and times, the latter in hours since 1970."""
    names, hours = zip(*keys, strict=True) if keys else ((), ())
    times = pd.DatetimeIndex(np.array(hours, dtype="M8[h]").astype("M8[us]"), tz="UTC")
    return pd.DataFrame({"instrument": pd.Series(list(names), dtype=object), "time": times})


def test_each_row_finds_its_counterpart() -> None:
    others = keyed(("A", 1), ("A", 2), ("B", 1))
    assert positions(keyed(("B", 1), ("A", 2), ("B", 2), ("C", 1)), others).tolist() == [2, 1, -1, -1]
    assert positions(keyed(("A", 1)), keyed()).tolist() == [-1]
    assert positions(keyed(), others).tolist() == []


def test_two_counterparts_are_refused() -> None:
    with pytest.raises(pd.errors.InvalidIndexError):
        positions(keyed(("A", 1)), keyed(("A", 1), ("A", 1)))


keys = st.tuples(st.sampled_from("ABC"), st.integers(-5, 5))


@examples(50)
@given(st.lists(keys), st.lists(keys, unique=True))
def test_counterparts_are_those_of_a_dictionary(rows: list[tuple[str, int]], others: list[tuple[str, int]]) -> None:
    places = {key: i for i, key in enumerate(others)}
    assert positions(keyed(*rows), keyed(*others)).tolist() == [places.get(key, -1) for key in rows]
