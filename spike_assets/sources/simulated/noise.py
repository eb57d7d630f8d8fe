"""Numbers that look random and are hashes: of a name, a purpose and a counter.

Only IEEE-exact operations (+ − × ÷ √), each on whole arrays, so that the bits are the same on every machine
and however many numbers are asked for at once. Nothing here knows about candles.
"""

import hashlib
import math
from functools import cache

import numpy as np
import numpy.typing as npt

from spike_assets.sources.resample import Floats

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

OCTAVES = 19
"""The longest wave of a walk is 2^18 steps, about nine years."""


def walk(keys: Words, steps: Ints) -> Floats:
    """Give walks after so many steps (ascending), shape `(len(keys), len(steps))`.

    A walk is a sum of octaves: hashed nodes every 2^j steps with a standard deviation of 2^(j/2) / 2, joined
    by straight lines. It wanders like a random walk (n steps have a standard deviation of √n) up to the
    longest octave, and no further. A key gives the `OCTAVES` words of `walk_keys`.
    """
    total = np.zeros((len(keys), len(steps)))
    for octave in range(OCTAVES):
        node = steps >> octave
        # Coarse nodes are shared by many steps, fine ones outnumber them.
        if node[-1] - node[0] < len(steps):
            nodes = _nodes(keys[:, octave], np.arange(node[0], node[-1] + 2))
            before, after = nodes[:, node - node[0]], nodes[:, node - node[0] + 1]
        else:
            before, after = _nodes(keys[:, octave], node), _nodes(keys[:, octave], node + 1)
        part = (steps - (node << octave)) / 2.0**octave
        total += (before + (after - before) * part) * math.sqrt(1.5 * 2.0**octave)
    return total


def _nodes(keys: Words, counters: Ints) -> Floats:
    """Give numbers from −1 to 1, most of them near 0, of variance 1/6."""
    one, other = halves(hashes(keys, counters))
    return one + other - 1.0


def halves(words: Words) -> tuple[Floats, Floats]:
    """Make two numbers of each word, from 0 to below 1, from its upper and its lower half."""
    upper, lower = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    return upper.astype(np.float64) * 2.0**-32, lower.astype(np.float64) * 2.0**-32


def hashes(keys: Words, counters: Ints) -> Words:
    """Give a word for each key and counter, shape `(len(keys), len(counters))`: splitmix64, once for each."""
    return _mixed(_mixed(counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ keys[:, None])


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@cache
def key(name: str, purpose: str) -> int:
    """Give the word under which the numbers of a name and a purpose are hashed."""
    return int.from_bytes(hashlib.sha256(f"{name} {purpose}".encode()).digest()[:8], "big")


@cache
def walk_keys(name: str) -> tuple[int, ...]:
    """Give the keys of one walk, one for each octave."""
    return tuple(key(name, f"octave {octave}") for octave in range(OCTAVES))
