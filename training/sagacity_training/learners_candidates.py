"""The candidates of a table: fitted on its first slice, tuned on the second, calibrated on the third.

Everything here works on whole arrays; a test holds the forecasts to those that `TabularForecaster` makes of
the same numbers, row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.calibration import Calibration, Identity
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.linear import PROBABILITY_MIN, LinearModel
from sagacity_models.step_models import Recipe
from sagacity_models.tabular_calibration import ClassScaling
from sagacity_training.fit_calibration import fit_calibration
from sagacity_training.learners_fits import fit_linear, fit_scaling, fit_trees
from sagacity_training.learners_slices import TableSlices
from sagacity_training.learners_table import TrainingTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_models.boosted import BoostedModel

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]

_LOG_MIN: Final = -30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModels:
    """Both models from one part of the table, and what was found on the way."""

    encoding: FeatureEncoding
    linear: LinearModel | None
    boosted: BoostedModel | None
    strength: float
    rounds: int

    def logs(self, trees: Array, recipe: Recipe) -> Array:
        """Log probabilities of rows, before calibration, as `TabularForecaster` has them."""
        import numpy as np

        parts: list[Array] = []
        if recipe is not Recipe.BOOSTED:
            assert self.linear is not None, "only fitted recipes are asked"
            designs = self.encoding.design_rows(trees)
            parts.append(
                _log_shares(designs @ np.array(self.linear.weights).T + np.array(self.linear.intercepts))
            )
        if recipe is not Recipe.LINEAR:
            assert self.boosted is not None, "only fitted recipes are asked"
            parts.append(_log_shares(self.boosted.matrix(trees)))
        mean: Array = np.mean(parts, axis=0)
        return mean


@dataclass(frozen=True, slots=True)
class Candidates:
    """Every recipe of the first slice: its scores on both later ones, and its calibrated forecasts."""

    fit: FittedModels
    logs: Mapping[Recipe, tuple[Array, Array]]
    select: Mapping[Recipe, Array]

    @classmethod
    def on(cls, table: TrainingTable, parts: TableSlices) -> Candidates:
        """Fitted on the first slice of `table`, tuned on the second, calibrated on the third."""
        encoding = table.encoding(parts.fit)
        trees = table.trees(encoding)
        fit = _tuned(table, parts, encoding, trees)
        logs, select = {}, {}
        for recipe in table.config.recipes:
            scored = [fit.logs(trees[part], recipe) for part in (parts.calibrate, parts.select)]
            calibration = _calibration(scored[0], table.codes[parts.calibrate])
            logs[recipe] = scored[0], scored[1]
            select[recipe] = _calibrated(calibration, scored[1])
        return cls(fit, logs, select)


@dataclass(frozen=True, slots=True)
class Tried:
    """The candidates of every turn, and what they forecast of the rows that were held out, in time order."""

    turns: Sequence[Candidates]
    slices: Sequence[TableSlices]

    @classmethod
    def on(cls, table: TrainingTable, turns: Sequence[TableSlices]) -> Tried:
        """All turns fitted; one for slices of time."""
        return cls([Candidates.on(table, parts) for parts in turns], turns)

    def forecasts(self, recipe: Recipe) -> Array:
        """Calibrated forecasts of the held-out rows."""
        return in_order([told.select[recipe] for told in self.turns], self.slices)

    def calibration(self, recipe: Recipe, codes: Codes) -> Calibration | ClassScaling:
        """The map from all that no fit had seen when it scored it."""
        import numpy as np

        if len(self.turns) > 1:
            places = np.concatenate([parts.select for parts in self.slices])
            logs = np.concatenate([told.logs[recipe][1] for told in self.turns])
        else:
            places = np.concatenate([self.slices[0].calibrate, self.slices[0].select])
            logs = np.concatenate(self.turns[0].logs[recipe])
        return _calibration(logs, codes[places])

    @property
    def strength(self) -> float:
        """The linear model's inverse penalty: the middle one of what the turns chose."""
        return sorted(told.fit.strength for told in self.turns)[len(self.turns) // 2]

    @property
    def rounds(self) -> int:
        """The trees' rounds, likewise."""
        return sorted(told.fit.rounds for told in self.turns)[len(self.turns) // 2]


def in_order(told: Sequence[Array], turns: Sequence[TableSlices]) -> Array:
    """What each turn tells of its held-out rows, joined in the order of the table."""
    import numpy as np

    places = np.concatenate([parts.select for parts in turns])
    joined: Array = np.concatenate(told)[np.argsort(places, kind="stable")]
    return joined


def _tuned(table: TrainingTable, parts: TableSlices, encoding: FeatureEncoding, trees: Array) -> FittedModels:
    """Both models of the first slice, each with what serves the second one best."""
    import numpy as np

    count, config, signs = len(table.classes), table.config, table.signs(encoding)
    linear, boosted, strength, rounds = None, None, config.linear_strengths[0], config.rounds_max
    if set(config.recipes) & {Recipe.LINEAR, Recipe.MEAN}:
        designs, later = encoding.design_rows(trees[parts.fit]), table.codes[parts.tune]
        best = float("inf")
        for tried in config.linear_strengths:
            model = fit_linear(designs, table.codes[parts.fit], count, tried, signs)
            fit = FittedModels(encoding=encoding, linear=model, boosted=None, strength=tried, rounds=0)
            loss = float(log_losses(np.exp(fit.logs(trees[parts.tune], Recipe.LINEAR)), later).mean())
            if loss < best:
                best, linear, strength = loss, model, tried
    if set(config.recipes) & {Recipe.BOOSTED, Recipe.MEAN}:
        fitted, tuned = ((trees[part], table.codes[part]) for part in (parts.fit, parts.tune))
        boosted, rounds = fit_trees(
            fitted,
            tuned,
            count,
            encoding.categorical_positions,
            signs=signs,
            seed=table.seed,
            rounds=config.rounds_max,
        )
    return FittedModels(encoding=encoding, linear=linear, boosted=boosted, strength=strength, rounds=rounds)


def _calibration(logs: Array, codes: Codes) -> Calibration | ClassScaling:
    import numpy as np

    if not len(codes):
        return Identity()
    if logs.shape[1] > 2:
        return fit_scaling(logs, codes)
    return fit_calibration(codes.astype(np.float64), np.exp(logs[:, 1]))


def _calibrated(calibration: Calibration | ClassScaling, logs: Array) -> Array:
    """As `TabularForecaster` applies it, row by row."""
    import numpy as np

    if isinstance(calibration, ClassScaling):
        return np.array([calibration(row) for row in logs.tolist()]).reshape(logs.shape)
    events = np.array([calibration(event) for event in np.exp(logs[:, 1]).tolist()])
    return np.stack([1 - events, events], axis=1).reshape(logs.shape)


def _log_shares(scores: Array) -> Array:
    """Log probabilities of scores, one row each; a single score is the logit of the second of two classes."""
    import numpy as np

    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    top = scores.max(axis=1, keepdims=True)
    logs: Array = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    return np.maximum(logs, _LOG_MIN)


def log_losses(forecasts: Array, codes: Codes) -> Array:
    """The log loss of each row, in nats."""
    import numpy as np

    told = forecasts[np.arange(len(codes)), codes]
    losses: Array = -np.log(np.maximum(told, PROBABILITY_MIN / 100))
    return losses
