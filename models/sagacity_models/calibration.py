"""Monotone maps from a model's probability to an honest one, as numbers that serve without any library.

`Platt` rescales the logit; `Isotonic` interpolates between knots (0.2 us with `bisect`, where a library's
call takes 40). `many` does to an array what the call does to one number. They are fitted in training, on a
slice later than the one the model was fitted on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sagacity_models.linear import clip_probabilities, clip_probability, logistic, logistics, logit, logits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Identity:
    """The probability as it is: too little was known to correct it."""

    def __call__(self, probability: float) -> float:
        """The honest probability."""
        return clip_probability(probability)

    def many(self, probabilities: Array) -> Array:
        """The honest probabilities."""
        return clip_probabilities(probabilities)

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `read_calibration` reads it back."""
        return {"kind": "identity"}


@dataclass(frozen=True, slots=True)
class Platt:
    """logistic(slope * logit(p) + intercept)."""

    slope: float
    intercept: float

    def __call__(self, probability: float) -> float:
        """The honest probability."""
        return clip_probability(logistic(self.slope * logit(probability) + self.intercept))

    def many(self, probabilities: Array) -> Array:
        """The honest probabilities."""
        return clip_probabilities(logistics(self.slope * logits(probabilities) + self.intercept))

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `read_calibration` reads it back."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between knots, flat outside them. `inputs` rise strictly, `outputs` never fall."""

    inputs: tuple[float, ...]
    outputs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.outputs) or not self.inputs:
            raise ValueError("an isotonic map needs as many outputs as inputs, and at least one")
        if any(low >= high for low, high in pairwise(self.inputs)):
            raise ValueError("the inputs of an isotonic map must rise strictly")
        if any(low > high for low, high in pairwise(self.outputs)):
            raise ValueError("the outputs of an isotonic map must not fall")

    def __call__(self, probability: float) -> float:
        """The honest probability."""
        above = bisect_right(self.inputs, probability)
        if above == 0:
            return clip_probability(self.outputs[0])
        if above == len(self.inputs):
            return clip_probability(self.outputs[-1])
        left, right = self.inputs[above - 1], self.inputs[above]
        low, high = self.outputs[above - 1], self.outputs[above]
        return clip_probability(low + (high - low) * (probability - left) / (right - left))

    def many(self, probabilities: Array) -> Array:
        """The honest probabilities."""
        import numpy as np

        return clip_probabilities(np.interp(probabilities, self.inputs, self.outputs))

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `read_calibration` reads it back."""
        return {"kind": "isotonic", "inputs": list(self.inputs), "outputs": list(self.outputs)}


Calibration = Identity | Platt | Isotonic


def read_calibration(written: Mapping[str, Any]) -> Calibration:
    """The map that `as_json` wrote; raises `ValueError` for anything else."""
    match written["kind"]:
        case "identity":
            return Identity()
        case "platt":
            return Platt(float(written["slope"]), float(written["intercept"]))
        case "isotonic":
            return Isotonic(tuple(map(float, written["inputs"])), tuple(map(float, written["outputs"])))
        case kind:
            raise ValueError(f"{kind!r} is no kind of calibration")
