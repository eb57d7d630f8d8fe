"""What is declared of H1, H4, D and W, and that a tick comes soon after every close."""

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from spike_assets.granularity import GRANULARITIES, GRID_ANCHOR, H1, H4, NEW_YORK, D, Granularity, W
from spike_assets.market_hours import Window, candle_close, candle_times, utc_index

YEARS = [2024, 2025, 2026]
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)


def closes(granularity: Granularity, year: int) -> pd.DatetimeIndex:
    """Give the closes of all candles that open in a year."""
    window = Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
    return candle_close(granularity, candle_times(granularity, window))


def cron_ticks(cron: str, year: int) -> list[datetime]:
    """Give the ticks of a cron, in UTC, in a year and two weeks; only `minute hours * * weekday` is understood."""
    minute, hours, day, month, weekday = cron.split()
    assert (day, month) == ("*", "*")
    ticks = []
    midnight = datetime(year, 1, 1, tzinfo=UTC)
    while midnight < datetime(year + 1, 1, 15, tzinfo=UTC):
        for hour in range(24):
            if hours != "*" and str(hour) not in hours.split(","):
                continue
            if weekday not in {"*", str(midnight.isoweekday() % 7)}:
                continue
            ticks.append(midnight + timedelta(hours=hour, minutes=int(minute)))
        midnight += timedelta(days=1)
    return ticks


def ticks(granularity: Granularity, year: int) -> pd.DatetimeIndex:
    """Give the ticks of all crons of a granularity, in order."""
    return utc_index(sorted(tick for cron in granularity.crons for tick in cron_ticks(cron, year)))


def until_next_tick(granularity: Granularity, year: int) -> npt.NDArray[np.timedelta64]:
    """Give how long each candle of a year waits for the first tick after its close."""
    come = ticks(granularity, year)
    ends = closes(granularity, year)
    return np.asarray(come[come.searchsorted(ends, side="right")] - ends)


@pytest.mark.parametrize(
    ("granularity", "step", "zone", "slot"),
    [
        (H1, timedelta(hours=1), "UTC", "hour"),
        (H4, timedelta(hours=4), "America/New_York", "hour"),
        (D, timedelta(days=1), "America/New_York", "weekday"),
        (W, timedelta(days=7), "America/New_York", "any"),
    ],
    ids=str,
)
def test_candle_declarations(granularity: Granularity, step: timedelta, zone: str, slot: str) -> None:
    assert (granularity.step, granularity.zone.key, granularity.slot) == (step, zone, slot)


@pytest.mark.parametrize(
    ("granularity", "crons", "timeout"),
    [
        (H1, ("5 * * * *",), 30),
        (H4, ("5 1,5,9,13,17,21 * * *", "5 2,6,10,14,18,22 * * *"), 30),
        (D, ("5 21 * * *", "5 22 * * *"), 60),
        (W, ("5 21 * * 0",), 60),
    ],
    ids=str,
)
def test_tick_declarations(granularity: Granularity, crons: tuple[str, ...], timeout: int) -> None:
    assert granularity.crons == crons
    assert granularity.timeout == timedelta(seconds=timeout)
    assert granularity.retries == 2


@pytest.mark.parametrize(
    ("granularity", "cron", "exclusions"),
    [
        (H1, "0 * * * *", ("0 22-23 * * 5", "0 * * * 6", "0 0-20 * * 0")),
        (H4, "0 1,5,9,13,17,21 * * *", ("0 17,21 * * 5", "0 1,5,9,13,17,21 * * 6", "0 1,5,9,13 * * 0")),
        (D, "0 17 * * *", ("0 17 * * 5,6",)),
        (W, "0 17 * * 5", ()),
    ],
    ids=str,
)
def test_partition_declarations(granularity: Granularity, cron: str, exclusions: tuple[str, ...]) -> None:
    assert granularity.partition_cron == cron
    assert granularity.partition_exclusions == exclusions


def test_all_by_name_finest_first() -> None:
    assert list(GRANULARITIES) == ["H1", "H4", "D", "W"]
    assert all(GRANULARITIES[name].name == name for name in GRANULARITIES)
    assert all(finer.step < coarser.step for finer, coarser in pairwise(GRANULARITIES.values()))


@pytest.mark.parametrize(("granularity", "schema"), [(H1, "h1"), (H4, "h4"), (D, "d"), (W, "w")], ids=str)
def test_schema_and_text(granularity: Granularity, schema: str) -> None:
    assert granularity.schema == schema
    assert str(granularity) == granularity.name == schema.upper()


@EVERY
def test_lookback_reaches_over_twenty_candles_of_a_slot(granularity: Granularity) -> None:
    """`relative_volume` wants twenty: hours come five days a week, weekdays once a week, and any is every candle."""
    of_a_slot = {"hour": timedelta(days=7) / 5, "weekday": timedelta(weeks=1), "any": granularity.step}
    assert granularity.lookback >= 20 * of_a_slot[granularity.slot]


@EVERY
def test_granularities_cannot_be_changed(granularity: Granularity) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        granularity.retries = 3  # type: ignore[misc]


def test_grids_count_from_a_friday_at_five() -> None:
    assert GRID_ANCHOR.strftime("%A %H:%M") == "Friday 17:00"
    assert GRID_ANCHOR.tzinfo is None


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("granularity", [H1, H4, D], ids=str)
def test_a_tick_comes_five_minutes_after_every_close(granularity: Granularity, year: int) -> None:
    """Well inside the 65 minutes that waiting for the other season's tick would take."""
    assert set(until_next_tick(granularity, year)) == {np.timedelta64(5, "m")}


@pytest.mark.parametrize("year", YEARS)
def test_a_week_that_closed_on_friday_has_its_tick_on_sunday_2105(year: int) -> None:
    ends = closes(W, year)
    come = ends + until_next_tick(W, year)
    assert {time.strftime("%a %H:%M") for time in ends.to_pydatetime()} == {"Fri 21:00", "Fri 22:00"}
    assert {time.strftime("%a %H:%M") for time in come.to_pydatetime()} == {"Sun 21:05"}
    assert max(until_next_tick(W, year)) <= np.timedelta64(timedelta(days=2, minutes=5))


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("granularity", [H4, D], ids=str)
def test_each_of_the_two_crons_is_the_tick_of_one_season(granularity: Granularity, year: int) -> None:
    summer, winter = (set(cron_ticks(cron, year)) for cron in granularity.crons)
    assert not summer & winter
    for close in closes(granularity, year).to_pydatetime():
        in_summer = bool(close.astimezone(NEW_YORK).dst())
        assert close + timedelta(minutes=5) in (summer if in_summer else winter)


@pytest.mark.parametrize("granularity", [H4, D], ids=str)
def test_the_second_cron_is_the_first_an_hour_later(granularity: Granularity) -> None:
    summer, winter = (cron_ticks(cron, 2025) for cron in granularity.crons)
    assert [tick + timedelta(hours=1) for tick in summer] == winter
