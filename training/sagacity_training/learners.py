"""Learning a tabular forecaster: fit early, calibrate later, select later still, and say when nothing helps.

| slice | for |
|---|---|
| fit | each candidate: linear, trees, their mean |
| tune | how strong the linear model's penalty is, how many rounds the trees get |
| calibrate | the map from scores to honest probabilities |
| select | which candidate, if any, beats the base rate beyond chance (`recipes.choose`), and all figures |

The base rate is the better, in hindsight, of that of all earlier slices and that of the latest one, so that
a rate that merely drifts is not taken for signal. What is served is the chosen recipe fitted once more on
all rows, with a map learnt from both later slices; its figures are those of the fit that had seen neither.
Rows that have no time are judged in folds: every row once, by what was fitted on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sagacity_models.feature_columns import Columns
from sagacity_models.step_models import Recipe
from sagacity_models.tabular import BINARY, TabularForecaster
from sagacity_training.judging.judged import Judged
from sagacity_training.learners_candidates import Tried, in_order, log_losses
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_fits import fit_linear, fit_trees
from sagacity_training.learners_slices import TableSlices, folds_of, slices_of
from sagacity_training.learners_table import RowFacts, TrainingTable
from sagacity_training.recipes import Choice, choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Learnt:
    """The forecaster to serve, and how the chosen recipe did on rows that nothing was fitted on.

    `judged` holds one task for two classes, and one per class (`task.class`, against the rest) for more.
    `forecasts` are the selected recipe's probabilities of the `held` rows (places in the table).
    """

    forecaster: TabularForecaster
    judged: tuple[Judged, ...]
    choice: Choice
    held: Codes
    forecasts: Array

    @property
    def reason(self) -> str:
        """Why this recipe, in words."""
        return self.choice.reason

    @property
    def signal(self) -> bool:
        """Whether anything beat the base rate."""
        return self.choice.recipe is not Recipe.BASE


def learn(
    columns: Columns,
    outcomes: Array | Codes,
    at: Array,
    *,
    classes: tuple[str, ...] = BINARY,
    seed: int,
    task: str = "tabular",
    facts: RowFacts | None = None,
    config: LearnerConfig | None = None,
) -> Learnt:
    """The forecaster that this table justifies. `outcomes` are places in `classes`, `at` is in s since 1970.

    Rows must be in time order. Raises `NothingToLearn` for a table without rows, `ValueError` for one whose
    parts do not fit. The same table and seed give the same texts.
    """
    import numpy as np

    table = TrainingTable.checked(
        columns,
        outcomes,
        at,
        classes=classes,
        seed=seed,
        facts=facts or RowFacts(),
        config=config or LearnerConfig(),
    )
    turns = turns_of(table)
    held = np.sort(np.concatenate([parts.select for parts in turns]))
    codes, bases = table.codes[held], _bases(table, turns)
    base = min(bases, key=lambda told: float(log_losses(told, codes).sum()))
    tried = Tried.on(table, turns) if all(_enough(table, parts) for parts in turns) else None
    forecasts = {} if tried is None else {each: tried.forecasts(each) for each in table.config.recipes}
    losses = {recipe: log_losses(told, codes) for recipe, told in forecasts.items()}
    choice = choose(log_losses(base, codes), losses)
    chosen = forecasts.get(choice.recipe, base)
    n_train = len(turns[0].earlier)
    return Learnt(
        served(table, tried, choice.recipe),
        _judged(table, task, (held, chosen, base), choice, n_train=n_train),
        choice,
        held,
        chosen,
    )


def turns_of(table: TrainingTable) -> list[TableSlices]:
    """The slices of time; for rows without a time, one set of slices for each fold."""
    if table.config.folds:
        return folds_of(table.cases, table.config.folds)
    return [slices_of(table.at, table.known_at, table.cases, table.config.shares)]


def served(table: TrainingTable, tried: Tried | None, recipe: Recipe) -> TabularForecaster:
    """The chosen recipe fitted on all rows."""
    import numpy as np

    everything = np.arange(len(table.codes))
    base = TabularForecaster(
        classes=table.classes,
        evidence=len(everything),
        rates=table.rates(everything),
        confidence_min=table.config.confidence_min,
    )
    if tried is None or recipe is Recipe.BASE:
        return base
    encoding = table.encoding(everything)
    trees, count, signs = table.trees(encoding), len(table.classes), table.signs(encoding)
    linear, boosted = None, None
    if recipe is not Recipe.BOOSTED:
        linear = fit_linear(encoding.design_rows(trees), table.codes, count, tried.strength, signs)
    if recipe is not Recipe.LINEAR:
        boosted, _ = fit_trees(
            (trees, table.codes),
            None,
            count,
            encoding.categorical_positions,
            signs=signs,
            seed=table.seed,
            rounds=tried.rounds,
        )
    calibration = tried.calibration(recipe, table.codes)
    return replace(
        base, recipe=recipe, encoding=encoding, linear=linear, boosted=boosted, calibration=calibration
    )


def _bases(table: TrainingTable, turns: Sequence[TableSlices]) -> list[Array]:
    """Base rates of the held-out rows: from all earlier slices, and from the latest of them."""
    earlier = [_base(table, parts.earlier, parts.select) for parts in turns]
    if table.config.folds:
        return [in_order(earlier, turns)]  # Without time, no slice is the latest.
    return [in_order(earlier, turns), *(_base(table, parts.calibrate, parts.select) for parts in turns)]


def _base(table: TrainingTable, learnt: Codes, held: Codes) -> Array:
    import numpy as np

    rates = table.rates(learnt)
    known = [level.feature for level in rates.levels]
    levels = {name: table.columns[name].as_levels() for name in known}
    told = [
        {name: names[codes[place]] if codes[place] >= 0 else None for name, (codes, names) in levels.items()}
        for place in held.tolist()
    ]
    return np.array([rates.of(row) for row in told]).reshape(len(told), len(table.classes))


def _enough(table: TrainingTable, parts: TableSlices) -> bool:
    """Whether there are two classes to tell apart while fitting, and rows in each later slice."""
    import numpy as np

    counts = np.bincount(table.codes[parts.fit], minlength=len(table.classes))
    told_apart = int((counts >= table.config.class_rows_min).sum()) >= 2
    return told_apart and min(map(len, parts.parts)) >= table.config.class_rows_min


def _judged(
    table: TrainingTable, task: str, told: tuple[Codes, Array, Array], choice: Choice, *, n_train: int
) -> tuple[Judged, ...]:
    places, forecasts, base = told
    codes, own = table.codes[places], places.tolist()
    groups = {name: _at(labels, own) for name, labels in table.groups.items()}
    wanted = range(len(table.classes)) if len(table.classes) > 2 else (1,)
    return tuple(
        Judged(
            task=f"{task}.{table.classes[number]}" if len(table.classes) > 2 else task,
            outcomes=(codes == number).astype(float),
            forecasts=forecasts[:, number],
            base=base[:, number],
            champion=None,
            at=table.at[places],
            cases=table.cases[places],
            groups=groups,
            n_train=n_train,
            chosen=choice.recipe.value,
            reason=choice.reason,
        )
        for number in wanted
    )


def _at(labels: Sequence[str], places: Sequence[int]) -> list[str]:
    return [labels[place] for place in places]
