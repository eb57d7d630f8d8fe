"""Which events matter to a trader: four rules, each with its parameters, and what chance alone would give.

Pure functions over events and features; who is told, and how, is the business of `alerts`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spike_assets.core.grouped import Floats, Ints, floats, micros
from spike_assets.instruments import Grid

TIERS = ("minor", "major", "super")
"""Tiers of round numbers, the least first."""


_POSITIONS = np.array([None, "stalled", "swept"], dtype=object)


@dataclass(frozen=True)
class PsychologicalLevel:
    """The level lies at a round number, where orders gather: take-profits on it, stop-losses just beyond.

    *Swept* means that price went through the number and closed back below it (stops were run), *stalled* that it
    turned on the number or just before (orders held). Near means within a tenth of the candle's ATR, at least one pip,
    and never more than a twentieth of the distance between minor numbers: chance alone hits about 10 % of the time,
    at most.

    Parameters
    ----------
    grids
        Round numbers per instrument.
    decimals
        Per instrument, how many decimals a tick has.
    """

    grids: Mapping[str, Grid]
    decimals: Mapping[str, int]
    atr_share: float = 0.10
    least_ticks: int = 10
    widest_share: int = 20

    name = "psychological_level"

    def reasons(self, events: pd.DataFrame) -> pd.DataFrame:
        """Give tier, number, distance (pips, positive above the number), position and chance of each hit.

        Parameters
        ----------
        events
            instrument, time, level, atr, close; prices of the event's candle.

        Returns
        -------
        DataFrame
            One row per hit, indexed like `events`: tier, number (float64), pips (float64), position (`swept`,
            `stalled`, or None where price closed above the number), chance (share of all levels that would hit).
        """
        near = self._near(events)
        hit = np.abs(near.off) <= near.within
        scale = near.scale[hit]
        tier = np.where(near.number % near.super == 0, 2, np.where(near.number % near.major == 0, 1, 0))[hit]
        number, off = near.number[hit], near.off[hit]
        swept = (off > 0) & (near.close[hit] <= number)
        return pd.DataFrame(
            {
                "tier": np.array(TIERS, dtype=object)[tier],
                "number": number / scale,
                "pips": off / 10.0,
                # As objects: pandas would make text of it, and NaN of None.
                "position": pd.Series(_POSITIONS[np.where(swept, 2, off <= 0)], index=events.index[hit], dtype=object),
                "chance": self._chance(near.within, near.minor)[hit],
            },
            index=events.index[hit],
        )

    def chances(self, events: pd.DataFrame) -> Floats:
        """Give for each event the share of all possible levels that would hit."""
        near = self._near(events)
        return self._chance(near.within, near.minor)

    @staticmethod
    def _chance(within: Ints, minor: Ints) -> Floats:
        return np.asarray((2 * within + 1) / minor, dtype=np.float64)

    def _near(self, events: pd.DataFrame) -> "_Near":
        """Count everything in whole ticks: a floating-point remainder is no ruler."""
        names = events["instrument"].to_list()
        grid = np.array([self.grids[name] for name in names], dtype=np.int64).reshape(-1, 3)
        scale = np.array([10.0 ** self.decimals[name] for name in names])
        level, close = (_ticks(floats(events, column), scale) for column in ("level", "close"))
        minor = grid[:, 0]
        number = (level + minor // 2) // minor * minor
        # To a millionth of a tick: a tenth of 12 pips is 12 ticks, though its floating-point product is a bit less.
        share = np.floor(np.round(self.atr_share * floats(events, "atr") * scale, 6))
        widest = np.maximum(self.least_ticks, share).astype(np.int64)
        within = np.minimum(widest, minor // self.widest_share)
        return _Near(scale, close, number, level - number, within, minor, grid[:, 1], grid[:, 2])


@dataclass(frozen=True)
class _Near:
    """Each event's nearest minor number, in ticks."""

    scale: Floats
    close: Ints
    number: Ints
    off: Ints
    within: Ints
    minor: Ints
    major: Ints
    super: Ints


def _ticks(prices: Floats, scale: Floats) -> Ints:
    return np.rint(prices * scale).astype(np.int64)


@dataclass(frozen=True)
class VolumeSpike:
    """Far more was traded than is usual in this hour of the day: somebody with size was there.

    Both have to hold: `relative_volume`, how many times the median of the slot, and `volume_z`, how far that is out of
    the slot's own spread. The first alone fires in thin hours, the second in steady ones.
    """

    least_relative: float = 2.0
    least_z: float = 3.0

    name = "volume_spike"

    def reasons(self, events: pd.DataFrame) -> pd.DataFrame:
        """Give relative_volume and volume_z of each hit; NULL is no hit."""
        relative, z = floats(events, "relative_volume"), floats(events, "volume_z")
        hit = (relative >= self.least_relative) & (z >= self.least_z)
        return pd.DataFrame({"relative_volume": relative[hit], "volume_z": z[hit]}, index=events.index[hit])


@dataclass(frozen=True)
class PatternCompletion:
    """Three resistances in a row, each higher (HH-HH-HH) or each lower (LH-LH-LH) than the one before: a trend.

    Fires once, when the run is exactly three long.
    """

    length: int = 3

    name = "pattern_completion"

    def reasons(self, events: pd.DataFrame) -> pd.DataFrame:
        """Give the pattern of each hit, written out."""
        run = events["pattern_run"].to_numpy(dtype="float64", na_value=math.nan)
        hit = run == self.length
        pattern = events["pattern"].to_numpy(dtype=object)[hit]
        return pd.DataFrame({"pattern": ["-".join([one] * self.length) for one in pattern]}, index=events.index[hit])


@dataclass(frozen=True)
class Simultaneous:
    """Many instruments met resistance in the same candle: something happened to a currency, or to all.

    At least half of the instruments that have a candle at that time, and at least three. The group matters, not each
    of its members.
    """

    share: float = 0.5
    least: int = 3

    name = "simultaneous"

    def groups(self, events: pd.DataFrame, traded: pd.DataFrame) -> pd.DataFrame:
        """Give the groups.

        Parameters
        ----------
        events
            instrument, time.
        traded
            time of every stored candle at these times, once per instrument.

        Returns
        -------
        DataFrame
            One row per group, by time: time, members (tuple of instruments, sorted), of (how many had a candle),
            currency (`JPY as quote`; None where no currency is shared by more than half), sharing (how many
            members share it).
        """
        times, happened = np.unique(micros(events["time"]), return_counts=True)
        there, of = np.unique(micros(traded["time"]), return_counts=True)
        candles = of[np.searchsorted(there, times)]
        many = np.array([n >= self.threshold(int(m)) for n, m in zip(happened, candles, strict=True)], dtype=bool)
        met = events[np.isin(micros(events["time"]), times[many])]
        members = [tuple(sorted(names)) for _, names in met.groupby("time", sort=True)["instrument"]]
        shared = [shared_currency(names) for names in members]
        return pd.DataFrame(
            {
                "time": pd.DatetimeIndex(times[many].astype("M8[us]")).tz_localize("UTC"),
                "members": pd.Series(members, dtype=object),
                "of": candles[many],
                "currency": pd.Series([currency for currency, _ in shared], dtype=object),
                "sharing": np.array([sharing for _, sharing in shared], dtype=np.int64),
            }
        )

    def threshold(self, traded: int) -> int:
        """Give how many events make a group where so many instruments have a candle."""
        return max(self.least, math.ceil(round(self.share * traded, 6)))  # 55 % of 20 are 11, and no bit more


def shared_currency(members: Sequence[str]) -> tuple[str | None, int]:
    """Give the currency and side that more than half of some instruments share, and how many do.

    `USD as base`, `JPY as quote`; of several shared by equally many the first in the alphabet; None where none is.
    """
    sides = [f"{name[:3]} as base" for name in members] + [f"{name[4:]} as quote" for name in members]
    most = max(set(sides), key=lambda side: (sides.count(side), [-ord(letter) for letter in side]))
    return (most, sides.count(most)) if sides.count(most) > len(members) / 2 else (None, 0)
