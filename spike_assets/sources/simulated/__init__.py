"""A made-up market that needs no network: the same candles for everybody who asks, in any order.

Every number is a hash of what it belongs to, so a candle of 2003 costs as much as today's and nothing is
kept. Each currency has a walk of its own and a pair moves as the difference of two, so that a yen that
falls lifts all its crosses at once. Only IEEE-exact operations are used (+ − × ÷ √ and rounding; no exp, no
reductions), so that the bits agree on every machine. It is no model to trade on: no trends, no news, no
holidays, no gaps inside the week, and it makes no defects.
"""

from spike_assets.sources.simulated.source import SimulatedSource

__all__ = ["SimulatedSource"]
