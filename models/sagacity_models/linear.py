"""Linear models as plain numbers: scores are dot products, so serving needs no library.

A binary model has one row of weights and its score is a logit. Rows come from `FeatureEncoding.design_row`.
The functions in the plural do to an array what those in the singular do to one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PROBABILITY_MIN: Final = 1e-4
"""No forecast is surer than this: a plan that bets on certainty is never right to."""


@dataclass(frozen=True, slots=True)
class LinearModel:
    """One intercept and one row of weights per score."""

    intercepts: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def scores(self, row: Sequence[float]) -> list[float]:
        """One score per output for a row of as many columns as there are weights."""
        return [
            intercept + sum(map(mul, weights, row))
            for intercept, weights in zip(self.intercepts, self.weights, strict=True)
        ]

    @property
    def columns(self) -> int:
        """How many columns a row must have."""
        return len(self.weights[0]) if self.weights else 0

    def as_json(self) -> dict[str, Any]:
        """The model as JSON values; `from_json` reads it back."""
        return {"intercepts": list(self.intercepts), "weights": [list(weights) for weights in self.weights]}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> LinearModel:
        """The model that `as_json` wrote; raises `ValueError` where its rows do not fit together."""
        model = cls(
            tuple(map(float, written["intercepts"])),
            tuple(tuple(map(float, weights)) for weights in written["weights"]),
        )
        if len(model.intercepts) != len(model.weights) or len({len(each) for each in model.weights}) > 1:
            raise ValueError("a linear model's intercepts and weights do not fit together")
        return model


def logistic(score: float) -> float:
    """The probability of a logit, without overflow.

    >>> logistic(0.0), logistic(-1e6)
    (0.5, 0.0)
    """
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    grown = math.exp(max(score, -745.0))
    return grown / (1.0 + grown) if score > -745.0 else 0.0


def logit(probability: float) -> float:
    """The logit of a probability, kept away from 0 and 1 by `PROBABILITY_MIN`."""
    clipped = clip_probability(probability)
    return math.log(clipped / (1.0 - clipped))


def clip_probability(probability: float) -> float:
    """The probability, at least `PROBABILITY_MIN` away from 0 and 1."""
    return min(max(probability, PROBABILITY_MIN), 1.0 - PROBABILITY_MIN)


def logistics(scores: Array) -> Array:
    """The probabilities of logits."""
    import numpy as np

    return 1.0 / (1.0 + np.exp(-np.clip(scores, -700.0, 700.0)))


def logits(probabilities: Array) -> Array:
    """The logits of probabilities, kept away from 0 and 1."""
    import numpy as np

    clipped = clip_probabilities(probabilities)
    return np.log(clipped / (1.0 - clipped))


def clip_probabilities(probabilities: Array) -> Array:
    """The probabilities, at least `PROBABILITY_MIN` away from 0 and 1."""
    import numpy as np

    return np.minimum(np.maximum(probabilities, PROBABILITY_MIN), 1.0 - PROBABILITY_MIN)
