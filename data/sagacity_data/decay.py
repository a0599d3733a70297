"""Exponentially decayed sums in event time, exact at every moment, and the rates that are read from them.

A sum with half-life h is sum_i amount_i * 2^-((t - t_i) / h). Nothing ticks and nothing is decayed: an amount
is kept as what it is worth at the beginning of its week, amount * 2^((t_i - week) / h), and whoever reads at
time t divides by 2^((t - week) / h). These growths are the same for every sum, so they are worked out once
per moment. A week holds a whole number of every half-life, so taking a sum to a later week multiplies it by a
power of two, which is exact: when a sum is read, or how often, cannot change what it becomes. Adding is
commutative: an amount that arrives late is added with the weight it would have by now.

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

WEEK_S: Final = 604_800.0
WIDTH: Final = len(HALF_LIVES_S)

Four = tuple[float, float, float, float]
"""One number per window, shortest first."""

_H0, _H1, _H2, _H3 = HALF_LIVES_S.values()
_HALVINGS: Final = tuple(int(WEEK_S / half_life) for half_life in HALF_LIVES_S.values())
_WEEKS_MAX: Final = 1_100
"""After so many weeks nothing is left of any sum, and a power of two can still be taken."""

_SURE: Final = 1e-15
"""What keeps log-odds finite when a rate cannot be told from 0 or 1."""


class Moment:
    """A time, as sums see it: its week, and per window what has grown from 1 since that week began."""

    __slots__ = ("at", "growth", "pseudo", "week")

    def __init__(self, at: float) -> None:
        exp2, k = math.exp2, PSEUDO_CALLS
        since = at % WEEK_S
        self.at = at
        self.week = round((at - since) / WEEK_S)
        self.growth: Four = exp2(since / _H0), exp2(since / _H1), exp2(since / _H2), exp2(since / _H3)
        g0, g1, g2, g3 = self.growth
        self.pseudo: Four = k * g0, k * g1, k * g2, k * g3  # `PSEUDO_CALLS`, grown alike.


class DecayedSums:
    """A few sums, each in every window. Sum number k occupies `sums[4k : 4k+4]`, shortest window first.

    `sums` are worth what they say at the beginning of `week`; `at` is the latest time added to.
    """

    __slots__ = ("at", "sums", "week")

    def __init__(self, at: float, week: int, sums: list[float]) -> None:
        self.at = at
        self.week = week
        self.sums = sums

    @classmethod
    def zero(cls, now: Moment, kinds: int) -> DecayedSums:
        """`kinds` empty sums as of `now`."""
        return cls(now.at, now.week, [0.0] * (WIDTH * kinds))

    def add(self, now: Moment, amounts: Sequence[tuple[int, float]]) -> None:
        """Adds (place of a sum, amount) pairs that belong to `now`, which may lie before earlier changes."""
        growth = now.growth
        if now.week != self.week:
            if now.week > self.week:
                self.sums, self.week = self.in_week(now.week), now.week
            else:
                growth = _taken(growth, now.week - self.week)
        self.at = max(self.at, now.at)
        sums = self.sums
        g0, g1, g2, g3 = growth
        for place, amount in amounts:
            sums[place] += amount * g0
            sums[place + 1] += amount * g1
            sums[place + 2] += amount * g2
            sums[place + 3] += amount * g3

    def in_week(self, week: int) -> list[float]:
        """The sums as worth at the beginning of `week`, not before their own. Do not change them."""
        if week == self.week:
            return self.sums
        factors = _taken((1.0, 1.0, 1.0, 1.0), self.week - week) * (len(self.sums) // WIDTH)
        return [amount * factor for amount, factor in zip(self.sums, factors, strict=True)]


def _taken(amounts: Four, weeks: int) -> Four:
    """Amounts per window, as worth so many weeks earlier (`weeks` is negative) than they were."""
    back = max(weeks, -_WEEKS_MAX)
    f0, f1, f2, f3 = (
        math.ldexp(amount, back * halvings) for amount, halvings in zip(amounts, _HALVINGS, strict=True)
    )
    return f0, f1, f2, f3


def shrunk(sums: Sequence[float], total: int, count: int, prior: float, pseudo: Four) -> Four:
    """The sum at place `total` per unit of that at `count`, per window, shortest first.

    `pseudo` is that of the `Moment` as of which the sums are read, in its week. With failures over calls and
    a prior in (0, 1) every rate is in [0, 1].

    >>> sums = [1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 4.0, 4.0]
    >>> [round(rate, 3) for rate in shrunk(sums, 0, 4, 0.25, Moment(0.0).pseudo)]
    [0.333, 0.25, 0.25, 0.25]
    """
    k0, k1, k2, k3 = pseudo
    r3 = (sums[total + 3] + k3 * prior) / (sums[count + 3] + k3)
    r2 = (sums[total + 2] + k2 * r3) / (sums[count + 2] + k2)
    r1 = (sums[total + 1] + k1 * r2) / (sums[count + 1] + k1)
    return (sums[total] + k0 * r1) / (sums[count] + k0), r1, r2, r3


def rates(
    sums: Sequence[float], total: int, count: int, prior: float, pseudo: Four
) -> tuple[float, float, float, float, float, float, float, float]:
    """`shrunk`, and then its log-odds in nats: finite even where a rate cannot be told from 0 or 1.

    >>> rates([0.0] * 8, 0, 4, 0.5, Moment(0.0).pseudo)
    (0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
    """
    k0, k1, k2, k3 = pseudo  # As `shrunk` does: to call it would take as long as the rates themselves.
    r3 = (sums[total + 3] + k3 * prior) / (sums[count + 3] + k3)
    r2 = (sums[total + 2] + k2 * r3) / (sums[count + 2] + k2)
    r1 = (sums[total + 1] + k1 * r2) / (sums[count + 1] + k1)
    r0 = (sums[total] + k0 * r1) / (sums[count] + k0)
    log, sure = math.log, _SURE
    return (
        r0,
        r1,
        r2,
        r3,
        log((r0 + sure) / (1.0 - r0 + sure)),
        log((r1 + sure) / (1.0 - r1 + sure)),
        log((r2 + sure) / (1.0 - r2 + sure)),
        log((r3 + sure) / (1.0 - r3 + sure)),
    )
