"""What a mean over dependent rows is worth: stretches of time, of whole cases, as independent observations.

Rows of one case share its fate, and cases that meet the same outage fail together. So cases are put into
blocks by the time they began, and each block counts once: the mean of `values` is sum_b D_b / sum_b n_b for
block sums D_b over n_b rows, its error that of a ratio of means.

Losses are skewed (a rare failure costs much, a usual success little), and Student's t then promises more
than it keeps: against a base rate of 1.4 % where 0.7 % is true, a forecast of equal loss passes a bound at
3 % in 4.4 %, one at 0.12 % in 0.35 % of repetitions. The bound here is Hall's (1992, "On the removal of
skewness by transformation", Journal of the Royal Statistical Society B 54): with B blocks, skewness g and
U = (mean - true mean) / s, the monotone transform

    T = sqrt(B) (U + g U^2 / 3 + g^2 U^3 / 27 + g / (6 B))

is compared with Student's quantile; in the same setting it passes 3.3 % and 0.13 %.
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

BLOCKS_MIN: Final = 10
"""Fewer blocks say nothing of how blocks differ: a bound is unbounded then."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A mean, its standard error, and the bound that it truly lies above with probability 1 - level."""

    mean: float
    standard_error: float
    lower: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """As JSON values; an unbounded end is null."""
        told = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if math.isfinite(number) else None for name, number in told.items()}


class Blocks:
    """The block of each row. `cases` numbers each row's case; rows are in time order."""

    def __init__(self, cases: NDArray[np.int64], most: int) -> None:
        import numpy as np

        _, first, case = np.unique(cases, return_index=True, return_inverse=True)
        began = np.argsort(np.argsort(first, kind="stable"), kind="stable")
        found = len(first)
        self.count = min(most, found // 2)
        self.of_row: NDArray[np.int64] = (
            (began * self.count // found)[case] if self.count else np.zeros(len(cases), dtype=np.int64)
        )

    def bounded(self, values: Array, level: float, *, rows: NDArray[np.bool_] | None = None) -> Bounded:
        """The mean of `values` (of some `rows`), bounded from below; unbounded with too few blocks."""
        import numpy as np

        sums, sizes = self._sums(values, rows)
        blocks = len(sums)
        if not blocks:
            return Bounded(0.0, math.inf, -math.inf)
        mean = float(sums.sum() / sizes.sum())
        if blocks < BLOCKS_MIN:
            return Bounded(mean, math.inf, -math.inf)
        influence = (sums - mean * sizes) / sizes.mean()
        deviation = float(np.sqrt(np.sum(influence**2) / (blocks - 1)))
        if deviation <= 1e-12 * max(abs(mean), 1e-12):
            return Bounded(mean, 0.0, mean)
        skewness = float(np.mean(influence**3)) / deviation**3
        shift = hall_quantile(student_quantile(1 - level, blocks - 1), skewness, blocks)
        return Bounded(mean, deviation / math.sqrt(blocks), mean - shift * deviation)

    def draws(self, number: int, seed: int) -> Array:
        """How often each block was drawn with replacement, one row per resampling."""
        import numpy as np

        if not self.count:
            return np.ones((number, 1))
        even = np.full(self.count, 1 / self.count)
        drawn: Array = np.random.default_rng(seed).multinomial(self.count, even, number).astype(np.float64)
        return drawn

    def interval(self, values: Array, draws: Array) -> Interval:
        """The mean of `values` with its bootstrap interval over `draws`."""
        import numpy as np

        width = draws.shape[1]
        sums = np.bincount(self.of_row, weights=values, minlength=width)
        sizes = np.bincount(self.of_row, minlength=width)
        return interval_of(float(values.mean()), (draws @ sums) / (draws @ sizes), self.count)

    def _sums(self, values: Array, rows: NDArray[np.bool_] | None) -> tuple[Array, Array]:
        """Sum and number of the values in each block that has some."""
        import numpy as np

        numbers = self.of_row if rows is None else self.of_row[rows]
        kept = values if rows is None else values[rows]
        sizes = np.bincount(numbers, minlength=max(self.count, 1)).astype(np.float64)
        sums = np.bincount(numbers, weights=kept, minlength=max(self.count, 1)).astype(np.float64)
        return sums[sizes > 0], sizes[sizes > 0]


def interval_of(value: float, resampled: Array, blocks: int) -> Interval:
    """The central 95 % of resampled figures around `value`; unbounded with too few blocks."""
    import numpy as np

    told = resampled[np.isfinite(resampled)]
    if blocks < BLOCKS_MIN or not len(told):
        return Interval(value, -math.inf, math.inf)
    low, high = np.quantile(told, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def student_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t with `freedom` degrees of freedom.

    Four terms of its expansion in the normal's quantile (Abramowitz and Stegun, 26.7.5); from 9 degrees on
    right to a hundredth as far out as one in a million needs.

    >>> round(student_quantile(0.975, 10), 3)
    2.228
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    added: float = sum(term / freedom**power for power, term in enumerate(terms, start=1))
    return z + added


def hall_quantile(quantile: float, skewness: float, blocks: int) -> float:
    """The U whose transform T (module docstring) is `quantile`; without skewness quantile / sqrt(blocks).

    >>> hall_quantile(2.0, 0.0, 25)
    0.4
    """
    plain = quantile / math.sqrt(blocks)
    if abs(skewness) < 1e-6:
        return plain
    return 3 / skewness * (math.cbrt(1 + skewness * (plain - skewness / (6 * blocks))) - 1)
