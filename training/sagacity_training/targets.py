"""What training found for one target, as values that reports and the bundle's manifest can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagacity_training.matrices import Matrices
from sagacity_training.recipes import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """One target's choice and figures. `scores` maps "base" and the chosen recipe to named figures.

    `outcomes` and `forecasts` are those of the select slice, for figures: of yes/no outcomes, or (for
    classes) the class numbers and the chosen shares.
    """

    name: str
    choice: Choice
    scores: Mapping[str, Mapping[str, float]]
    outcomes: Array
    forecasts: Array
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Choice and figures as JSON values, rounded so that they can be read."""
        return {
            "recipe": self.choice.recipe,
            "reason": self.choice.reason,
            "scores": {who: _rounded(scores) for who, scores in self.scores.items()},
            "gains": {
                recipe: {"mean": round(gain.mean, 6), "standard_error": _finite(gain.standard_error)}
                for recipe, gain in self.choice.gains.items()
            },
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class SlicedMatrices:
    """The four slices of one target, encoded."""

    fit: Matrices
    tune: Matrices
    calibrate: Matrices
    select: Matrices

    @property
    def smallest(self) -> int:
        """Rows of the smallest slice."""
        return min(map(len, (self.fit, self.tune, self.calibrate, self.select)))


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items()}


def _finite(value: float) -> float | None:
    return round(value, 6) if value != float("inf") else None
