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
from functools import cached_property
from typing import TYPE_CHECKING

from sagacity_engine.errors import FailureClass
from sagacity_models.base_rates import StepRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration, Identity
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.feature_columns import Features
from sagacity_models.linear import LinearModel, logistics, logits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


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


@dataclass(frozen=True)
class KnownSteps:
    """Which steps are asked about: their keys and base rates. The same for every run of a saga."""

    keys: Sequence[str]
    rates: Sequence[StepRates]

    def base(self, cause: Cause) -> Array:
        """The mean of what the cause's model tells, one per step."""
        return self._base[cause]

    @cached_property
    def _base(self) -> dict[Cause, Array]:
        import numpy as np

        return {cause: np.array([cause.base_of(rates) for rates in self.rates]) for cause in Cause}


@dataclass(frozen=True)
class StepRows:
    """Steps of runs, encoded: the rows of both kinds of model, in the order of `steps`."""

    steps: KnownSteps
    trees: Array
    encoding: FeatureEncoding

    @classmethod
    def of(cls, steps: KnownSteps, encoding: FeatureEncoding, told: Sequence[Features]) -> StepRows:
        """The rows of these features."""
        return cls(steps, encoding.tree_matrix(told), encoding)

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the steps."""
        return self.steps.keys

    @property
    def rates(self) -> Sequence[StepRates]:
        """The base rates of the steps."""
        return self.steps.rates

    @cached_property
    def designs(self) -> Array:
        """The rows of linear models; made when the first one asks."""
        return self.encoding.design_rows(self.trees)

    def base(self, cause: Cause) -> Array:
        """The mean of what the cause's model tells, one per row."""
        return self.steps.base(cause)


@dataclass(frozen=True)
class RefusalModel:
    """P(refused for `cause`; for REQUEST given an answer). `linear` explains, even if it was not chosen."""

    recipe: Recipe = Recipe.BASE
    linear: Mapping[str, LinearModel] = field(default_factory=dict)
    pooled: LinearModel | None = None
    boosted: BoostedModel | None = None
    calibration: Calibration = field(default_factory=Identity)
    cause: Cause = Cause.SERVICE

    def probabilities(self, rows: StepRows) -> list[float]:
        """One calibrated probability per row."""
        told: list[float] = self.chances(rows).tolist()
        return told

    def chances(self, rows: StepRows) -> Array:
        """The same as an array."""
        if self.recipe is Recipe.BASE:
            return rows.base(self.cause)
        return self.calibrated(self.scores(rows))

    def calibrated(self, scores: Array) -> Array:
        """The honest probabilities of logits, in an array of any form."""
        return self.calibration.many(logistics(scores))

    def scores(self, rows: StepRows) -> Array:
        """One logit per row, before calibration."""
        base = logits(rows.base(self.cause))
        if self.recipe is Recipe.BASE:
            return base
        if self.recipe is Recipe.LINEAR:
            return base + self._linear(rows)
        assert self.boosted is not None  # a bundle with this recipe was refused without its booster
        boosted = self.boosted.matrix(rows.trees)[:, 0]
        return base + (boosted if self.recipe is Recipe.BOOSTED else (self._linear(rows) + boosted) / 2)

    def weights(self, keys: Sequence[str]) -> tuple[Array, Array]:
        """What the linear model of each step has: intercepts, and a row of weights per key."""
        intercepts, weights = self._weights
        places = [self._places.get(key, 0) for key in keys]
        return intercepts[places], weights[places]

    def _linear(self, rows: StepRows) -> Array:
        import numpy as np

        if not self._places and self.pooled is None:
            return np.zeros(len(rows.keys))
        intercepts, weights = self.weights(rows.keys)
        added: Array = intercepts + (weights * rows.designs).sum(axis=1)
        return added

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.linear, start=1)}

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        """Of the model for steps that nobody has seen, then of each known step."""
        import numpy as np

        known = list(self.linear.values())
        columns = (self.pooled or known[0]).columns if known or self.pooled else 0
        pooled = self.pooled or LinearModel((0.0,), ((0.0,) * columns,))
        models = [pooled, *known]
        return np.array([each.intercepts[0] for each in models]), np.array(
            [each.weights[0] for each in models]
        )
