"""Why is a first attempt refused? For each cause: base rates, two-level logistic, trees, or their mean.

Every candidate is fitted on the fit slice, stopped on the tune slice, calibrated on the calibrate slice and
judged on the select slice. The winner's recipe is then fitted again on the whole history; its calibration is
learnt from the first fit's forecasts of the last two slices, which that fit never saw. So every reported
figure comes from rows that nothing behind it was fitted on, and the served model has learnt from all of them.

Whether a request is hopeless depends on what is asked, not on how the service does today: that model reads
the context, the calendar, the step and its long-run rates only. Fewer columns, less noise taken for a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.base_rates import BaseRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration
from sagacity_models.linear import logit
from sagacity_models.step_models import Cause, Recipe, RefusalModel
from sagacity_training.config import SearchConfig
from sagacity_training.fit_boosted import fit_boosted
from sagacity_training.fit_calibration import fit_calibration
from sagacity_training.fit_linear import LinearFit, Penalties, best_penalties, fit_linear, linear_scores
from sagacity_training.matrices import Matrices
from sagacity_training.recipes import Choice, choose
from sagacity_training.scores import binary_scores, log_losses
from sagacity_training.search import TreeSettings, best_settings
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_training.fit_boosted import TrainingRows

    Array = NDArray[np.float64]

Forecast = Callable[[Matrices], "Array"]
"""One probability per row."""

EVENTS_MIN: Final = 60
"""Fewer refusals in the fit slice, and no model is tried."""
SLICE_ROWS_MIN: Final = 60
_OBJECTIVE: Final[dict[str, Any]] = {"objective": "binary"}


def train_refusals(
    slices: SlicedMatrices,
    fit_base: BaseRates,
    whole: Matrices,
    base: BaseRates,
    seed: int,
    *,
    cause: Cause,
    search: SearchConfig | None = None,
) -> tuple[RefusalModel, Target, Forecast]:
    """The model to serve, fitted on `whole` over `base`, and what was found on `slices` over `fit_base`.

    Last, the forecast behind those figures, which nothing later than the calibrate slice has touched.
    """
    import numpy as np

    outcomes = _refused(slices.select, cause)
    base_forecast = slices.select.based(fit_base, cause.base_of)
    if slices.smallest < SLICE_ROWS_MIN or _refused(slices.fit, cause).sum() < EVENTS_MIN:
        none = _target(cause, choose(outcomes, {}), outcomes, base_forecast, base_forecast)
        return RefusalModel(cause=cause), none, partial(_based, fit_base, cause)
    penalties, near = best_penalties(slices.fit, slices.tune, fit_base, cause)
    linear = fit_linear(slices.fit, fit_base, penalties, cause, near)
    settings, tried = best_settings(
        lambda each: _tuned(slices, fit_base, cause, seed, each)[2], search, seed=seed
    )
    trees, rounds, _ = _tuned(slices, fit_base, cause, seed, settings)

    def scores(matrices: Matrices) -> dict[Recipe, Array]:
        straight = linear_scores(matrices, fit_base, linear, cause)
        boosted = _start(matrices, fit_base, cause) + trees.matrix(matrices.trees)[:, 0]
        return {Recipe.LINEAR: straight, Recipe.BOOSTED: boosted, Recipe.MEAN: (straight + boosted) / 2}

    earlier, later = scores(slices.calibrate), scores(slices.select)
    calibrated = _refused(slices.calibrate, cause)
    maps = {recipe: fit_calibration(calibrated, _probabilities(earlier[recipe])) for recipe in earlier}
    forecasts = {recipe: _mapped(maps[recipe], later[recipe]) for recipe in later}
    losses = {recipe: log_losses(outcomes, forecast) for recipe, forecast in forecasts.items()}
    choice = choose(log_losses(outcomes, base_forecast), losses)
    chosen = forecasts.get(choice.recipe, base_forecast)
    target = _target(cause, choice, outcomes, base_forecast, chosen, forecasts=forecasts)
    if tried:
        target = replace(target, facts={"settings": settings.parameters(), "settings_tried": tried})
    if choice.recipe is Recipe.BASE:
        return RefusalModel(cause=cause), target, partial(_based, fit_base, cause)
    held_out = np.concatenate([earlier[choice.recipe], later[choice.recipe]])
    calibration = fit_calibration(np.concatenate([calibrated, outcomes]), _probabilities(held_out))
    served = _refitted(
        cause,
        choice.recipe,
        whole,
        base,
        calibration=calibration,
        penalties=penalties,
        near=linear,
        rounds=rounds,
        settings=settings,
        seed=seed,
    )

    def forecast(matrices: Matrices) -> Array:
        return _mapped(maps[choice.recipe], scores(matrices)[choice.recipe])

    return served, target, forecast


def _tuned(
    slices: SlicedMatrices, base: BaseRates, cause: Cause, seed: int, settings: TreeSettings
) -> tuple[BoostedModel, int, float]:
    """Trees of the fit slice, how many rounds the tune slice let them have, and their loss on that."""
    later = _data(slices.tune, base, cause)
    trees, rounds = fit_boosted(
        _OBJECTIVE,
        _data(slices.fit, base, cause),
        later,
        slices.fit.categories,
        seed=seed,
        settings=settings,
    )
    told = _probabilities(later[2] + trees.matrix(later[0])[:, 0])
    return trees, rounds, float(log_losses(later[1], told).mean())


def _based(base: BaseRates, cause: Cause, matrices: Matrices) -> Array:
    return matrices.based(base, cause.base_of)


def _refitted(
    cause: Cause,
    recipe: Recipe,
    whole: Matrices,
    base: BaseRates,
    *,
    calibration: Calibration,
    penalties: Penalties,
    near: LinearFit,
    rounds: int,
    settings: TreeSettings,
    seed: int,
) -> RefusalModel:
    begin = near if len(near.pooled) == len(whole.encoding.design_names) + 1 else None
    steps, pooled = fit_linear(whole, base, penalties, cause, begin).models()
    trees = None
    if recipe in (Recipe.BOOSTED, Recipe.MEAN):
        trees, _ = fit_boosted(
            _OBJECTIVE,
            _data(whole, base, cause),
            None,
            whole.categories,
            seed=seed,
            rounds=rounds,
            settings=settings,
        )
    return RefusalModel(recipe, steps, pooled, trees, calibration, cause)


def _target(
    cause: Cause,
    choice: Choice,
    outcomes: Array,
    base_forecast: Array,
    chosen: Array,
    *,
    forecasts: Mapping[Recipe, Array] | None = None,
) -> Target:
    scored: dict[str, Array] = {
        "base": base_forecast,
        **{str(each): told for each, told in (forecasts or {}).items()},
    }
    return Target(
        cause.value,
        choice,
        {who: figures_of_forecasts(outcomes, told) for who, told in scored.items()} if len(outcomes) else {},
        outcomes,
        chosen,
    )


def figures_of_forecasts(outcomes: Array, forecasts: Array) -> dict[str, float]:
    """Every score of probabilities for yes/no outcomes, by name."""
    scores = binary_scores(outcomes, forecasts)
    figures = {
        "log_loss": scores.log_loss,
        "brier": scores.brier,
        "ece": scores.ece,
        "n": float(scores.n),
        "events": float(scores.events),
    }
    return figures if scores.auc is None else {**figures, "auc": scores.auc}


def _start(matrices: Matrices, base: BaseRates, cause: Cause) -> Array:
    return matrices.based(base, lambda rates: logit(cause.base_of(rates)))


def _data(matrices: Matrices, base: BaseRates, cause: Cause) -> TrainingRows:
    return matrices.trees, _refused(matrices, cause), _start(matrices, base, cause)


def _probabilities(scores: Array) -> Array:
    import numpy as np

    probabilities: Array = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    return probabilities


def _mapped(calibration: Calibration, scores: Array) -> Array:
    import numpy as np

    return np.asarray(calibration.many(_probabilities(scores)))


def _refused(matrices: Matrices, cause: Cause) -> Array:
    return matrices.table.refused_for(cause).astype("float64")
