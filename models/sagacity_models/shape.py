"""The shape of a duration: the law of Z where duration = median * exp(sigma * Z).

A `Shape` is known by knots of its quantile function: between them Z is linear in the level, so that levels,
quantiles and cut means are a bisection and a closed form, whatever the law (two humps, stalls, heavy tails).
Two knots of one level are a gap in which no call ends; two of one height are a share of calls that all take
equally long. Above the last knot the survival falls exponentially in Z, at `tail_rate`:

    E[exp(sigma Z); levels p to q] = (q - p) * (exp(sigma z_q) - exp(sigma z_p)) / (sigma (z_q - z_p))
    E[exp(sigma Z); level above P] = (1 - P) * exp(sigma z_P) * rate / (rate - sigma)

The median of Z is 0, so that `Latency.median_s` is the median of every shape. `NORMAL`, without knots, is the
standard normal: its duration is log-normal and has closed forms of its own, in `forecast`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

KNOTS_MAX: Final = 256
HEIGHT_MAX: Final = 200.0
RATE_MAX: Final = 1e3
_MEDIAN_CLOSE: Final = 1e-6
_EXPONENT_MAX: Final = 600.0
"""Beyond exp(600) a time is as good as endless; the bound keeps the arithmetic finite."""


class Shape:
    """An immutable law of Z: `levels` (from 0 to below 1) and `heights`, both never falling.

    `shown_to` is the level up to which data showed this law; above it the shape is an assumption. Raises
    `ValueError` where the knots are no law with median 0.
    """

    __slots__ = ("_hash", "heights", "levels", "shown_to", "tail_rate")

    levels: tuple[float, ...]
    heights: tuple[float, ...]
    tail_rate: float
    shown_to: float

    def __init__(
        self,
        levels: tuple[float, ...] = (),
        heights: tuple[float, ...] = (),
        tail_rate: float = 1.0,
        shown_to: float = 0.0,
    ) -> None:
        breach = _breach(levels, heights, tail_rate, shown_to)
        if breach:
            raise ValueError(f"a shape of durations {breach}")
        for name, value in (
            ("levels", levels),
            ("heights", heights),
            ("tail_rate", tail_rate),
            ("shown_to", shown_to),
            ("_hash", hash((levels, heights, tail_rate, shown_to))),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a shape cannot be changed ({name!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a shape cannot be changed ({name!r})")

    def __hash__(self) -> int:
        mine: int = self._hash  # type: ignore[attr-defined]  # kept from the making: knots are many
        return mine

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Shape):
            return NotImplemented
        return self._facts() == other._facts()

    def __repr__(self) -> str:
        return "NORMAL" if self.is_normal else f"Shape(<{len(self.levels)} knots>, shown_to={self.shown_to})"

    def __reduce__(self) -> tuple[type[Shape], tuple[Any, ...]]:
        return Shape, self._facts()

    def _facts(self) -> tuple[Any, ...]:
        return self.levels, self.heights, self.tail_rate, self.shown_to

    @property
    def is_normal(self) -> bool:
        """Whether this is the standard normal, which has no knots."""
        return not self.levels

    def survival(self, z: float) -> float:
        """P(Z > z); not for `NORMAL`."""
        heights, levels = self.heights, self.levels
        if z < heights[0]:
            return 1.0
        if z >= heights[-1]:
            return (1 - levels[-1]) * math.exp(-self.tail_rate * (z - heights[-1]))
        right = bisect_right(heights, z)
        low, high = heights[right - 1], heights[right]
        share = (z - low) / (high - low)
        return 1 - levels[right - 1] - share * (levels[right] - levels[right - 1])

    def quantile(self, level: float) -> float:
        """The least z with P(Z <= z) >= `level`, which is in (0, 1); not for `NORMAL`."""
        levels, heights = self.levels, self.heights
        if level > levels[-1]:
            return heights[-1] + math.log((1 - levels[-1]) / (1 - level)) / self.tail_rate
        right = max(bisect_left(levels, level), 1)
        low, high = levels[right - 1], levels[right]
        share = (level - low) / (high - low) if high > low else 0.0
        return heights[right - 1] + share * (heights[right] - heights[right - 1])

    def mean_until(self, sigma: float, z: float) -> float:
        """E[min(exp(sigma * Z), exp(sigma * z))]; not for `NORMAL`."""
        heights = self.heights
        if z <= heights[0]:
            return _exp(sigma * z)
        powers, sums = _integrals(self, sigma)
        late = _exp(sigma * z) * self.survival(z)
        if z >= heights[-1]:
            return sums[-1] + _tail(self, sigma, z - heights[-1]) * powers[-1] + late
        left = bisect_right(heights, z) - 1
        share = (z - heights[left]) / (heights[left + 1] - heights[left])
        mass = share * (self.levels[left + 1] - self.levels[left])
        return sums[left] + mass * powers[left] * _growth(sigma * (z - heights[left])) + late

    def restart_height(self, sigma: float, overhead: float) -> float:
        """The knot above the median at which to give up and start anew, if starting costs `overhead`
        medians: it minimises (E[min(D, t)] + P(D > t) * overhead) / P(D <= t), the expected time until a
        call ends when every call is cut off at t. Not for `NORMAL`.
        """
        return _restart_height(self, sigma, overhead)

    def as_json(self) -> dict[str, Any]:
        """The shape as JSON values; `from_json` reads them back."""
        return {
            "levels": list(self.levels),
            "heights": list(self.heights),
            "tail_rate": self.tail_rate,
            "shown_to": self.shown_to,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Shape:
        """The shape that `as_json` wrote; raises `ValueError` where that is none."""
        levels, heights = (tuple(map(float, written[name])) for name in ("levels", "heights"))
        return cls(levels, heights, float(written["tail_rate"]), float(written["shown_to"]))


def _breach(levels: tuple[float, ...], heights: tuple[float, ...], tail_rate: float, shown_to: float) -> str:
    """Why these are no shape; empty when they are one."""
    if not all(map(math.isfinite, (*levels, *heights, tail_rate, shown_to))):
        return "holds a number that is not finite"
    if not (0 < tail_rate <= RATE_MAX and 0 <= shown_to <= 1):
        return f"needs 0 < tail_rate <= {RATE_MAX} and a share shown_to, not {tail_rate!r} and {shown_to!r}"
    if not levels and not heights:
        return ""
    if len(levels) != len(heights) or not 2 <= len(levels) <= KNOTS_MAX:
        return f"needs 2 to {KNOTS_MAX} levels and as many heights, not {len(levels)} and {len(heights)}"
    if levels[0] != 0 or not 0.5 <= levels[-1] < 1 or max(map(abs, heights)) > HEIGHT_MAX:
        return f"needs levels from 0 to [0.5, 1) and heights within {HEIGHT_MAX}"
    for numbers in (levels, heights):
        if any(one > two for one, two in pairwise(numbers)):
            return "has knots that fall"
    low, high = bisect_left(levels, 0.5), bisect_right(levels, 0.5)
    if low == high or not heights[low] - _MEDIAN_CLOSE <= 0 <= heights[high - 1] + _MEDIAN_CLOSE:
        return "has no knot at its median, which must be 0"
    return ""


NORMAL: Final = Shape()
"""The standard normal: a log-normal duration."""


@lru_cache(maxsize=4096)
def _integrals(shape: Shape, sigma: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """At every knot exp(sigma z), and E[exp(sigma Z); below the knot]."""
    powers = [_exp(sigma * z) for z in shape.heights]
    sums = [0.0]
    for i in range(1, len(powers)):
        mass = shape.levels[i] - shape.levels[i - 1]
        gap = sigma * (shape.heights[i] - shape.heights[i - 1])
        sums.append(sums[-1] + (mass * powers[i - 1] * _growth(gap) if mass > 0 else 0.0))
    return tuple(powers), tuple(sums)


def _tail(shape: Shape, sigma: float, beyond: float) -> float:
    """E[exp(sigma (Z - z_last)); Z between the last knot and `beyond` after it]."""
    rate = shape.tail_rate
    return (1 - shape.levels[-1]) * rate * beyond * _growth((sigma - rate) * beyond)


def _growth(gap: float) -> float:
    """The mean of exp between 0 and `gap`."""
    return math.expm1(min(gap, _EXPONENT_MAX)) / gap if abs(gap) > 1e-12 else 1.0


def _exp(value: float) -> float:
    return math.exp(min(value, _EXPONENT_MAX))


@lru_cache(maxsize=4096)
def _restart_height(shape: Shape, sigma: float, overhead: float) -> float:
    powers, sums = _integrals(shape, sigma)
    best, found = math.inf, 0.0
    for level, height, power, below in zip(shape.levels, shape.heights, powers, sums, strict=True):
        if level >= 0.5:
            value = (below + (1 - level) * (power + overhead)) / level
            if value < best:
                best, found = value, height
    return found
