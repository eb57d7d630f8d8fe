"""Folders of files as people have them: laid out in several ways, changing, and broken."""

import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SourceError
from spike_assets.granularity import H1, H4, D, Granularity, W
from spike_assets.market_hours import Window
from spike_assets.sources.base import CandleSource, Fetched, no_candles
from spike_assets.sources.files import FilesSource
from spike_assets_tests.shared_data import SHARED, needs_shared
from spike_assets_tests.sources.test_resample import Row, hours_from, rows_of, slow_resample

FOREVER = Deadline.after(timedelta(days=1))
LATER = datetime(2026, 1, 1, tzinfo=UTC)
ALWAYS = Window(datetime(2000, 1, 1, tzinfo=UTC), LATER)
SUNDAY = datetime(2025, 3, 9, 21, tzinfo=UTC)
HOURS = hours_from(SUNDAY, 48)
HEADER = "time,open,high,low,close,volume\n"


def csv_line(row: Row) -> str:
    return f"{row[1]:%Y-%m-%dT%H:%M:%SZ},{','.join(str(number) for number in row[2:])}\n"


def write_csv(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(csv_line(row) for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[Row], time: str = "TIMESTAMPTZ") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE TABLE t (time {time}, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume BIGINT)"
        )
        for row in rows:
            connection.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [f"{row[1]:%Y-%m-%d %H:%M:%S}", *row[2:]])
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    return path


def fetch(
    source: CandleSource | Path,
    granularity: Granularity = H1,
    window: Window = ALWAYS,
    now: datetime = LATER,
    instruments: tuple[str, ...] = ("EUR_USD",),
) -> Fetched:
    source = FilesSource(source) if isinstance(source, Path) else source
    return source.fetch(granularity, dict.fromkeys(instruments, window), now=now, deadline=FOREVER)


def rows(source: CandleSource | Path, granularity: Granularity = H1, **asked: object) -> list[Row]:
    return rows_of(fetch(source, granularity, **asked).candles)  # type: ignore[arg-type]


def message(folder: Path, granularity: Granularity = H1) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(folder, granularity)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_says_what_it_is(tmp_path: Path) -> None:
    source: CandleSource = FilesSource(tmp_path)
    assert (source.name, source.price) == ("files", "mid")


@pytest.mark.parametrize("layout", ["", "h1", "H1", "fx_h1", "My_H1"])
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_reads_h1_from_every_layout(tmp_path: Path, layout: str, write: object) -> None:
    write(tmp_path / layout / f"EUR_USD.{'csv' if write is write_csv else 'parquet'}", HOURS)  # type: ignore[operator]
    assert rows(tmp_path) == HOURS


@pytest.mark.parametrize("time", ["TIMESTAMPTZ", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "VARCHAR"])
def test_reads_every_kind_of_parquet_time(tmp_path: Path, time: str) -> None:
    write_parquet(tmp_path / "EUR_USD.parquet", HOURS, time)
    assert rows(tmp_path) == HOURS


def test_reads_times_with_any_offset_or_none(tmp_path: Path) -> None:
    times = [
        "2025-03-10T01:00:00+02:00",
        "2025-03-10T00:00",
        "2025-03-10 01:00:00.000000000Z",
        "2025-03-09T22:00:00-0400",
    ]
    lines = [f"{time},1,2,0.5,1.5,{nth}\n" for nth, time in enumerate(times)]
    (tmp_path / "EUR_USD.csv").write_text("\ufeff" + HEADER + "".join(lines), encoding="utf-8")
    got = rows(tmp_path)
    assert [row[1].hour for row in got] == [23, 0, 1, 2]
    assert [row[6] for row in got] == [0, 1, 2, 3]


def test_ignores_other_columns_and_their_order(tmp_path: Path) -> None:
    text = "complete,close,low,volume,high,open,time\nTrue,1.5,0.5,7,2,1,2025-03-10T00:00:00\n"
    (tmp_path / "EUR_USD.csv").write_text(text, encoding="utf-8")
    assert rows(tmp_path) == [("EUR_USD", datetime(2025, 3, 10, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5, 7.0)]


def test_reads_numbers_to_the_last_bit(tmp_path: Path) -> None:
    numbers = [
        "1.13728",
        "0.000123456789012345",
        "8.988465674311582e+307",
        "123456.78901234568",
        "1.7976931348623157e308",
    ]
    (tmp_path / "EUR_USD.csv").write_text(f"{HEADER}2025-03-10T00:00Z,{','.join(numbers)}\n", encoding="utf-8")
    assert rows(tmp_path)[0][2:] == tuple(float(number) for number in numbers)


def test_a_folder_whose_name_looks_like_a_pattern_is_read_all_the_same(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data [1]*" / "EUR_USD.parquet", HOURS)
    assert rows(tmp_path / "data [1]*") == HOURS


@pytest.mark.parametrize("granularity", [H4, D, W], ids=str)
def test_resamples_what_it_has_no_files_for(tmp_path: Path, granularity: Granularity) -> None:
    many = hours_from(SUNDAY, 24 * 14)
    write_csv(tmp_path / "EUR_USD.csv", many)
    assert rows(tmp_path, granularity) == slow_resample(many, granularity) != []


def test_prefers_a_file_of_the_granularity_for_each_instrument_by_itself(tmp_path: Path) -> None:
    own: Row = ("EUR_USD", SUNDAY, 1.0, 2.0, 0.5, 1.5, 7.0)
    for name in ("EUR_USD", "AUD_JPY"):
        write_csv(tmp_path / "fx_h1" / f"{name}.csv", HOURS)
    write_csv(tmp_path / "fx_d" / "EUR_USD.csv", [own])
    write_csv(tmp_path / "fx_d_mt5" / "AUD_JPY.csv", [own])
    write_csv(tmp_path / "fx_d" / "GBP_USD.csv", [own])
    got = rows(tmp_path, D, instruments=("EUR_USD", "AUD_JPY", "GBP_USD"))
    assert got == [own, *(("AUD_JPY", *row[1:]) for row in slow_resample(HOURS, D)), ("GBP_USD", *own[1:])]


def test_an_instrument_without_a_file_is_unavailable_and_stops_nobody(tmp_path: Path) -> None:
    write_csv(tmp_path / "EUR_USD.csv", HOURS)
    for granularity in (H1, D):
        fetched = fetch(tmp_path, granularity, instruments=("USD_RON", "EUR_USD"))
        assert fetched.unavailable == {"USD_RON": f"no USD_RON.parquet or USD_RON.csv in {tmp_path}"}
        assert set(fetched.candles["instrument"]) == {"EUR_USD"}


def test_an_empty_folder_and_an_empty_file_have_no_candles(tmp_path: Path) -> None:
    assert rows(tmp_path) == []
    for granularity in (H1, H4):
        write_csv(tmp_path / "EUR_USD.csv", [])
        fetched = fetch(tmp_path, granularity)
        assert fetched.unavailable == {}
        assert fetched.candles.dtypes.to_dict() == no_candles().dtypes.to_dict()


def test_types_are_those_of_a_source(tmp_path: Path) -> None:
    write_parquet(tmp_path / "EUR_USD.parquet", HOURS)
    for granularity in (H1, H4):
        assert fetch(tmp_path, granularity).candles.dtypes.to_dict() == no_candles().dtypes.to_dict()


def test_gives_each_instrument_its_own_half_open_window(tmp_path: Path) -> None:
    for name in ("EUR_USD", "AUD_JPY"):
        write_csv(tmp_path / f"{name}.csv", HOURS)
    early = Window(SUNDAY, SUNDAY + timedelta(hours=2))
    late = Window(SUNDAY + timedelta(hours=2), SUNDAY + timedelta(hours=3))
    backwards = Window(late.end, early.start)
    fetched = FilesSource(tmp_path).fetch(H1, {"EUR_USD": late, "AUD_JPY": early}, now=LATER, deadline=FOREVER)
    assert [(row[0], row[6]) for row in rows_of(fetched.candles)] == [("EUR_USD", 12), ("AUD_JPY", 10), ("AUD_JPY", 11)]
    assert rows(tmp_path, window=backwards) == []


@pytest.mark.parametrize(("granularity", "hours"), [(H1, 1), (H4, 4), (D, 24)], ids=str)
def test_gives_a_candle_only_once_it_has_closed(tmp_path: Path, granularity: Granularity, hours: int) -> None:
    write_csv(tmp_path / "EUR_USD.csv", HOURS)
    source = FilesSource(tmp_path)
    close = SUNDAY + timedelta(hours=hours)
    assert [row[1] for row in rows(source, granularity, now=close)] == [SUNDAY]
    assert rows(source, granularity, now=close - timedelta(microseconds=1)) == []


def test_a_candle_off_the_grid_closes_with_the_candle_it_lies_in(tmp_path: Path) -> None:
    stray: Row = ("EUR_USD", SUNDAY + timedelta(minutes=20), 1.0, 2.0, 0.5, 1.5, 7.0)
    write_csv(tmp_path / "EUR_USD.csv", [stray])
    assert rows(tmp_path, now=SUNDAY + timedelta(minutes=59)) == []
    assert rows(tmp_path, now=SUNDAY + timedelta(hours=1)) == [stray]


def test_sorts_by_time_and_keeps_duplicates_as_in_the_file(tmp_path: Path) -> None:
    corrected: Row = ("EUR_USD", HOURS[3][1], 50.0, 51.0, 49.0, 50.0, 3.0)
    written = [*reversed(HOURS), corrected]
    for write, name in ((write_csv, "csv"), (write_parquet, "parquet")):
        path = write(tmp_path / f"EUR_USD.{name}", written)
        assert rows(tmp_path) == [*HOURS[:4], corrected, *HOURS[4:]]
        assert rows(tmp_path, H4)[0][3] == 51.0
        path.unlink()


def test_what_is_no_number_becomes_nan_and_stays(tmp_path: Path) -> None:
    bad = ["oops", "", "nan", "1_000", "1,5"]
    lines = [f'2025-03-10T0{nth}:00Z,"{text}",2,0.5,1.5,7\n' for nth, text in enumerate(bad)]
    (tmp_path / "EUR_USD.csv").write_text(HEADER + "".join(lines) + "2025-03-10T05:00Z,1,2\n", encoding="utf-8")
    candles = fetch(tmp_path).candles
    assert candles["open"].isna().tolist() == [True] * 5 + [False]
    assert candles["volume"].isna().tolist() == [False] * 5 + [True]
    [coarse] = rows(tmp_path, H4)
    assert math.isnan(coarse[2])
    assert coarse[3:] == (2.0, 0.5, 1.5, 28.0)


def test_parquet_numbers_may_be_missing_or_text(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT TIMESTAMP '2025-03-10' AS time, '1.25' AS open, 'oops' AS high, NULL::DOUBLE AS low,"
            f" 1.5::DECIMAL(9, 5) AS close, 7::TINYINT AS volume) TO '{tmp_path}/EUR_USD.parquet' (FORMAT parquet)"
        )
    candles = fetch(tmp_path).candles
    assert candles[["open", "close", "volume"]].to_numpy().tolist() == [[1.25, 1.5, 7.0]]
    assert candles[["high", "low"]].isna().to_numpy().all()


def test_sees_appended_and_corrected_candles_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "EUR_USD.csv", HOURS[:30])
    read: list[object] = []
    real: Any = pd.read_csv

    def counting(path: Path, **how: Any) -> Any:
        read.append(path)
        return real(path, **how)

    monkeypatch.setattr(pd, "read_csv", counting)
    source = FilesSource(tmp_path)
    assert rows(source) == rows(source) == HOURS[:30]
    assert rows(source, D) == slow_resample(HOURS[:30], D)
    assert len(read) == 1

    with path.open("a", encoding="utf-8") as file:
        file.writelines(csv_line(row) for row in HOURS[30:])
    assert rows(source) == HOURS
    assert rows(source, D) == slow_resample(HOURS, D)
    assert len(read) == 2

    corrected = [("EUR_USD", HOURS[0][1], *HOURS[0][2:6], 90.0), *HOURS[1:]]
    write_csv(path, corrected)
    os.utime(path, ns=(0, 1))  # the same size: only the time tells
    assert rows(source, D) == slow_resample(corrected, D)
    assert rows(source) == corrected


def test_stops_at_its_deadline(tmp_path: Path) -> None:
    write_csv(tmp_path / "EUR_USD.csv", HOURS)
    with pytest.raises(DeadlineError, match="reading the H1 candles of EUR_USD"):
        FilesSource(tmp_path).fetch(H1, {"EUR_USD": ALWAYS}, now=LATER, deadline=Deadline(0.0, lambda: 1.0))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    assert message(folder) == f"{folder} does not exist; set SPIKE_FILES_DIR to a folder of candle files"


def test_a_file_instead_of_a_folder_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "EUR_USD.csv", HOURS)
    assert message(path) == f"{path} is not a folder; set SPIKE_FILES_DIR to a folder of candle files"


def test_two_folders_of_one_granularity_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "fx_d" / "EUR_USD.csv", HOURS)
    write_csv(tmp_path / "D" / "EUR_USD.csv", HOURS)
    assert message(tmp_path, D) == f"{tmp_path} has several folders of D candles (D, fx_d); keep one"


@pytest.mark.parametrize("granularity", [H1, H4], ids=str)
def test_two_files_of_one_instrument_are_refused(tmp_path: Path, granularity: Granularity) -> None:
    write_csv(tmp_path / "EUR_USD.csv", HOURS)
    write_parquet(tmp_path / "EUR_USD.parquet", HOURS)
    expected = f"{tmp_path}/EUR_USD.csv and {tmp_path}/EUR_USD.parquet hold the same candles; keep one of them"
    assert message(tmp_path, granularity) == expected
    assert fetch(tmp_path, granularity, instruments=("AUD_JPY",)).unavailable.keys() == {"AUD_JPY"}


def test_a_file_beside_and_in_the_h1_folder_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "EUR_USD.csv", HOURS)
    write_csv(tmp_path / "h1" / "EUR_USD.csv", HOURS)
    assert "hold the same candles; keep one of them" in message(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "EUR_USD.csv"
    path.write_text("time,open,high,Low,close\n", encoding="utf-8")
    assert message(tmp_path) == (
        f"{path} has no column low, volume (it has time, open, high, Low, close); "
        "it needs time, open, high, low, close, volume"
    )
    path.unlink()
    path = tmp_path / "EUR_USD.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS time, 2 AS open) TO '{path}' (FORMAT parquet)")
    assert message(tmp_path).startswith(f"{path} has no column high, low, close, volume (it has time, open); ")


@pytest.mark.parametrize("time", ["10.03.2025 00:00", "now", "", "1741564800", "2025-03-10T25:00Z", "x"])
def test_a_time_that_cannot_be_read_is_shown(tmp_path: Path, time: str) -> None:
    path = tmp_path / "EUR_USD.csv"
    path.write_text(f"{HEADER}2025-03-10T00:00Z,1,1,1,1,1\n{time},1,1,1,1,1\n", encoding="utf-8")
    shown = repr(time) if time else "missing"
    assert message(tmp_path) == (
        f"{path} cannot be read (the time in row 2 is {shown}; write it like 2025-03-10T05:00:00Z); "
        "repair, replace or remove it"
    )


@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("NULL::TIMESTAMP", "the time in row 1 is missing; write it like 2025-03-10T05:00:00Z"),
        ("TIMESTAMP 'infinity'", "the time in row 1 is missing; write it like 2025-03-10T05:00:00Z"),
        ("NULL::VARCHAR", "the time in row 1 is missing; write it like 2025-03-10T05:00:00Z"),
        ("'soon'", "the time in row 1 is 'soon'; write it like 2025-03-10T05:00:00Z"),
        ("1741564800", "its time is INTEGER, not a timestamp"),
        ("TIME '05:00'", "its time is TIME, not a timestamp"),
    ],
)
def test_a_parquet_time_that_cannot_be_read_is_shown(tmp_path: Path, time: str, why: str) -> None:
    path = tmp_path / "EUR_USD.parquet"
    with duckdb.connect() as connection:
        columns = ", ".join(f"1 AS {name}" for name in ("open", "high", "low", "close", "volume"))
        connection.execute(f"COPY (SELECT {time} AS time, {columns}) TO '{path}' (FORMAT parquet)")
    assert message(tmp_path) == f"{path} cannot be read ({why}); repair, replace or remove it"


def garbled(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("EUR_USD.csv", b"", "No columns to parse from file"),
        ("EUR_USD.csv", b"\xff\xfe\x00garbage\n", "can't decode byte"),
        ("EUR_USD.csv", HEADER.encode() + b"2025-03-10T00:00Z,1,1,1,1,1,9\n", "more fields than its first row"),
        ("EUR_USD.csv", HEADER.encode() + b"2025-03-10T00:00Z,1,1,1,1,1\n1,2,3,4,5,6,7,8\n", "Error tokenizing"),
        ("EUR_USD.parquet", b"", "too small to be a Parquet file"),
        ("EUR_USD.parquet", b"not at all a parquet file", "No magic bytes"),
    ],
)
def test_a_garbled_file_is_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = garbled(tmp_path / name, content)
    text = message(tmp_path, H4)
    assert text.startswith(f"{path} cannot be read (")
    assert text.endswith("); repair, replace or remove it")
    assert why in text


def test_half_a_parquet_file_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "EUR_USD.parquet", HOURS)
    garbled(path, path.read_bytes()[:-20])
    assert message(tmp_path).startswith(f"{path} cannot be read (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "EUR_USD.csv", HOURS)
    path.chmod(0)
    assert message(tmp_path).startswith(f"{path} cannot be read (")


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    path = tmp_path / "EUR_USD.csv"
    path.symlink_to(tmp_path / "gone")
    assert message(tmp_path).startswith(f"{path} cannot be read (")


def test_a_broken_file_is_read_again_once_it_is_repaired(tmp_path: Path) -> None:
    path = garbled(tmp_path / "EUR_USD.csv", b"")
    source = FilesSource(tmp_path)
    with pytest.raises(SourceError):
        fetch(source)
    write_csv(path, HOURS)
    assert rows(source) == HOURS


@needs_shared
def test_the_captured_data_works_as_it_lies() -> None:
    everything, hours = FilesSource(SHARED), FilesSource(SHARED / "fx_h1")
    window = Window(datetime(2019, 5, 1, tzinfo=UTC), datetime(2019, 5, 29, tzinfo=UTC))
    asked = ("EUR_USD", "GBP_CHF", "USD_PHP")
    for granularity in (H1, H4, D, W):
        found = fetch(everything, granularity, window, instruments=asked)
        made = fetch(hours, granularity, window, instruments=asked)
        assert found.unavailable.keys() == made.unavailable.keys() == {"USD_PHP"}
        prices = ["instrument", "time", "open", "high", "low", "close"]  # captured volumes miss some ticks
        pd.testing.assert_frame_equal(found.candles[prices], made.candles[prices])
        assert set(found.candles["instrument"]) == {"EUR_USD", "GBP_CHF"}
