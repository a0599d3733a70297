"""Durations learnt from arrays: what trees add to a step's base, the residual laws, and how they are judged.

Trees for the median and the 90 % quantile of log-durations give location and scale (`sagacity_models.
durations`). A call that a timeout cut off at c took at least c. The loss of Powell (1986) compares
min(duration, c) with min(forecast, c): it is minimised by the true quantile wherever that lies below c, so
timeouts need not be dropped or invented. Above c a quantile is not identified: steps that are cut off too
often to tell their p90 take no part in its fit and keep the scale of their base, a censored maximum
likelihood. The residual laws then come from calls that the trees have not been fitted on.

    fit -> trees | tune -> when they stop | tune, calibrate -> residual laws | select -> choice and figures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sagacity_models.boosted import BoostedModel
from sagacity_models.durations import Z90, DurationModel
from sagacity_models.step_models import Recipe
from sagacity_training.duration_calls import Calls, CallSlices, Judgement, joined, judged
from sagacity_training.fit_boosted import fit_boosted
from sagacity_training.recipes import Choice, choose
from sagacity_training.survival import Flags

if TYPE_CHECKING:
    from sagacity_training.fit_boosted import TrainingRows

ROWS_MIN: Final = 500
SLICE_ROWS_MIN: Final = 60
CENSORED_SHARE_MAX: Final = 0.08
"""A step cut off more often than this does not show its 90 % quantile."""
TREE_LEVELS: Final = (0.5, 0.9)
_ROUNDS_MAX: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntDurations:
    """The model to serve, why it was chosen, and figures on the select slice by candidate ("base", ...)."""

    model: DurationModel
    choice: Choice
    figures: Mapping[str, Mapping[str, float]]
    refusal_figures: Mapping[str, float]
    by_step: Mapping[str, Mapping[str, float]]
    """Of the chosen candidate, by step key."""


def learn_durations(
    successes: CallSlices,
    refusals: CallSlices,
    whole: tuple[Calls, Calls],
    *,
    categories: tuple[int, ...],
    seed: int,
) -> LearntDurations:
    """The durations of success and refusal, learnt on slices and fitted again on `whole` (of both kinds).

    The slices stand over the base rates of the fit slice, `whole` over those to serve. With little history,
    or where trees gain nothing on the select slice, the model is the base with residual laws.
    """
    base = judged(successes.select, joined(*successes[:3]).laws())
    base_refusals = judged(refusals.select, joined(*refusals[:3]).laws())
    figures = {str(Recipe.BASE): base.figures}
    unmoved = DurationModel(successes=whole[0].laws(), refusals=whole[1].laws())
    if len(successes.fit) < ROWS_MIN or successes.smallest < SLICE_ROWS_MIN:
        return LearntDurations(
            model=unmoved,
            choice=choose(base.losses, {}),
            figures=figures,
            refusal_figures=base_refusals.figures,
            by_step=base.by_step,
        )
    fitted = [
        _fitted(successes.fit, successes.tune, level, categories=categories, seed=seed, rounds=_ROUNDS_MAX)
        for level in TREE_LEVELS
    ]
    trees = [model for model, _ in fitted]
    later = joined(*(_moved(part, trees) for part in successes[1:3]))
    select = _moved(successes.select, trees)
    boosted = judged(select, later.laws())
    choice = choose(base.losses, {Recipe.BOOSTED: boosted.losses})
    figures[str(Recipe.BOOSTED)] = boosted.figures
    if choice.recipe is Recipe.BASE:
        return LearntDurations(
            model=unmoved,
            choice=choice,
            figures=figures,
            refusal_figures=base_refusals.figures,
            by_step=base.by_step,
        )
    served = [
        _fitted(whole[0], None, level, categories=categories, seed=seed, rounds=rounds)[0]
        for level, (_, rounds) in zip(TREE_LEVELS, fitted, strict=True)
    ]
    follow, told = _following(refusals, trees, base_refusals)
    held_out = joined(*(_moved(part, trees) for part in refusals[1:])) if follow else whole[1]
    model = DurationModel(
        Recipe.BOOSTED, served[0], served[1], joined(later, select).laws(), held_out.laws(), follow
    )
    return LearntDurations(
        model=model,
        choice=choice,
        figures=figures,
        refusal_figures=told.figures,
        by_step=boosted.by_step,
    )


def _following(
    refusals: CallSlices, trees: Sequence[BoostedModel], base: Judgement
) -> tuple[bool, Judgement]:
    """Whether refusals are told better by what trees add to success, and their figures."""
    if refusals.smallest < SLICE_ROWS_MIN:
        return False, base
    laws = joined(*(_moved(part, trees) for part in refusals[1:3])).laws()
    followed = judged(_moved(refusals.select, trees), laws)
    chosen = choose(base.losses, {Recipe.BOOSTED: followed.losses}).recipe
    return (True, followed) if chosen is Recipe.BOOSTED else (False, base)


def _fitted(
    fit: Calls,
    tune: Calls | None,
    level: float,
    *,
    categories: tuple[int, ...],
    seed: int,
    rounds: int,
) -> tuple[BoostedModel, int]:
    telling = _telling(fit, level)
    return fit_boosted(
        {"objective": "quantile", "alpha": level, "learning_rate": 0.1},
        _data(fit, level, telling),
        None if tune is None else _data(tune, level, telling),
        categories,
        seed=seed,
        rounds=rounds,
    )


def _telling(calls: Calls, level: float) -> Flags:
    """Per step code, whether its calls are cut off seldom enough to show the quantile; all, if none is."""
    count = len(calls.keys)
    total = np.bincount(calls.steps, minlength=count)
    cut = np.bincount(calls.steps, weights=calls.cut, minlength=count)
    telling = (total > 0) & (cut <= CENSORED_SHARE_MAX * (1 - level) / 0.1 * total)
    return telling if telling.any() else total > 0


def _data(calls: Calls, level: float, telling: Flags) -> TrainingRows:
    kept = telling[calls.steps]
    z = 0.0 if level == TREE_LEVELS[0] else Z90
    logs = calls.logs - calls.location - z * calls.scale
    if kept.all():
        return calls.trees, logs, np.zeros(len(logs))
    return calls.trees[kept], logs[kept], np.zeros(int(kept.sum()))


def _moved(calls: Calls, trees: Sequence[BoostedModel]) -> Calls:
    if not len(calls):
        return calls
    median, p90 = (model.matrix(calls.trees)[:, 0] for model in trees)
    return calls.moved(median, p90)
