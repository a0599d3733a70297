"""Fitting the maps that make probabilities honest, on a slice later than the model's own.

Isotonic regression needs many events to know where its steps are; below `ISOTONIC_EVENTS_MIN` the two numbers
of Platt's map serve better, and below `PLATT_EVENTS_MIN` nothing is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sagacity_models.calibration import Calibration, Identity, Isotonic, Platt
from sagacity_models.linear import PROBABILITY_MIN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ISOTONIC_EVENTS_MIN: Final = 1_000
PLATT_EVENTS_MIN: Final = 30


def fit_calibration(outcomes: Array, probabilities: Array) -> Calibration:
    """The map suited to how many events (and non-events) there are."""
    rarer = min(outcomes.sum(), len(outcomes) - outcomes.sum())
    if rarer >= ISOTONIC_EVENTS_MIN:
        return fit_isotonic(outcomes, probabilities)
    return fit_platt(outcomes, probabilities) if rarer >= PLATT_EVENTS_MIN else Identity()


def fit_platt(outcomes: Array, probabilities: Array) -> Calibration:
    """Platt's map, or none where the forecasts rank the wrong way round."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    clipped = np.clip(probabilities, PROBABILITY_MIN, 1 - PROBABILITY_MIN)
    scores = np.log(clipped / (1 - clipped)).reshape(-1, 1)
    model = LogisticRegression(C=1e6, tol=1e-8).fit(scores, outcomes)
    slope = float(model.coef_[0, 0])
    return Platt(slope, float(model.intercept_[0])) if slope > 0 else Identity()


def fit_isotonic(outcomes: Array, probabilities: Array) -> Isotonic:
    """The non-decreasing map of least squares, as its knots."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(probabilities, outcomes)
    return Isotonic(
        tuple(map(float, model.X_thresholds_)),
        tuple(map(float, model.y_thresholds_)),
    )
