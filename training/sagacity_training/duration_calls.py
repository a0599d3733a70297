"""Calls as arrays, what forecast laws say of them, and how well: coverage and pinball losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagacity_models.censored import SIGMA_MAX, SIGMA_MIN
from sagacity_models.durations import LOG_STEP_MAX, SIGMA_SHARE_MIN, Z90, ResidualLaws
from sagacity_models.shape_arrays import heights_at, levels_at
from sagacity_training.residual_laws import fit_laws
from sagacity_training.scores import pinball_losses
from sagacity_training.survival import Array, Codes, Flags, by_step, shares_within

JUDGED_LEVELS: Final = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls of one kind in order of launch; times are logarithms of seconds. One entry per call in each."""

    keys: tuple[str, ...]
    """Step keys, by code."""
    steps: Codes
    logs: Array
    """How long it took, or the timeout that cut it off."""
    cut: Flags
    limits: Array
    """The timeout in force; infinite where there was none or nobody knows."""
    weights: Array
    """1, but of a call that was cut off P(it was of this kind)."""
    location: Array
    """Log-median of the step's base latency."""
    scale: Array
    """Sigma of the step's base latency."""
    trees: NDArray[np.float32] | Array
    """Rows for trees: (call, column)."""

    def __len__(self) -> int:
        return len(self.logs)

    @property
    def residuals(self) -> Array:
        """What location and scale leave of the logarithms."""
        return (self.logs - self.location) / self.scale

    def moved(self, median: Array, p90: Array) -> Calls:
        """The same calls around what trees add to the base, within the bounds of serving."""
        low, high = (np.clip(add, -LOG_STEP_MAX, LOG_STEP_MAX) for add in (median, p90))
        least = np.maximum(SIGMA_MIN, SIGMA_SHARE_MIN * self.scale)
        scale = np.minimum(np.maximum(self.scale + (high - low) / Z90, least), SIGMA_MAX)
        return replace(self, location=self.location + low, scale=scale)

    def laws(self) -> ResidualLaws:
        """The residual laws of these calls."""
        return fit_laws(self.residuals, self.cut, self.weights, self.steps, self.keys)


class CallSlices(NamedTuple):
    """The slices in time order of calls of one kind, over the base rates of the first."""

    fit: Calls
    tune: Calls
    calibrate: Calls
    select: Calls

    @property
    def smallest(self) -> int:
        """Calls of the smallest slice."""
        return min(map(len, self))


class Judgement(NamedTuple):
    """How forecasts did on calls: losses per call (summed over `JUDGED_LEVELS`), and named figures."""

    losses: Array
    figures: dict[str, float]
    by_step: dict[str, dict[str, float]]


def joined(*parts: Calls) -> Calls:
    """The calls of all parts, which know the same steps, without the rows for trees: laws need none."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("steps", "logs", "cut", "limits", "weights", "location", "scale")
    }
    return Calls(keys=parts[0].keys, trees=np.zeros((sum(map(len, parts)), 0), np.float32), **arrays)


def judged(calls: Calls, laws: ResidualLaws) -> Judgement:
    """How the laws around the calls' location and scale do on these calls.

    Figures: `coverage_p50` and so on, the share of calls within that quantile, by product limit where
    timeouts cut (absent where they hide it); `pinball_p50` and so on, of log-durations with Powell's cut;
    `n`, the calls.
    """
    heights, places = _heights(calls, laws), _places(calls, laws)
    losses = np.zeros(len(calls))
    figures = {"n": float(len(calls))}
    for level in JUDGED_LEVELS:
        told = np.minimum(calls.location + calls.scale * heights[level], calls.limits)
        each = pinball_losses(calls.logs, told, level) * calls.weights
        losses += each
        if len(calls):
            figures[f"pinball_{_named(level)}"] = float(each.mean())
    figures |= _coverage(places, calls.cut, calls.weights)
    steps = {
        calls.keys[code]: {"n": float(len(rows))}
        | _coverage(places[rows], calls.cut[rows], calls.weights[rows])
        for code, rows in by_step(calls.steps)
    }
    return Judgement(losses, figures, steps)


def _heights(calls: Calls, laws: ResidualLaws) -> dict[float, Array]:
    """Per judged level, the height of Z at it, one per call."""
    levels = np.array(JUDGED_LEVELS)
    by_code = np.zeros((len(calls.keys), len(levels)))
    for code in np.unique(calls.steps).tolist():
        law = laws.of(calls.keys[code])
        by_code[code] = law.offset + heights_at(law.shape, levels)
    return {level: by_code[calls.steps, place] for place, level in enumerate(JUDGED_LEVELS)}


def _places(calls: Calls, laws: ResidualLaws) -> Array:
    """Per call, the level at which its forecast law puts it."""
    residuals, places = calls.residuals, np.zeros(len(calls))
    for code, rows in by_step(calls.steps):
        law = laws.of(calls.keys[code])
        places[rows] = levels_at(law.shape, residuals[rows] - law.offset)
    return places


def _coverage(places: Array, cut: Flags, weights: Array) -> dict[str, float]:
    shares = shares_within(places, cut, JUDGED_LEVELS, weights)
    return {
        f"coverage_{_named(level)}": share
        for level, share in zip(JUDGED_LEVELS, shares, strict=True)
        if share is not None
    }


def _named(level: float) -> str:
    return f"p{100 * level:g}"
