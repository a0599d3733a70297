"""The choice among recipes for one target: only what beats the base rates beyond chance may replace them.

Every candidate is judged by its loss on the select slice, row by row against the base rates. Candidates whose
improvement is no signal drop out; where all do, history carries no signal for this target and the bundle says
so. Among the rest, in order of simplicity, a later one must beat the best so far by its standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.step_models import Recipe
from sagacity_training.scores import SIGNAL_Z, Improvement, improvement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SIMPLEST_FIRST: Final = (Recipe.LINEAR, Recipe.BOOSTED, Recipe.MEAN, Recipe.CAUSES)


@dataclass(frozen=True, slots=True)
class Choice:
    """The recipe of one target, why, and what each candidate gained over the base rates."""

    recipe: Recipe
    reason: str
    gains: Mapping[Recipe, Improvement]


def choose(base_losses: Array, candidates: Mapping[Recipe, Array]) -> Choice:
    """The recipe to use, from losses per row of the select slice in time order."""
    gains = {recipe: improvement(base_losses, losses) for recipe, losses in candidates.items()}
    chosen = Recipe.BASE
    best = base_losses
    for recipe in SIMPLEST_FIRST:
        if recipe not in candidates or not gains[recipe].is_signal:
            continue
        against = improvement(best, candidates[recipe])
        if chosen is Recipe.BASE or against.mean > against.standard_error:
            chosen, best = recipe, candidates[recipe]
    return Choice(chosen, _reason(chosen, gains, len(base_losses)), gains)


def _reason(chosen: Recipe, gains: Mapping[Recipe, Improvement], rows: int) -> str:
    if not gains:
        return "no signal: too little history to fit a model"
    if chosen is Recipe.BASE:
        best = max(gains, key=lambda recipe: gains[recipe].mean)
        return (
            f"no signal: the best one ({best}) gains {gains[best].mean:.4f} a row on {rows} later "
            f"rows, less than {SIGNAL_Z:g} standard errors of {gains[best].standard_error:.4f}"
        )
    gain = gains[chosen]
    return (
        f"{chosen} gains {gain.mean:.4f} a row over the base rates on {rows} later rows "
        f"(standard error {gain.standard_error:.4f})"
    )
