"""Fitting the parts of a case outcome model. Nothing here is tuned to a log: the numbers are fixed.

Rows of one case say the same thing again and again, so both learners are held on a short leash: strong L2 for
the linear model, small trees with large leaves for the boosted one.

The calibration map is Platt's two numbers, drawn towards "change nothing" by a normal prior, with the
evidence counted in cases and not in rows; it never turns a ranking around (a slope below zero becomes zero).
With at least `ISOTONIC_CASES_MIN` cases of the rarer outcome it is isotonic instead.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.case_calibration import CalibrationMap, IsotonicMap, PlattMap, logit
from sagacity_models.case_outcome import THREADS, LogisticModel, standardised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_training.case_rows import PrefixRows

LOGISTIC_C: Final = 0.03
LOGISTIC_ITERATIONS_MAX: Final = 500
TREES: Final = 100
TREE_PARAMS: Final[dict[str, Any]] = {"learning_rate": 0.05, "num_leaves": 8, "max_bin": 63}
LEAF_SHARE_MIN: Final = 0.015
LEAF_ROWS_MIN: Final = 20
ISOTONIC_CASES_MIN: Final = 1_000
PLATT_PRIOR_SD: Final = 0.5
_NEWTON_STEPS: Final = 100
_STEP_MIN: Final = 1e-9


def fit_logistic(rows: PrefixRows) -> LogisticModel:
    """Logistic regression on standardised features. Both outcomes must occur."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = _location(rows.features)
    learner = LogisticRegression(C=LOGISTIC_C, max_iter=LOGISTIC_ITERATIONS_MAX)
    with warnings.catch_warnings():
        # A penalised optimum that is nearly reached is as good: the selection slice judges it anyway.
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit(standardised(rows.features, mean, scale), rows.labels)
    weights = np.ravel(learner.coef_).astype(np.float64).tolist()
    (intercept,) = np.ravel(learner.intercept_).tolist()
    return LogisticModel(mean, scale, tuple(weights), intercept)


def fit_trees(rows: PrefixRows, seed: int) -> str:
    """Gradient-boosted trees as LightGBM text; the same rows and seed give the same text."""
    import lightgbm as lgb

    params = {
        **TREE_PARAMS,
        "objective": "binary",
        "min_data_in_leaf": max(LEAF_ROWS_MIN, int(len(rows.labels) * LEAF_SHARE_MIN)),
        "num_threads": THREADS,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    return lgb.train(params, lgb.Dataset(rows.features, rows.labels), TREES).model_to_string()


def fit_calibration(
    raw: NDArray[np.float64], labels: NDArray[np.float64], cases: NDArray[np.int64]
) -> CalibrationMap:
    """The map from raw probabilities to shares of successes; rows must be later than the model's own."""
    import numpy as np

    of_case = dict(zip(cases.tolist(), labels.tolist(), strict=True))
    successes = int(sum(of_case.values()))
    if min(successes, len(of_case) - successes) >= ISOTONIC_CASES_MIN:
        return _isotonic(raw, labels)
    logits = logit(raw)
    evidence = len(of_case) / len(labels)
    slope, intercept = _platt(np.stack([logits, np.ones_like(logits)]), labels, evidence, (1.0, 0.0))
    if slope < 0:
        (intercept,) = _platt(np.ones((1, len(labels))), labels, evidence, (0.0,))
        slope = 0.0
    return PlattMap(slope, intercept)


def _platt(
    terms: NDArray[np.float64], labels: NDArray[np.float64], evidence: float, prior: tuple[float, ...]
) -> tuple[float, ...]:
    """The coefficients of `terms` with the least penalised log loss: damped Newton, from the prior."""
    import numpy as np

    centre, precision = np.asarray(prior), 1 / PLATT_PRIOR_SD**2

    def loss(at: NDArray[np.float64]) -> float:
        logits = at @ terms
        penalty = precision * float((at - centre) @ (at - centre)) / 2
        return evidence * float((np.logaddexp(0, logits) - labels * logits).sum()) + penalty

    coefficients: NDArray[np.float64] = centre.copy()
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(coefficients @ terms, -50, 50)))
        gradient = evidence * terms @ (p - labels) + precision * (coefficients - centre)
        curvature = evidence * (terms * (p * (1 - p))) @ terms.T + precision * np.eye(len(centre))
        step: NDArray[np.float64] = np.linalg.solve(curvature, gradient).astype(np.float64)
        # Far from the optimum a whole step may overshoot; the loss is convex, so a short enough one helps.
        while loss(coefficients - step) > loss(coefficients) and float(np.abs(step).max()) > _STEP_MIN:
            step = step * 0.5
        coefficients = coefficients - step
        if float(np.abs(step).max()) <= _STEP_MIN:
            break
    return tuple(float(value) for value in coefficients)


def _isotonic(raw: NDArray[np.float64], labels: NDArray[np.float64]) -> IsotonicMap:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(raw, labels)
    return IsotonicMap(
        tuple(float(value) for value in fitted.X_thresholds_),
        tuple(float(value) for value in fitted.y_thresholds_),
    )


def _location(features: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each column over its known values; a column without spread gets deviation 1."""
    import numpy as np

    known = ~np.isnan(features)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0).sum(axis=0, dtype=np.float64) / counts
    variance = (
        np.where(known, (features - mean.astype(np.float32)) ** 2, 0).sum(axis=0, dtype=np.float64) / counts
    )
    deviation = np.sqrt(variance)
    return tuple(mean.tolist()), tuple(np.where(deviation > 1e-6, deviation, 1.0).tolist())
