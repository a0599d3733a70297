"""Intervals of means over runs that come in blocks: for one look, or valid at every look.

Runs of one day are no independent witnesses, so days are counted: a ratio of sums is linearised, each block's
influence on it summed, and the deviation of those sums gives Student's interval (the cluster-robust one).

Somebody who looks every morning and stops when the interval leaves zero would be wrong far more often than it
says, so there is a second, wider one that may be looked at as often as one likes: the asymptotic confidence
sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021, "Time-uniform central limit theory and
asymptotic confidence sequences"), over blocks:

    estimate +- s / sqrt(n) * sqrt(2 (n r^2 + 1) / (n r^2) * ln(sqrt(n r^2 + 1) / alpha))

for n blocks whose influences have deviation s, with r chosen so that it is narrowest at `TIGHTEST` blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TIGHTEST: Final = 60
BLOCKS_MIN: Final = 10
"""Fewer blocks say nothing of how blocks differ: intervals are unbounded then."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its interval for one look, and the one that holds at every look; both at 1 - alpha."""

    value: float
    low: float
    high: float
    always_low: float
    always_high: float

    def as_json(self) -> dict[str, float | None]:
        """As JSON values; an unbounded end is null."""
        names = ("value", "low", "high", "always_low", "always_high")
        return {name: number if math.isfinite(number := getattr(self, name)) else None for name in names}


class Blocks:
    """The blocks of n runs; `blocks` numbers each run's block from 0. Intervals are at 1 - `alpha`."""

    def __init__(self, blocks: NDArray[np.int64], *, alpha: float) -> None:
        self._blocks = blocks
        self._count = int(blocks.max()) + 1
        self._alpha = alpha

    def difference(self, one: tuple[Array, Array], other: tuple[Array, Array] | None = None) -> Estimate:
        """The ratio of sums `one`, less that of `other`: means, each given as (weight x value, weight).

        All arrays have one number per run. Each ratio's weights must not all be zero.
        """
        import numpy as np

        value, influence = 0.0, np.zeros(len(self._blocks))
        for sign, (top, bottom) in zip(
            (1.0, -1.0), (one, *(() if other is None else (other,))), strict=False
        ):
            mean = float(top.sum() / bottom.sum())
            value += sign * mean
            influence += sign * (top - mean * bottom) / bottom.sum()
        if self._count < BLOCKS_MIN:
            return Estimate(value, -math.inf, math.inf, -math.inf, math.inf)
        sums = np.bincount(self._blocks, weights=influence, minlength=self._count)
        error = math.sqrt(float(sums @ sums) * self._count / (self._count - 1))
        once, always = error * self._student(), error * self._time_uniform()
        return Estimate(value, value - once, value + once, value - always, value + always)

    def _student(self) -> float:
        """Half the width of the interval for one look, in standard errors: Student's quantile.

        By its expansion in 1/degrees of freedom (Abramowitz and Stegun, 26.7.5), right to 0.001 from nine on.
        """
        z, freedom = NormalDist().inv_cdf(1 - self._alpha / 2), self._count - 1
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + first / freedom + second / freedom**2 + third / freedom**3

    def _time_uniform(self) -> float:
        """Half the width of the interval that holds at every look, in standard errors."""
        twice = -2 * math.log(self._alpha)
        spread = self._count * (twice + math.log(twice + 1)) / TIGHTEST  # n r^2
        return math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / self._alpha))
