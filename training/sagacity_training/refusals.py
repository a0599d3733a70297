"""Target one: is the first attempt of a step refused? Base rates, two-level logistic, trees, or their mean.

Every candidate is fitted on the fit slice, stopped on the tune slice, calibrated on the calibrate slice and
judged on the select slice. The winner's recipe is then fitted again on the whole history; its calibration
is learnt from the first fit's forecasts of the last two slices, which that fit never saw. So every reported
figure comes from rows that nothing behind it was fitted on, and the served model has learnt from all of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.base_rates import BaseRates
from sagacity_models.calibration import Calibration
from sagacity_models.linear import logit
from sagacity_models.step_models import Recipe, RefusalModel
from sagacity_training.fit_boosted import fit_boosted
from sagacity_training.fit_calibration import fit_calibration
from sagacity_training.fit_linear import Penalties, best_penalties, fit_linear, linear_scores
from sagacity_training.matrices import Matrices
from sagacity_training.recipes import Choice, choose
from sagacity_training.scores import binary_scores, log_losses
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

EVENTS_MIN: Final = 60
"""Fewer refusals in the fit slice, and no model is tried."""
SLICE_ROWS_MIN: Final = 60
_OBJECTIVE: Final[dict[str, Any]] = {"objective": "binary"}


def train_refusals(
    slices: SlicedMatrices, fit_base: BaseRates, whole: Matrices, base: BaseRates, seed: int
) -> tuple[RefusalModel, Target]:
    """The model to serve, fitted on `whole` over `base`, and what was found on `slices` over `fit_base`."""
    import numpy as np

    outcomes = slices.select.told(_refused)
    base_forecast = slices.select.based(fit_base, lambda rates: rates.refusal)
    if slices.smallest < SLICE_ROWS_MIN or slices.fit.told(_refused).sum() < EVENTS_MIN:
        return RefusalModel(), _target(choose(outcomes, {}), outcomes, base_forecast, base_forecast)
    penalties = best_penalties(slices.fit, slices.tune, fit_base)
    linear = fit_linear(slices.fit, fit_base, penalties)
    trees, rounds = fit_boosted(
        _OBJECTIVE,
        _data(slices.fit, fit_base),
        _data(slices.tune, fit_base),
        slices.fit.categories,
        seed=seed,
    )

    def scores(matrices: Matrices) -> dict[Recipe, Array]:
        straight = linear_scores(matrices, fit_base, *linear)
        boosted = _start(matrices, fit_base) + trees.matrix(matrices.trees)[:, 0]
        return {Recipe.LINEAR: straight, Recipe.BOOSTED: boosted, Recipe.MEAN: (straight + boosted) / 2}

    earlier, later = scores(slices.calibrate), scores(slices.select)
    calibrated = slices.calibrate.told(_refused)
    forecasts = {
        recipe: _mapped(fit_calibration(calibrated, _probabilities(earlier[recipe])), later[recipe])
        for recipe in later
    }
    losses = {recipe: log_losses(outcomes, forecast) for recipe, forecast in forecasts.items()}
    choice = choose(log_losses(outcomes, base_forecast), losses)
    chosen = forecasts.get(choice.recipe, base_forecast)
    target = _target(choice, outcomes, base_forecast, chosen, forecasts)
    if choice.recipe is Recipe.BASE:
        return RefusalModel(), target
    held_out = np.concatenate([earlier[choice.recipe], later[choice.recipe]])
    calibration = fit_calibration(np.concatenate([calibrated, outcomes]), _probabilities(held_out))
    served = _refitted(choice.recipe, calibration, whole, base, penalties=penalties, rounds=rounds, seed=seed)
    return served, target


def _refitted(
    recipe: Recipe,
    calibration: Calibration,
    whole: Matrices,
    base: BaseRates,
    *,
    penalties: Penalties,
    rounds: int,
    seed: int,
) -> RefusalModel:
    steps, pooled = fit_linear(whole, base, penalties)
    trees = None
    if recipe in (Recipe.BOOSTED, Recipe.MEAN):
        trees, _ = fit_boosted(
            _OBJECTIVE, _data(whole, base), None, whole.categories, seed=seed, rounds=rounds
        )
    return RefusalModel(recipe, steps, pooled, trees, calibration)


def _target(
    choice: Choice,
    outcomes: Array,
    base_forecast: Array,
    chosen: Array,
    forecasts: Mapping[Recipe, Array] | None = None,
) -> Target:
    scored: dict[str, Array] = {
        "base": base_forecast,
        **{str(each): told for each, told in (forecasts or {}).items()},
    }
    return Target(
        "refusal",
        choice,
        {who: _figures(outcomes, told) for who, told in scored.items()} if len(outcomes) else {},
        outcomes,
        chosen,
    )


def _figures(outcomes: Array, forecasts: Array) -> dict[str, float]:
    scores = binary_scores(outcomes, forecasts)
    figures = {
        "log_loss": scores.log_loss,
        "brier": scores.brier,
        "ece": scores.ece,
        "n": float(scores.n),
        "events": float(scores.events),
    }
    return figures if scores.auc is None else {**figures, "auc": scores.auc}


def _refused(row: Any) -> float:
    return float(row.refused)


def _start(matrices: Matrices, base: BaseRates) -> Array:
    return matrices.based(base, lambda rates: logit(rates.refusal))


def _data(matrices: Matrices, base: BaseRates) -> tuple[Array, Array, Array]:
    return matrices.trees, matrices.told(_refused), _start(matrices, base)


def _probabilities(scores: Array) -> Array:
    import numpy as np

    probabilities: Array = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    return probabilities


def _mapped(calibration: Calibration, scores: Array) -> Array:
    import numpy as np

    return np.array([calibration(probability) for probability in _probabilities(scores).tolist()])
