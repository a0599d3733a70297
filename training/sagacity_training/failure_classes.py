"""Target two: of what class is a refusal, given that there is one? Base shares, logistic or trees.

Only refusals whose class somebody can tell are rows, each from when that was known. The shares are sharpened
or softened by one factor learnt on the calibrate slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sagacity_models.base_rates import CLASSES, BaseRates
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import ClassModel, Recipe, log_shares
from sagacity_training.fit_boosted import fit_boosted
from sagacity_training.fit_calibration import fit_sharpness
from sagacity_training.matrices import Matrices
from sagacity_training.recipes import choose
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Numbers = NDArray[np.int64]

ROWS_MIN: Final = 200
"""Fewer labelled refusals in the fit slice, and no model is tried."""
SLICE_ROWS_MIN: Final = 60
CLASS_ROWS_MIN: Final = 20
"""At least two classes need so many refusals in the fit slice: with one there is nothing to tell apart."""
INVERSE_PENALTY: Final = 0.02
LOG_ODDS_OF_UNSEEN: Final = -6.0
_OBJECTIVE: Final[dict[str, Any]] = {
    "objective": "multiclass",
    "num_class": len(CLASSES),
    "min_data_in_leaf": 20,
}


def train_classes(
    slices: SlicedMatrices, fit_base: BaseRates, whole: Matrices, base: BaseRates, seed: int
) -> tuple[ClassModel, Target]:
    """The model to serve, fitted on `whole` over `base`, and what was found on `slices` over `fit_base`."""
    import numpy as np

    outcomes = _numbers(slices.select)
    base_scores = _start(slices.select, fit_base)
    seen = np.bincount(_numbers(slices.fit), minlength=len(CLASSES))
    if len(slices.fit) < ROWS_MIN or slices.smallest < SLICE_ROWS_MIN or np.sum(seen >= CLASS_ROWS_MIN) < 2:
        only = _shares(base_scores)
        return ClassModel(), _target(choose(np.zeros(0), {}), outcomes, {"base": only}, only)
    linear = fit_multinomial(slices.fit)
    trees, rounds = fit_boosted(
        _OBJECTIVE,
        _data(slices.fit, fit_base),
        _data(slices.tune, fit_base),
        slices.fit.categories,
        seed=seed,
    )

    def scores(matrices: Matrices) -> dict[Recipe, Array]:
        straight = matrices.designs @ np.array(linear.weights).T + np.array(linear.intercepts)
        boosted = _start(matrices, fit_base) + trees.matrix(matrices.trees)
        return {Recipe.LINEAR: straight, Recipe.BOOSTED: boosted}

    earlier, later = scores(slices.calibrate), scores(slices.select)
    factors = {recipe: fit_sharpness(_numbers(slices.calibrate), earlier[recipe]) for recipe in earlier}
    shares = {recipe: _shares(factors[recipe] * later[recipe]) for recipe in later}
    base_shares = _shares(base_scores)
    choice = choose(
        _losses(outcomes, base_shares), {recipe: _losses(outcomes, told) for recipe, told in shares.items()}
    )
    chosen = shares.get(choice.recipe, base_shares)
    target = _target(
        choice, outcomes, {"base": base_shares, **{str(each): told for each, told in shares.items()}}, chosen
    )
    if choice.recipe is Recipe.BASE:
        return ClassModel(), target
    held_out = np.concatenate([earlier[choice.recipe], later[choice.recipe]])
    sharpness = fit_sharpness(np.concatenate([_numbers(slices.calibrate), outcomes]), held_out)
    if choice.recipe is Recipe.LINEAR:
        return ClassModel(Recipe.LINEAR, linear=fit_multinomial(whole), sharpness=sharpness), target
    served, _ = fit_boosted(_OBJECTIVE, _data(whole, base), None, whole.categories, seed=seed, rounds=rounds)
    return ClassModel(Recipe.BOOSTED, boosted=served, sharpness=sharpness), target


def fit_multinomial(matrices: Matrices) -> LinearModel:
    """The penalised multinomial logistic model of the rows' classes, of which at least two must occur.

    A class that never occurred gets `LOG_ODDS_OF_UNSEEN` on every row.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=500).fit(matrices.designs, _numbers(matrices))
    weights = np.zeros((len(CLASSES), matrices.designs.shape[1]))
    intercepts = np.full(len(CLASSES), LOG_ODDS_OF_UNSEEN)
    two = len(model.classes_) == 2  # The library then gives one row, the log-odds of the second class.
    weights[model.classes_] = np.vstack([-model.coef_ / 2, model.coef_ / 2]) if two else model.coef_
    intercepts[model.classes_] = (
        np.concatenate([-model.intercept_ / 2, model.intercept_ / 2]) if two else model.intercept_
    )
    return LinearModel(tuple(intercepts.tolist()), tuple(tuple(row) for row in weights.tolist()))


def _target(choice: Any, outcomes: Numbers, told: dict[str, Array], chosen: Array) -> Target:
    import numpy as np

    scores: dict[str, dict[str, float]] = {}
    if len(outcomes):
        for who, shares in told.items():
            hits = shares.argmax(axis=1) == outcomes
            scores[who] = {
                "log_loss": float(_losses(outcomes, shares).mean()),
                "accuracy": float(hits.mean()),
                "n": float(len(outcomes)),
            }
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(counts, (outcomes, chosen.argmax(axis=1)), 1)
    facts = {"classes": list(CLASSES), "confusion": counts.tolist()}
    return Target("classes", choice, scores, outcomes.astype(np.float64), chosen, facts)


def _numbers(matrices: Matrices) -> Numbers:
    import numpy as np

    places = {each: place for place, each in enumerate(CLASSES)}
    told = [places[row.failure_class] for row in matrices.rows if row.failure_class is not None]
    return np.array(told, dtype=np.int64)


def _start(matrices: Matrices, base: BaseRates) -> Array:
    import numpy as np

    by_key = {key: log_shares(rates) for key, rates in base.steps.items()}
    other = log_shares(base.pooled)
    rows = [by_key.get(row.key, other) for row in matrices.rows]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(CLASSES))


def _data(matrices: Matrices, base: BaseRates) -> tuple[Array, Array, Array]:
    import numpy as np

    return matrices.trees, _numbers(matrices).astype(np.float64), _start(matrices, base)


def _shares(scores: Array) -> Array:
    import numpy as np

    if not len(scores):
        return scores
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = grown / grown.sum(axis=1, keepdims=True)
    return shares


def _losses(outcomes: Numbers, shares: Array) -> Array:
    import numpy as np

    losses: Array = -np.log(np.clip(shares[np.arange(len(outcomes)), outcomes], 1e-6, 1))
    return losses
