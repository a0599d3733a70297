"""Fitting the parts of a tabular forecaster from arrays: rates, a linear model, trees, a map of classes.

Everything is deterministic: the same arrays and seed give the same numbers. Where a number is declared
monotone, the trees are built so, and the linear model loses the columns whose weights have the wrong sign,
until none has. That keeps the promise; it is not always the best fit that does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.boosted import BoostedModel
from sagacity_models.feature_columns import Columns, feature_column
from sagacity_models.linear import LinearModel
from sagacity_models.shrinkage import STRENGTH_DEFAULT, STRENGTH_MAX, STRENGTH_MIN
from sagacity_models.tabular_calibration import ClassScaling
from sagacity_models.tabular_rates import RateLevel, ShrunkRates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]

ITERATIONS_MAX: Final = 300
PATIENCE: Final = 25
LEVEL_VALUES_MAX: Final = 10_000
"""Values of one feature with a rate of their own; the commonest."""
_LEAF_ROWS: Final = (5, 60)
_SHIFT_PENALTY: Final = 4.0
"""1/variance of the prior of a class map's numbers, which changes nothing: half a nat of deviation."""
_NEWTON_STEPS: Final = 50
_PARAMETERS: Final[dict[str, Any]] = {
    "learning_rate": 0.06,
    "num_leaves": 8,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "cat_smooth": 20.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def fit_rates(
    columns: Columns,
    codes: Codes,
    places: Codes,
    prior: Sequence[float],
    prior_cases: float,
    *,
    levels: Sequence[str],
) -> ShrunkRates:
    """Counts of each class among the rows at `places`, in all and by the values of each level's feature."""
    import numpy as np

    width = len(prior)
    own = codes[places]
    told: list[RateLevel] = []
    for feature in levels:
        if feature not in columns:
            continue
        values, names = feature_column(columns[feature]).as_levels()
        table = np.zeros((len(names), width))
        known = values[places] >= 0
        np.add.at(table, (values[places][known], own[known]), 1.0)
        seen = sorted(
            (name for name in range(len(names)) if table[name].any()), key=lambda n: -table[n].sum()
        )
        kept = sorted(seen[:LEVEL_VALUES_MAX], key=lambda number: names[number])
        counts = {names[number]: tuple(map(float, table[number])) for number in kept}
        told.append(RateLevel(feature, strength_of_classes(table[kept]), counts))
    totals = tuple(map(float, np.bincount(own, minlength=width)))
    return ShrunkRates(tuple(prior), prior_cases, totals, tuple(told))


def strength_of_classes(table: Array) -> float:
    """How many cases the pooled rates are worth, from groups' counts by class.

    The method of moments of `shrinkage.strength_of`, with noise and scatter summed over the classes; the
    same number for two classes.
    """
    import numpy as np

    cases = table.sum(axis=1)
    total = float(cases.sum())
    if len(table) < 3 or total == 0:
        return STRENGTH_DEFAULT
    mean = table.sum(axis=0) / total
    noise = float((mean * (1 - mean)).sum())
    if noise <= 0:
        return STRENGTH_DEFAULT
    scatter = float((cases[:, None] * (table / cases[:, None] - mean) ** 2).sum())
    spare = total - float((cases**2).sum()) / total
    variance = (scatter - (len(table) - 1) * noise) / spare if spare > 0 else 0.0
    return STRENGTH_MAX if variance <= 0 else float(np.clip(noise / variance - 1, STRENGTH_MIN, STRENGTH_MAX))


def fit_linear(
    designs: Array, codes: Codes, classes: int, strength: float, signs: Mapping[int, int]
) -> LinearModel:
    """Regularised (multinomial) logistic regression; one logit for two classes, else one score for each.

    `signs` says for columns which sign their weight may have. Raises `ValueError` if only one class occurs.
    """
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    kept = np.ones(designs.shape[1], dtype=bool)
    while True:
        learner = LogisticRegression(C=strength, max_iter=ITERATIONS_MAX)
        with warnings.catch_warnings():
            # A penalised optimum that is nearly reached is as good: a later slice judges it anyway.
            warnings.simplefilter("ignore", ConvergenceWarning)
            learner.fit(designs * kept, codes)
        weights = np.where(kept, learner.coef_, 0.0)
        wrong = [column for column, sign in signs.items() if sign * weights[0, column] < 0]
        if not wrong:
            break
        kept[wrong] = False
    return _linear_of(weights, np.asarray(learner.intercept_), learner.classes_, classes, len(codes))


def _linear_of(weights: Array, intercepts: Array, seen: Codes, classes: int, rows: int) -> LinearModel:
    """Scores for all classes, of which those that did not occur are as unlikely as half a row."""
    import numpy as np

    if classes == 2:
        return LinearModel((float(intercepts[0]),), (tuple(map(float, weights[0])),))
    if len(seen) == 2:  # The library gives one logit: the second of both classes against the first.
        weights, intercepts = (
            np.vstack([-weights / 2, weights / 2]),
            np.append(-intercepts / 2, intercepts / 2),
        )
    whole, starts = (
        np.zeros((classes, weights.shape[1])),
        np.full(classes, intercepts.max() - np.log(2 * rows)),
    )
    whole[seen], starts[seen] = weights, intercepts
    return LinearModel(tuple(map(float, starts)), tuple(tuple(map(float, row)) for row in whole))


def fit_trees(
    training: tuple[Array, Codes],
    tuning: tuple[Array, Codes] | None,
    classes: int,
    categories: Sequence[int],
    *,
    signs: Mapping[int, int],
    seed: int,
    rounds: int,
) -> tuple[BoostedModel, int]:
    """Boosted trees and their number of rounds: where `tuning` no longer gains, or exactly `rounds`."""
    import lightgbm

    rows, codes = training
    parameters = {
        **_PARAMETERS,
        **({"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}),
        "min_data_in_leaf": min(max(_LEAF_ROWS[0], len(rows) // 200), _LEAF_ROWS[1]),
        "seed": seed,
    }
    if signs:
        parameters["monotone_constraints"] = [signs.get(column, 0) for column in range(rows.shape[1])]
    data = lightgbm.Dataset(
        rows, codes, categorical_feature=list(categories), params=parameters, free_raw_data=False
    )
    if tuning is None:
        booster = lightgbm.train(parameters, data, num_boost_round=rounds)
        return BoostedModel(booster.model_to_string()), rounds
    later = data.create_valid(*tuning)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    booster = lightgbm.train(parameters, data, num_boost_round=rounds, valid_sets=[later], callbacks=[stop])
    best = max(booster.best_iteration, 1)
    return BoostedModel(booster.model_to_string(num_iteration=best)), best


def fit_scaling(logs: Array, codes: Codes) -> ClassScaling:
    """The map of classes with the least penalised log loss: damped Newton from "change nothing".

    The penalty is a normal prior around slope 1 and shifts 0, so that few rows change little.
    """
    import numpy as np

    rows, classes = logs.shape
    terms = np.concatenate([logs[:, :, None], np.broadcast_to(np.eye(classes), (rows, classes, classes))], 2)
    at = centre = np.append(1.0, np.zeros(classes))
    picked = np.arange(rows), codes

    def told(point: Array) -> tuple[float, Array]:
        scores = terms @ point
        scores = scores - scores.max(axis=1, keepdims=True)
        scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        away = point - centre
        return float(-scores[picked].sum() + _SHIFT_PENALTY * (away @ away) / 2), np.exp(scores)

    loss, shares = told(at)
    for _ in range(_NEWTON_STEPS):
        means = np.einsum("nk,nkf->nf", shares, terms)
        gradient = (means - terms[picked]).sum(axis=0) + _SHIFT_PENALTY * (at - centre)
        curvature = np.einsum("nk,nkf,nkg->fg", shares, terms, terms) - means.T @ means
        step = np.linalg.solve(curvature + _SHIFT_PENALTY * np.eye(len(at)), gradient)
        while told(at - step)[0] > loss and np.abs(step).max() > 1e-9:
            step = step / 2
        at = at - step
        loss, shares = told(at)
        if np.abs(step).max() <= 1e-8:
            break
    return ClassScaling(max(float(at[0]), 0.0), tuple(map(float, at[1:])))
