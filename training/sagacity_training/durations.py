"""Target three: how long does success take? Trees for the median and the 90 % quantile, against the base's.

Both predict the *logarithm* relative to the step's base latency. A call that our timeout cut off is known
to have taken at least the timeout c. The loss of Powell (1986) compares min(duration, c) with min(forecast,
c): it is minimised by the true quantile wherever that lies below c, so timeouts need not be dropped or
invented. Above c a quantile is not identified: steps that are cut off too often to tell their p90 take no
part in its fit and keep the shape of their base latency, a censored maximum likelihood.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.rows import AttemptOutcome
from sagacity_models.base_rates import BaseRates, StepRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.censored import DURATION_MIN_S
from sagacity_models.step_models import LOG_STEP_MAX, Z90, DurationModel, Recipe
from sagacity_training.fit_boosted import fit_boosted
from sagacity_training.matrices import Matrices
from sagacity_training.recipes import choose
from sagacity_training.scores import pinball_losses
from sagacity_training.step_table import StepRow
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ROWS_MIN: Final = 500
SLICE_ROWS_MIN: Final = 60
CENSORED_SHARE_MAX: Final = 0.08
"""A step cut off more often than this does not show its 90 % quantile."""
LEVELS: Final = (0.5, 0.9)
_ROUNDS_MAX: Final = 120


def train_durations(
    slices: SlicedMatrices, fit_base: BaseRates, whole: Matrices, base: BaseRates, seed: int
) -> tuple[DurationModel, Target]:
    """The model to serve, fitted on `whole` over `base`, and what was found on `slices` over `fit_base`."""
    import numpy as np

    values, limits = slices.select.told(_log_duration), slices.select.told(_log_limit)
    base_logs = [slices.select.based(fit_base, partial(_log_quantile, z=z)) for z in (0.0, Z90)]
    base_losses = _losses(values, limits, base_logs)
    if len(slices.fit) < ROWS_MIN or slices.smallest < SLICE_ROWS_MIN:
        return DurationModel(), _target(choose(np.zeros(0), {}), values, limits, {"base": base_logs})
    models: list[BoostedModel] = []
    rounds: list[int] = []
    for level in LEVELS:
        model, best = _fit(slices.fit, slices.tune, fit_base, level=level, seed=seed, rounds=_ROUNDS_MAX)
        models.append(model)
        rounds.append(best)
    added = [model.matrix(slices.select.trees)[:, 0] for model in models]
    logs = [
        low + np.clip(add, -LOG_STEP_MAX, LOG_STEP_MAX) for low, add in zip(base_logs, added, strict=True)
    ]
    choice = choose(base_losses, {Recipe.BOOSTED: _losses(values, limits, logs)})
    told = {"base": base_logs, str(Recipe.BOOSTED): logs}
    target = _target(choice, values, limits, told)
    if choice.recipe is Recipe.BASE:
        return DurationModel(), target
    served = [
        _fit(whole, None, base, level=level, seed=seed, rounds=best)[0]
        for level, best in zip(LEVELS, rounds, strict=True)
    ]
    return DurationModel(Recipe.BOOSTED, served[0], served[1]), target


def _fit(
    fit: Matrices,
    tune: Matrices | None,
    base: BaseRates,
    *,
    level: float,
    seed: int,
    rounds: int,
) -> tuple[BoostedModel, int]:
    telling = _telling(fit, level)
    return fit_boosted(
        {"objective": "quantile", "alpha": level, "learning_rate": 0.1},
        _data(fit, base, level, telling),
        None if tune is None else _data(tune, base, level, telling),
        fit.categories,
        seed=seed,
        rounds=rounds,
    )


def _telling(matrices: Matrices, level: float) -> frozenset[str]:
    """The steps whose calls are cut off seldom enough to show the quantile; all, if none is."""
    calls = Counter(row.key for row in matrices.rows)
    cut = Counter(row.key for row in matrices.rows if row.first.outcome is AttemptOutcome.TIMED_OUT)
    share_max = CENSORED_SHARE_MAX * (1 - level) / 0.1
    telling = frozenset(key for key in calls if cut[key] <= share_max * calls[key])
    return telling or frozenset(calls)


def _data(
    matrices: Matrices, base: BaseRates, level: float, telling: frozenset[str]
) -> tuple[Array, Array, Array]:
    import numpy as np

    z = 0.0 if level == LEVELS[0] else Z90
    logs = matrices.told(_log_duration) - matrices.based(base, partial(_log_quantile, z=z))
    kept = np.array([row.key in telling for row in matrices.rows])
    return matrices.trees[kept], logs[kept], np.zeros(int(kept.sum()))


def _target(choice: Any, values: Array, limits: Array, told: dict[str, list[Array]]) -> Target:
    import numpy as np

    scores: dict[str, dict[str, float]] = {}
    chosen = told[str(choice.recipe)]
    if len(values):
        for who, (median, p90) in told.items():
            scores[who] = {
                "pinball_median": float(pinball_losses(values, np.minimum(median, limits), 0.5).mean()),
                "pinball_p90": float(pinball_losses(values, np.minimum(p90, limits), 0.9).mean()),
                "share_within_p90": float(np.mean(values <= p90)),
                "n": float(len(values)),
            }
    return Target("durations", choice, scores, values, chosen[0])


def _losses(values: Array, limits: Array, logs: list[Array]) -> Array:
    import numpy as np

    return sum(
        (
            pinball_losses(values, np.minimum(log, limits), level)
            for log, level in zip(logs, LEVELS, strict=True)
        ),
        np.zeros(len(values)),
    )


def _log_quantile(rates: StepRates, z: float) -> float:
    return math.log(rates.latency.median_s) + z * rates.latency.sigma


def _log_duration(row: StepRow) -> float:
    assert row.duration_s is not None  # the caller kept only rows with one
    return math.log(max(row.duration_s, DURATION_MIN_S))


def _log_limit(row: StepRow) -> float:
    return math.inf if row.first.timeout_s is None else math.log(max(row.first.timeout_s, DURATION_MIN_S))
