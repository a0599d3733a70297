"""Exponentially decayed sums in event time, exact at every moment, and the rates that are read from them.

A sum with half-life h is sum_i amount_i * 2^-((t - t_i) / h). It is kept as of the time of its last change
and decayed on reading, so that nothing has to tick. Adding is commutative: an amount that arrives late is
added with the weight it would have by now, and the sum is what it would have been.

A rate over a short window is shrunk towards the rate over the next longer one, the longest towards a prior:
    rate_h = (failures_h + k * rate_longer) / (calls_h + k),  k = PSEUDO_CALLS.
Silence therefore decays to the prior instead of to a rate that nothing supports any more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

HALF_LIVES_S: Final[dict[str, float]] = {"30m": 1_800.0, "3h": 10_800.0, "1d": 86_400.0, "7d": 604_800.0}
"""The windows, shortest first; every decayed quantity is kept in all of them."""

PSEUDO_CALLS: Final = 4.0
"""How many calls' worth of evidence the longer window (or the prior) counts for."""

_RATES: Final = tuple(math.log(2) / half_life for half_life in HALF_LIVES_S.values())
_R0, _R1, _R2, _R3 = _RATES
WIDTH: Final = len(_RATES)


class DecayedSums:
    """A few sums, each in every window. Sum number k occupies `sums[4k : 4k+4]`, shortest window first."""

    __slots__ = ("at", "sums")

    def __init__(self, at: float, sums: list[float]) -> None:
        self.at = at
        self.sums = sums

    @classmethod
    def zero(cls, at: float, kinds: int) -> DecayedSums:
        """`kinds` empty sums as of `at`."""
        return cls(at, [0.0] * (WIDTH * kinds))

    def add(self, at: float, amounts: Sequence[tuple[int, float]]) -> None:
        """Adds (sum number, amount) pairs that belong to time `at`, which may lie before the last change."""
        if at >= self.at:
            self.sums, self.at = self.as_of(at), at
            weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
        else:
            weights = _factors(self.at - at)
        sums = self.sums
        for kind, amount in amounts:
            place = kind * WIDTH
            for weight in weights:
                sums[place] += amount * weight
                place += 1

    def as_of(self, at: float) -> list[float]:
        """The sums at time `at`, which must not lie before the last change."""
        age = at - self.at
        if age <= 0:
            return self.sums[:]
        factors = _factors(age) * (len(self.sums) // WIDTH)
        return [amount * factor for amount, factor in zip(self.sums, factors, strict=True)]


def _factors(age_s: float) -> tuple[float, float, float, float]:
    exp = math.exp
    return exp(-age_s * _R0), exp(-age_s * _R1), exp(-age_s * _R2), exp(-age_s * _R3)


def shrunk(sums: Sequence[float], total: int, count: int, prior: float) -> list[float]:
    """Sum number `total` per unit of sum number `count`, per window, shortest first; never outside its data.

    With failures over calls and a prior in (0, 1) every rate is in (0, 1).

    >>> [round(rate, 3) for rate in shrunk([1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 4.0, 4.0], 0, 1, 0.25)]
    [0.333, 0.25, 0.25, 0.25]
    """
    rates = [0.0] * WIDTH
    rate = prior
    totals_end, counts_end = total * WIDTH + WIDTH, count * WIDTH + WIDTH
    for window in range(1, WIDTH + 1):
        rate = (sums[totals_end - window] + PSEUDO_CALLS * rate) / (sums[counts_end - window] + PSEUDO_CALLS)
        rates[-window] = rate
    return rates


def logit(rate: float) -> float:
    """The log-odds of a rate in (0, 1), in nats.

    >>> logit(0.5)
    0.0
    """
    return math.log(rate / (1.0 - rate))
