"""Shapes for whole arrays: quantiles to sample with, levels to judge by. `Shape` says what they mean."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from sagacity_models.shape import Shape

Floats = npt.NDArray[np.float64]
_TAIL = 1e-9
_LOG_ODDS_MAX = 21.0


def heights_at(shape: Shape, levels: Floats) -> Floats:
    """The quantile of Z at every level; levels outside [1e-9, 1 - 1e-9] are cut to it."""
    if shape.is_normal:
        return normal_quantiles(levels)
    knots, heights = _knots(shape)
    cut = np.clip(levels, _TAIL, 1 - _TAIL)
    top = 1 - knots[-1]
    beyond = np.log(top / np.minimum(1 - cut, top)) / shape.tail_rate
    return np.asarray(np.interp(cut, knots, heights) + beyond)


def levels_at(shape: Shape, heights: Floats) -> Floats:
    """P(Z <= z) for every height z."""
    if shape.is_normal:
        return normal_levels(heights)
    knots, known = _knots(shape)
    beyond = np.maximum(heights - known[-1], 0.0)
    body = np.interp(heights, known, knots, left=0.0)
    return np.asarray(1 - (1 - body) * np.exp(-shape.tail_rate * beyond))


def normal_quantiles(levels: Floats) -> Floats:
    """The standard normal quantile of every level, by interpolation in a table of exact ones.

    The error is below 1e-5; levels outside [1e-9, 1 - 1e-9] are cut to it.
    """
    log_odds, values = _table()
    cut = np.clip(levels, _TAIL, 1 - _TAIL)
    return np.asarray(np.interp(np.log(cut / (1 - cut)), log_odds, values))


def normal_levels(heights: Floats) -> Floats:
    """The standard normal's P(Z <= z) for every z, from the same table: the error is below 1e-5."""
    log_odds, values = _table()
    return np.asarray(1 / (1 + np.exp(-np.interp(heights, values, log_odds))))


@lru_cache(maxsize=1)
def _table() -> tuple[Floats, Floats]:
    # In log odds the quantile is nearly straight, tails included.
    log_odds = np.linspace(-_LOG_ODDS_MAX, _LOG_ODDS_MAX, 4201)
    inverse = NormalDist().inv_cdf
    return log_odds, np.array([inverse(float(1 / (1 + np.exp(-x)))) for x in log_odds])


@lru_cache(maxsize=4096)
def _knots(shape: Shape) -> tuple[Floats, Floats]:
    return np.array(shape.levels), np.array(shape.heights)
