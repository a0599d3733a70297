"""The law of what location and scale leave of a log-duration: one shape per step, from calls of any law.

A step's own law is the product-limit estimate of its residuals, every end in the middle of its jump. Above
the last end seen nothing is known but what was assumed: there the survival falls as the normal's does, so a
quantile that no timeout ever let through is that of the log-normal base.

Few calls tell little, so a step's own law is mixed with that of all steps as if `PRIOR_CALLS` more calls had
followed it, and the pooled law in the same way with the standard normal. The mixture is kept as some forty
knots: levels denser in both tails, and wherever straight lines between these would miss it most (at the edge
of a stall, for instance).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from sagacity_models.durations import ResidualLaw, ResidualLaws
from sagacity_models.shape import HEIGHT_MAX, Shape
from sagacity_training.survival import Array, Codes, Flags, by_step, kaplan_meier

PRIOR_CALLS: Final = 20.0
OWN_CALLS_MIN: Final = 10
"""A step with fewer calls has the pooled law."""
LEVELS: Final = (
    *(0.0, 0.0005, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
    *(0.875, 0.9, 0.925, 0.95, 0.965, 0.975, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997, 0.998, 0.999),
    *(0.9995, 0.9998, 0.9999),
)
"""Levels that every shape knows."""
KNOTS_MORE_MAX: Final = 20
_ERROR_MAX: Final = 0.01  # of the share on the smaller side of a knot
_ERROR_LEAST: Final = 1e-4
_POINTS_MAX: Final = 1_500
_EDGE_POINTS: Final = 100
_DECADES: Final = 6
_RATE_MIN: Final = 0.5
_NORMAL: Final = NormalDist()


class _Curve(NamedTuple):
    """A distribution by points, both never falling, and the level up to which calls showed it."""

    heights: Array
    levels: Array
    shown_to: float


def fit_laws(residuals: Array, cut: Flags, weights: Array, steps: Codes, keys: Sequence[str]) -> ResidualLaws:
    """The laws of steps from the residuals of their calls; `steps` are places in `keys`."""
    residuals = np.clip(residuals, -HEIGHT_MAX / 2, HEIGHT_MAX / 2)
    whole = _own(residuals, cut, weights)
    if whole is None:
        return ResidualLaws()
    pooled = _mixed(whole, float(weights.sum()), _normal())
    laws: dict[str, ResidualLaw] = {}
    for code, rows in by_step(steps):
        calls = float(weights[rows].sum())
        own = _own(residuals[rows], cut[rows], weights[rows]) if calls >= OWN_CALLS_MIN else None
        if own is not None:
            laws[keys[code]] = _law(_mixed(own, calls, pooled), calls)
    return ResidualLaws(laws, _law(pooled, 0.0))


def _own(residuals: Array, cut: Flags, weights: Array) -> _Curve | None:
    """The calls' own law, above the last end as the normal falls; None where no end was seen."""
    survival = kaplan_meier(residuals, cut, weights)
    if not len(survival.ends):
        return None
    middles = 1 - (survival.before + survival.after) / 2
    left = float(survival.after[-1])
    heights, levels = [survival.ends[:1], survival.ends], [np.zeros(1), middles]
    if left > 0:
        heights.append(survival.ends[-1:])
        levels.append(np.array([1 - left]))
    else:
        left = 1 - float(middles[-1])
    last = float(survival.ends[-1])
    beyond, falls = _normal_tail(last)
    return _thinned(np.concatenate([*heights, beyond]), np.concatenate([*levels, 1 - left * falls]), 1 - left)


def _normal_tail(last: float) -> tuple[Array, Array]:
    """Heights above `last`, and the normal's P(Z > height | Z > last) there."""
    falls = np.logspace(0, -_DECADES, 8 * _DECADES + 1)[1:]
    tail = max(_NORMAL.cdf(-last), 1e-290)
    heights = np.array([-_NORMAL.inv_cdf(tail * float(fall)) for fall in falls])
    return np.maximum(heights, last), falls


def _normal() -> _Curve:
    levels = np.concatenate([np.logspace(-6, -2, 80), np.arange(0.015, 0.5, 0.005)])
    levels = np.concatenate([levels, [0.5], 1 - levels[::-1]])
    return _Curve(np.array([_NORMAL.inv_cdf(float(level)) for level in levels]), levels, 0.0)


def _thinned(heights: Array, levels: Array, shown_to: float) -> _Curve:
    """At most some `_POINTS_MAX` of the points, evenly by their number, and all of both edges."""
    if len(heights) > _POINTS_MAX:
        even = np.linspace(0, len(heights) - 1, _POINTS_MAX).astype(np.int64)
        edges = np.arange(_EDGE_POINTS)
        most = len(heights) - 1 - np.arange(2 * _EDGE_POINTS)
        kept = np.unique(np.concatenate([even, edges, most]))
        heights, levels = heights[kept], levels[kept]
    return _Curve(heights, levels, shown_to)


def _mixed(own: _Curve, calls: float, prior: _Curve) -> _Curve:
    """The law of `calls` calls of one's own and `PRIOR_CALLS` of the prior's, by the points of both."""
    # A point that occurs twice is a jump: kept twice, with the levels on its two sides.
    heights = np.sort(np.concatenate([own.heights, prior.heights]))
    first = np.concatenate([[True], heights[1:] != heights[:-1]])
    share = calls / (calls + PRIOR_CALLS)
    levels = np.where(
        first,
        share * _levels(own, heights, "left") + (1 - share) * _levels(prior, heights, "left"),
        share * _levels(own, heights, "right") + (1 - share) * _levels(prior, heights, "right"),
    )
    return _Curve(heights, np.maximum.accumulate(levels), own.shown_to)


def _levels(curve: _Curve, heights: Array, side: str) -> Array:
    """The level of `curve` at every height, at a jump on its `side`."""
    right = np.searchsorted(curve.heights, heights, side="left" if side == "left" else "right")
    inner = np.clip(right, 1, len(curve.heights) - 1)
    low, high = curve.heights[inner - 1], curve.heights[inner]
    gap = np.where(high > low, high - low, 1.0)
    part = np.where(high > low, np.clip((heights - low) / gap, 0.0, 1.0), float(side == "right"))
    levels = curve.levels[inner - 1] + part * (curve.levels[inner] - curve.levels[inner - 1])
    return np.where(right == 0, 0.0, np.where(heights > curve.heights[-1], curve.levels[-1], levels))


def _law(curve: _Curve, calls: float) -> ResidualLaw:
    """The curve as knots around its median."""
    knots = _knots(curve)
    offset = float(knots.heights[np.searchsorted(knots.levels, 0.5)])
    rate = float(np.clip(_hazard(float(knots.heights[-1])), _RATE_MIN, HEIGHT_MAX))
    shape = Shape(
        tuple(round(level, 8) for level in knots.levels.tolist()),
        tuple(round(height - offset, 8) for height in knots.heights.tolist()),
        round(rate, 6),
        round(min(max(curve.shown_to, 0.0), 1.0), 6),
    )
    return ResidualLaw(round(offset, 8), shape, round(calls, 3))


def _knots(curve: _Curve) -> _Curve:
    """The curve at `LEVELS`, and at those of its points that straight lines would miss most."""
    levels = np.array(LEVELS)
    heights = np.interp(levels, curve.levels, curve.heights)
    heights[0] = curve.heights[0]
    knots = _Curve(heights, levels, curve.shown_to)
    bound = _ERROR_MAX * np.minimum(curve.levels, 1 - curve.levels) + _ERROR_LEAST
    bound[curve.levels >= LEVELS[-1]] = np.inf
    for _ in range(KNOTS_MORE_MAX):
        over = _levels(knots, curve.heights, "left") - curve.levels
        under = curve.levels - _levels(knots, curve.heights, "right")
        excess = np.maximum(over, under) - bound
        worst = int(np.argmax(excess))
        if excess[worst] <= 0:
            break
        levels = np.append(knots.levels, curve.levels[worst])
        heights = np.append(knots.heights, curve.heights[worst])
        order = np.lexsort((heights, levels))
        knots = _Curve(heights[order], levels[order], curve.shown_to)
    return knots


def _hazard(z: float) -> float:
    """The standard normal's density over its survival; far out it approaches z + 1/z."""
    if z > 30:
        return z + 1 / z
    return _NORMAL.pdf(z) / _NORMAL.cdf(-z)
