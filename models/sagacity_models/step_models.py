"""The learned models of refusals: two causes why a first attempt is refused.

A first attempt is refused because the *service* fails or because the *request* is hopeless; what foretells
the one says little of the other, so each cause has a model of its own, and the classes of a refusal follow
from both. Every model carries which recipe was chosen for it, and each recipe starts from the base rates:
trees predict what must be *added* to the base logit, and a linear model is the pooled slopes plus the step's
own deviation. A step that no model knows therefore gets its base rate, moved by what is true of steps in
general. `BASE` means that history carried no signal: the base rates themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sagacity_engine.errors import FailureClass
from sagacity_models.base_rates import StepRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration, Identity
from sagacity_models.linear import LinearModel, logistic, logit


class Recipe(StrEnum):
    """What computes a target; chosen by its score on a slice that nothing was fitted on."""

    BASE = "base"  # No signal was found: the step's mean rates.
    LINEAR = "linear"  # Pooled slopes and each step's deviation from them.
    BOOSTED = "boosted"  # Boosted trees over all steps.
    MEAN = "mean"  # The mean of the linear and the boosted scores.
    CAUSES = "causes"  # What follows from the models of both causes together.


class Cause(StrEnum):
    """Why a first attempt is refused. The service comes first: only what it answers can be hopeless."""

    SERVICE = "service"  # The participant failed or was unavailable; another input would have met the same.
    REQUEST = "request"  # The participant answered, and will never accept this input.

    def base_of(self, rates: StepRates) -> float:
        """The mean of what this cause's model tells; for REQUEST given that the service answers."""
        share = rates.shares.get(FailureClass.PERMANENT, 0.0)
        service = rates.refusal * (1 - share)
        return service if self is Cause.SERVICE else min(1.0, rates.refusal * share / (1 - service))


def composed(service: float, request: float) -> tuple[float, float]:
    """P(the first attempt is refused), and the share of that which is the request's fault."""
    hopeless = (1 - service) * request
    refusal = service + hopeless
    return refusal, hopeless / refusal if refusal > 0 else 0.0


@dataclass(frozen=True, slots=True)
class StepRows:
    """Steps of one run, encoded: base rates, and the rows of both kinds of model, all in one order."""

    keys: Sequence[str]
    rates: Sequence[StepRates]
    designs: Sequence[Sequence[float]]
    trees: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class RefusalModel:
    """P(refused for `cause`; for REQUEST given an answer). `linear` explains, even if it was not chosen."""

    recipe: Recipe = Recipe.BASE
    linear: Mapping[str, LinearModel] = field(default_factory=dict)
    pooled: LinearModel | None = None
    boosted: BoostedModel | None = None
    calibration: Calibration = field(default_factory=Identity)
    cause: Cause = Cause.SERVICE

    def probabilities(self, rows: StepRows) -> list[float]:
        """One calibrated probability per step."""
        if self.recipe is Recipe.BASE:
            return [self.cause.base_of(rates) for rates in rows.rates]
        return [self.calibration(logistic(score)) for score in self.scores(rows)]

    def scores(self, rows: StepRows) -> list[float]:
        """One logit per step, before calibration."""
        base = [logit(self.cause.base_of(rates)) for rates in rows.rates]
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
