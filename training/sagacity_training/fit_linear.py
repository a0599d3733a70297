"""Logistic regression with an offset, and the two-level model that is made of it.

Level one learns how features move the odds of a refusal at *any* step, on top of each step's base rate;
level two learns, per step, how that step deviates. Both are penalised by the square of their weights, so
that a step with few refusals keeps the slopes of all steps, and noise keeps none. Columns are standardised,
so that one penalty suits all. The library's logistic regression knows no offset; Newton's method on a
penalised, hence strictly convex, loss is a dozen lines, and a test holds it to the library's solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sagacity_models.base_rates import BaseRates
from sagacity_models.linear import LinearModel, logit
from sagacity_models.step_models import Cause
from sagacity_training.matrices import Matrices
from sagacity_training.scores import log_losses
from sagacity_training.survival import by_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POOLED_PENALTIES: Final = (30.0, 300.0)
STEP_PENALTIES: Final = (30.0, 100.0, 300.0, 1_000.0)
"""1/C in the library's terms: about how many rows a weight of 1 must explain to be believed."""
STEP_EVENTS_MIN: Final = 20
"""A step with fewer refusals gets no slopes of its own."""
ROWS_MAX: Final = 300_000
SEARCH_ROWS_MAX: Final = 50_000
"""What more rows would add to some hundred weights is less than what trees add; the latest are read."""
_STEPS_MAX: Final = 30
_GRADIENT_MAX: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Penalties:
    """How strongly the slopes of all steps, and the deviations of one, are held to zero."""

    pooled: float
    step: float


def fit_logistic(
    designs: Array, outcomes: Array, offset: Array, penalty: float, begin: Array | None = None
) -> Array:
    """Intercept and weights of the penalised maximum likelihood; the intercept is free of penalty.

    Minimises sum log(1 + exp(s)) - y s + penalty/2 |w|^2 over s = offset + intercept + X w, by Newton steps
    that are halved while they do not help, from `begin` or from nothing.
    """
    import numpy as np

    columns = np.column_stack([np.ones(len(designs)), designs])
    ridge = np.full(columns.shape[1], penalty)
    ridge[0] = 1e-6  # Only so that a slice without any event still has a finite solution.
    weights = np.zeros(columns.shape[1]) if begin is None else begin

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


@dataclass(frozen=True, slots=True)
class LinearFit:
    """What each step, and a step nobody has seen, adds to its base logit, as weights after an intercept."""

    steps: Mapping[str, Array]
    pooled: Array

    def models(self) -> tuple[dict[str, LinearModel], LinearModel]:
        """The same as models."""
        return {key: _as_model(weights) for key, weights in self.steps.items()}, _as_model(self.pooled)


def fit_linear(
    matrices: Matrices, base: BaseRates, penalties: Penalties, cause: Cause, begin: LinearFit | None = None
) -> LinearFit:
    """The fit on the latest `ROWS_MAX` rows; `begin` is a fit that is near, from which it is found sooner."""
    own = _Rows.of(matrices.latest(ROWS_MAX), base, cause)
    pooled = fit_logistic(
        own.designs, own.outcomes, own.offset, penalties.pooled, None if begin is None else begin.pooled
    )
    return _with_steps(own, pooled, penalties.step)


def linear_scores(matrices: Matrices, base: BaseRates, fit: LinearFit, cause: Cause) -> Array:
    """One logit per row, as `RefusalModel` computes it."""
    import numpy as np

    scores = matrices.based(base, lambda rates: logit(cause.base_of(rates)))
    known = [fit.steps.get(key, fit.pooled) for key in matrices.table.columns.keys]
    codes = matrices.table.key
    for own, designs in matrices.pieces():
        for code in np.unique(codes[own]).tolist():
            mine = codes[own] == code
            scores[own][mine] += known[code][0] + designs[mine] @ known[code][1:]
    return scores


def best_penalties(
    fit: Matrices, tune: Matrices, base: BaseRates, cause: Cause
) -> tuple[Penalties, LinearFit]:
    """The penalties whose fit on one slice forecasts a later one best, and that fit.

    The latest `SEARCH_ROWS_MAX` rows of the one tell, and as many of the other.
    """
    import numpy as np

    own, later = _Rows.of(fit.latest(SEARCH_ROWS_MAX), base, cause), tune.latest(SEARCH_ROWS_MAX)
    outcomes = later.table.refused_for(cause).astype(np.float64)

    def loss(found: LinearFit) -> float:
        scores = linear_scores(later, base, found, cause)
        return float(log_losses(outcomes, 1 / (1 + np.exp(-scores))).mean())

    pooled = {
        penalty: fit_logistic(own.designs, own.outcomes, own.offset, penalty) for penalty in POOLED_PENALTIES
    }
    tried = {
        Penalties(penalty, STEP_PENALTIES[-1]): _with_steps(own, pooled[penalty], STEP_PENALTIES[-1])
        for penalty in POOLED_PENALTIES
    }
    losses = {penalties: loss(found) for penalties, found in tried.items()}
    best = min(losses, key=losses.__getitem__)
    for step in STEP_PENALTIES[:-1]:
        penalties = replace(best, step=step)
        tried[penalties] = _with_steps(own, pooled[best.pooled], step)
        losses[penalties] = loss(tried[penalties])
    best = min(
        (each for each in losses if each.pooled == best.pooled), key=lambda each: (losses[each], each.step)
    )
    return best, tried[best]


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a fit reads."""

    designs: Array
    outcomes: Array
    offset: Array
    codes: NDArray[np.int64]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, matrices: Matrices, base: BaseRates, cause: Cause) -> _Rows:
        return cls(
            matrices.designs(),
            matrices.table.refused_for(cause).astype("float64"),
            matrices.based(base, lambda rates: logit(cause.base_of(rates))),
            matrices.table.key,
            matrices.table.columns.keys,
        )


def _with_steps(rows: _Rows, pooled: Array, penalty: float) -> LinearFit:
    """The pooled slopes, and each step's deviation from them."""
    scores = rows.offset + pooled[0] + rows.designs @ pooled[1:]
    steps: dict[str, Array] = {}
    for code, own in by_step(rows.codes):
        weights = pooled
        if rows.outcomes[own].sum() >= STEP_EVENTS_MIN:
            weights = pooled + fit_logistic(rows.designs[own], rows.outcomes[own], scores[own], penalty)
        steps[rows.keys[code]] = weights
    return LinearFit(steps, pooled)


def _as_model(weights: Array) -> LinearModel:
    return LinearModel((float(weights[0]),), (tuple(map(float, weights[1:])),))
