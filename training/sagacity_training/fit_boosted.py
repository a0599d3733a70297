"""Small boosted trees, the same from the same seed and data, on top of a starting score.

Trees are small (refusals are rare, so a deep tree remembers runs) and stop when a later slice no longer
gains. Everything that makes LightGBM depend on the machine is turned off: row-wise histograms are forced,
sampling is seeded, sums are deterministic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sagacity_models.boosted import BoostedModel
from sagacity_training.search import USUAL, TreeSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.float32] | NDArray[np.float64]
    TrainingRows = tuple[Rows, Array, Array]
    """Rows, targets and starting scores."""

ROUNDS_MAX: Final = 300
PATIENCE: Final = 25
_PARAMETERS: Final[dict[str, Any]] = {
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 63,
    "cat_smooth": 20.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "boost_from_average": False,
    "verbosity": -1,
}


def fit_boosted(
    objective: dict[str, Any],
    training: TrainingRows,
    tuning: TrainingRows | None,
    categories: tuple[int, ...],
    *,
    seed: int,
    rounds: int = ROUNDS_MAX,
    settings: TreeSettings = USUAL,
) -> tuple[BoostedModel, int]:
    """A model of (rows, targets, starting scores) and its number of rounds.

    With `tuning` the rounds end where that slice no longer gains; without, there are exactly `rounds`.
    """
    import lightgbm

    parameters = {**_PARAMETERS, **settings.parameters(), **objective, "seed": seed}
    rows, targets, start = training
    data = lightgbm.Dataset(
        rows,
        targets,
        init_score=start,
        categorical_feature=list(categories),
        params=parameters,
        free_raw_data=False,
    )
    if tuning is None:
        booster = lightgbm.train(parameters, data, num_boost_round=rounds)
        return BoostedModel(booster.model_to_string()), rounds
    later = data.create_valid(tuning[0], tuning[1], init_score=tuning[2])
    booster = lightgbm.train(
        parameters,
        data,
        num_boost_round=rounds,
        valid_sets=[later],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    best = max(booster.best_iteration, 1)
    return BoostedModel(booster.model_to_string(num_iteration=best)), best
