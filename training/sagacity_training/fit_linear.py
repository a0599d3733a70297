"""Logistic regression with an offset, and the two-level model that is made of it.

Level one learns how features move the odds of a refusal at *any* step, on top of each step's base rate;
level two learns, per step, how that step deviates. Both are penalised by the square of their weights, so
that a step with few refusals keeps the slopes of all steps, and noise keeps none. Columns are standardised,
so that one penalty suits all. The library's logistic regression knows no offset; Newton's method on a
penalised, hence strictly convex, loss is a dozen lines, and a test holds it to the library's solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.base_rates import BaseRates
from sagacity_models.linear import LinearModel, logit
from sagacity_models.step_models import Cause
from sagacity_training.matrices import Matrices
from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POOLED_PENALTIES: Final = (30.0, 300.0)
STEP_PENALTIES: Final = (30.0, 100.0, 300.0, 1_000.0)
"""1/C in the library's terms: about how many rows a weight of 1 must explain to be believed."""
STEP_EVENTS_MIN: Final = 20
"""A step with fewer refusals gets no slopes of its own."""
_STEPS_MAX: Final = 30
_GRADIENT_MAX: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Penalties:
    """How strongly the slopes of all steps, and the deviations of one, are held to zero."""

    pooled: float
    step: float


def fit_logistic(designs: Array, outcomes: Array, offset: Array, penalty: float) -> Array:
    """Intercept and weights of the penalised maximum likelihood; the intercept is free of penalty.

    Minimises sum log(1 + exp(s)) - y s + penalty/2 |w|^2 over s = offset + intercept + X w, by Newton steps
    that are halved while they do not help.
    """
    import numpy as np

    columns = np.column_stack([np.ones(len(designs)), designs])
    ridge = np.full(columns.shape[1], penalty)
    ridge[0] = 1e-6  # Only so that a slice without any event still has a finite solution.
    weights = np.zeros(columns.shape[1])

    def loss_at(candidate: Array) -> float:
        scores = offset + columns @ candidate
        return float(np.logaddexp(0, scores).sum() - outcomes @ scores + ridge @ candidate**2 / 2)

    loss = loss_at(weights)
    for _ in range(_STEPS_MAX):
        probabilities = 1 / (1 + np.exp(-np.clip(offset + columns @ weights, -30, 30)))
        gradient = columns.T @ (probabilities - outcomes) + ridge * weights
        if np.abs(gradient).max() <= _GRADIENT_MAX * len(designs):
            break
        curvature = probabilities * (1 - probabilities)
        step = np.linalg.solve((columns * curvature[:, None]).T @ columns + np.diag(ridge), gradient)
        while (moved := loss_at(weights - step)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, loss = weights - step, moved
    return weights


def fit_linear(
    matrices: Matrices, base: BaseRates, penalties: Penalties, cause: Cause
) -> tuple[dict[str, LinearModel], LinearModel]:
    """What each step, and a step nobody has seen, adds to its base logit."""
    import numpy as np

    offset = matrices.based(base, lambda rates: logit(cause.base_of(rates)))
    outcomes = matrices.told(lambda row: float(row.refused_for(cause)))
    pooled = fit_logistic(matrices.designs, outcomes, offset, penalties.pooled)
    scores = offset + pooled[0] + matrices.designs @ pooled[1:]
    models: dict[str, LinearModel] = {}
    keys = np.array([row.key for row in matrices.rows])
    for key in sorted(set(keys)):
        own = keys == key
        weights = pooled
        if outcomes[own].sum() >= STEP_EVENTS_MIN:
            weights = pooled + fit_logistic(matrices.designs[own], outcomes[own], scores[own], penalties.step)
        models[str(key)] = _as_model(weights)
    return models, _as_model(pooled)


def linear_scores(
    matrices: Matrices, base: BaseRates, models: Mapping[str, LinearModel], pooled: LinearModel, cause: Cause
) -> Array:
    """One logit per row, as `RefusalModel` computes it."""
    import numpy as np

    scores = matrices.based(base, lambda rates: logit(cause.base_of(rates)))
    keys = np.array([row.key for row in matrices.rows])
    for key in set(keys):
        own, model = keys == key, models.get(key, pooled)
        scores[own] += model.intercepts[0] + matrices.designs[own] @ np.array(model.weights[0])
    return scores


def best_penalties(fit: Matrices, tune: Matrices, base: BaseRates, cause: Cause) -> Penalties:
    """The penalties whose fit on one slice forecasts a later one best."""
    import numpy as np

    outcomes = tune.told(lambda row: float(row.refused_for(cause)))

    def loss(penalties: Penalties) -> float:
        scores = linear_scores(tune, base, *fit_linear(fit, base, penalties, cause), cause)
        return float(log_losses(outcomes, 1 / (1 + np.exp(-scores))).mean())

    pooled = min(POOLED_PENALTIES, key=lambda penalty: loss(Penalties(penalty, STEP_PENALTIES[-1])))
    step = min(STEP_PENALTIES, key=lambda penalty: loss(Penalties(pooled, penalty)))
    return Penalties(pooled, step)


def _as_model(weights: Array) -> LinearModel:
    return LinearModel((float(weights[0]),), (tuple(map(float, weights[1:])),))
