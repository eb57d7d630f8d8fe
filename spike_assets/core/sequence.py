"""The `sequence_*` features: what the last four distances between levels do, as a short series."""

import numpy as np

from spike_assets.core.grouped import Floats, Grouped, nullable_bool, nullable_int

LENGTH = 4
"""How many distances are looked at, at most."""
FLATTEST = 0.0001
"""The change that curvature divides by is at least this large (ATRs)."""
DECAY = 0.9
STEADY = 0.2


def sequence(grouped: Grouped, distance_atr: Floats) -> dict[str, object]:
    """Give the `sequence_*` columns over s_1 … s_n, the last (up to) four `distance_atr`, oldest first.

    `distance_atr` is in ATRs, NaN for an instrument's first event only. So are `last`, `mean`, `std`, `change`,
    `final_velocity`, `acceleration` and `jerk`; the others are ratios. Sums go from the oldest to the newest.
    """
    n = np.minimum(grouped.rank, LENGTH)
    s = [grouped.shift(distance_atr, back) for back in range(LENGTH - 1, -1, -1)]  # s[-1] is the newest
    there = [n > back for back in range(LENGTH - 1, -1, -1)]
    velocity = [s[i] - s[i - 1] for i in range(1, LENGTH)]
    acceleration = [velocity[i] - velocity[i - 1] for i in range(1, LENGTH - 1)]
    last, oldest = s[-1], np.select([n == k for k in range(1, LENGTH + 1)], s[::-1], np.nan)
    mean, std = _mean_and_std(s, there, n)
    change = last - oldest
    with np.errstate(divide="ignore", invalid="ignore"):
        change_rate = np.where(oldest == 0, 0.0, change / np.abs(oldest))
        accelerating = acceleration[-1] > 0
        curvature = np.abs(acceleration[-1]) / np.maximum(np.abs(velocity[-2]), FLATTEST)
        urgency = np.minimum(3, np.maximum(1, np.floor(3 * np.abs(last))))
        urgency = np.minimum(3, urgency + (accelerating & (n >= 3)))
        decays = [~there[i - 1] | (np.abs(s[i]) < DECAY * np.abs(s[i - 1])) for i in range(1, LENGTH)]
        confidence = n / LENGTH * np.where(std < STEADY * np.abs(mean), 1.2, 1.0)
    some = n >= 1

    def least(count: int, values: Floats) -> Floats:
        return np.where(n >= count, values, np.nan)

    return {
        "sequence_last": least(1, last),
        "sequence_count": n.astype(np.int64),
        "sequence_mean": least(1, mean),
        "sequence_std": least(1, std),
        "sequence_change": least(1, change),
        "sequence_change_rate": least(1, np.asarray(change_rate)),
        "sequence_final_velocity": least(2, velocity[-1]),
        "sequence_acceleration": least(3, acceleration[-1]),
        "sequence_curvature": least(3, curvature),
        "sequence_jerk": least(4, acceleration[-1] - acceleration[-2]),
        "sequence_is_accelerating": nullable_bool(accelerating, n >= 3),
        "sequence_is_geometric_decay": nullable_bool(np.logical_and.reduce(decays), n >= 2),
        "sequence_urgency": nullable_int(np.where(some, urgency, np.nan)),
        "sequence_confidence": least(1, np.minimum(1.0, confidence)),
    }


def _mean_and_std(
    s: list[Floats],
    there: "list[np.ndarray[tuple[int], np.dtype[np.bool_]]]",
    n: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> tuple[Floats, Floats]:
    """Give the mean and the population standard deviation; where s has no member, adding 0.0 changes no bit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.zeros(len(n))
        for value, is_there in zip(s, there, strict=True):
            total = total + np.where(is_there, value, 0.0)
        mean = total / n
        squares = np.zeros(len(n))
        for value, is_there in zip(s, there, strict=True):
            squares = squares + np.where(is_there, (value - mean) * (value - mean), 0.0)
        return mean, np.sqrt(squares / n)
