"""The three learned models of a bundle: is a first attempt refused, why, and how long does success take.

Each carries which recipe was chosen for it, and each recipe starts from the base rates: trees predict what
must be *added* to the base logit (or log-share, or log-duration), and a linear model is the pooled slopes
plus the step's own deviation. A step that no model knows therefore gets its base rate, moved by what is
true of steps in general. `BASE` means that history carried no signal: the base rates themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sagacity_engine.errors import FailureClass
from sagacity_models.base_rates import CLASSES, StepRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration, Identity
from sagacity_models.censored import SIGMA_MAX, SIGMA_MIN
from sagacity_models.forecast import Latency
from sagacity_models.linear import LinearModel, logistic, logit, softmax

Z90: Final = 1.2815515655446004
"""The standard normal's 90 % quantile."""
LOG_STEP_MAX: Final = 4.0
"""A learned duration is at most exp(4), some fifty times, away from the step's base."""


class Recipe(StrEnum):
    """What computes a target; chosen by its score on a slice that nothing was fitted on."""

    BASE = "base"  # No signal was found: the step's mean rates.
    LINEAR = "linear"  # Pooled slopes and each step's deviation from them.
    BOOSTED = "boosted"  # Boosted trees over all steps.
    MEAN = "mean"  # The mean of the linear and the boosted scores.


@dataclass(frozen=True, slots=True)
class StepRows:
    """Steps of one run, encoded: base rates, and the rows of both kinds of model, all in one order."""

    keys: Sequence[str]
    rates: Sequence[StepRates]
    designs: Sequence[Sequence[float]]
    trees: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class RefusalModel:
    """P(the first attempt is refused). `linear` is kept for explanations even where it was not chosen."""

    recipe: Recipe = Recipe.BASE
    linear: Mapping[str, LinearModel] = field(default_factory=dict)
    pooled: LinearModel | None = None
    boosted: BoostedModel | None = None
    calibration: Calibration = field(default_factory=Identity)

    def probabilities(self, rows: StepRows) -> list[float]:
        """One calibrated probability per step."""
        if self.recipe is Recipe.BASE:
            return [rates.refusal for rates in rows.rates]
        return [self.calibration(logistic(score)) for score in self.scores(rows)]

    def scores(self, rows: StepRows) -> list[float]:
        """One logit per step, before calibration."""
        base = [logit(rates.refusal) for rates in rows.rates]
        if self.recipe is Recipe.BASE:
            return base
        if self.recipe is Recipe.LINEAR:
            return self._linear(rows, base)
        assert self.boosted is not None  # a bundle with this recipe was refused without its booster
        boosted = [low + add[0] for low, add in zip(base, self.boosted.scores(rows.trees), strict=True)]
        if self.recipe is Recipe.BOOSTED:
            return boosted
        return [(one + two) / 2 for one, two in zip(self._linear(rows, base), boosted, strict=True)]

    def _linear(self, rows: StepRows, base: list[float]) -> list[float]:
        return [
            low + model.scores(design)[0] if (model := self.linear_of(key)) else low
            for key, low, design in zip(rows.keys, base, rows.designs, strict=True)
        ]

    def linear_of(self, key: str) -> LinearModel | None:
        """What the step adds to its base logit; of a step nobody has seen, what steps add in general."""
        return self.linear.get(key, self.pooled)


@dataclass(frozen=True, slots=True)
class ClassModel:
    """P(class | the first attempt is refused), over `CLASSES`. `sharpness` scales the logarithms."""

    recipe: Recipe = Recipe.BASE
    linear: LinearModel | None = None
    boosted: BoostedModel | None = None
    sharpness: float = 1.0

    def shares(self, rows: StepRows) -> list[Mapping[FailureClass, float]]:
        """The classes' shares per step, from the base rates where hindsight told no classes."""
        if self.recipe is Recipe.BASE:
            return [rates.shares for rates in rows.rates]
        return [
            dict(zip(CLASSES, softmax([self.sharpness * score for score in scores]), strict=True))
            for scores in self.scores(rows)
        ]

    def scores(self, rows: StepRows) -> list[list[float]]:
        """One score per class and step, before the softmax."""
        if self.recipe is Recipe.LINEAR:
            assert self.linear is not None  # a bundle with this recipe was refused without its model
            return [
                _added(rates, self.linear.scores(design))
                for rates, design in zip(rows.rates, rows.designs, strict=True)
            ]
        assert self.boosted is not None  # a bundle with this recipe was refused without its booster
        boosted = self.boosted.scores(rows.trees)
        return [_added(rates, scores) for rates, scores in zip(rows.rates, boosted, strict=True)]


def log_shares(rates: StepRates) -> list[float]:
    """The logarithms of the base shares of `CLASSES`: where every class model starts."""
    return [math.log(max(rates.shares.get(each, 0.0), 1e-3)) for each in CLASSES]


def _added(rates: StepRates, scores: Sequence[float]) -> list[float]:
    return [low + add for low, add in zip(log_shares(rates), scores, strict=True)]


@dataclass(frozen=True, slots=True)
class DurationModel:
    """The log-normal duration of success, through its median and 90 % quantile, relative to the base's."""

    recipe: Recipe = Recipe.BASE
    median: BoostedModel | None = None
    p90: BoostedModel | None = None

    def latencies(self, rows: StepRows) -> list[Latency]:
        """One latency per step."""
        if self.recipe is Recipe.BASE:
            return [rates.latency for rates in rows.rates]
        assert self.median is not None  # a bundle with this recipe was refused without its boosters
        assert self.p90 is not None
        added = zip(self.median.scores(rows.trees), self.p90.scores(rows.trees), strict=True)
        return [
            moved(rates.latency, median[0], p90[0])
            for rates, (median, p90) in zip(rows.rates, added, strict=True)
        ]


def moved(base: Latency, median: float, p90: float) -> Latency:
    """The log-normal whose log-median and log-p90 are those of `base` plus the two numbers."""
    low = min(max(median, -LOG_STEP_MAX), LOG_STEP_MAX)
    high = min(max(p90, -LOG_STEP_MAX), LOG_STEP_MAX)
    sigma = min(max(base.sigma + (high - low) / Z90, SIGMA_MIN), SIGMA_MAX)
    return Latency(base.median_s * math.exp(low), sigma)
