"""Maps from a model's score to a probability that can be read as one: fitted elsewhere, applied here.

Both maps are monotone, so neither changes which of two cases looks better (the isotonic one may tie them).
Probabilities are kept inside [FLOOR, 1 - FLOOR], so that a log loss stays finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOOR: Final = 1e-4


@dataclass(frozen=True, slots=True)
class PlattMap:
    """p -> sigmoid(intercept + slope * logit(p)) (Platt 1999); slope 1 and intercept 0 change nothing."""

    slope: float
    intercept: float

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of raw ones."""
        return _bounded(1 / (1 + _exp(-(self.intercept + self.slope * logit(scores)))))

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `calibration_from_json` reads it back."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True, slots=True)
class IsotonicMap:
    """Linear between knots that rise in both directions, constant beyond the ends."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of raw ones."""
        import numpy as np

        return _bounded(np.interp(scores, self.scores, self.probabilities))

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `calibration_from_json` reads it back."""
        return {"kind": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}


CalibrationMap = PlattMap | IsotonicMap
UNCHANGED: Final = PlattMap(1.0, 0.0)


def calibration_from_json(written: Mapping[str, Any]) -> CalibrationMap:
    """The map that `as_json` wrote. Raises `ValueError` for another kind."""
    if written["kind"] == "platt":
        return PlattMap(float(written["slope"]), float(written["intercept"]))
    if written["kind"] == "isotonic":
        return IsotonicMap(tuple(written["scores"]), tuple(written["probabilities"]))
    raise ValueError(f"unknown calibration {written['kind']!r}")


def logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)) of probabilities kept inside [FLOOR, 1 - FLOOR]."""
    import numpy as np

    bounded = _bounded(probabilities)
    return np.log(bounded) - np.log1p(-bounded)


def _bounded(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.clip(probabilities, FLOOR, 1 - FLOOR)


def _exp(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.exp(np.clip(exponents, -50, 50))
