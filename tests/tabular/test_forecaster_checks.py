"""Every forecaster passes the published checks: four recipes, for two classes and for three."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sagacity_models.base_rates import BaseRates
from sagacity_models.calibration import Platt
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.feature_columns import Features, columns_of
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import Cause, KnownSteps, Recipe, RefusalModel, StepRows
from sagacity_models.tabular import BINARY, RowForecaster, TabularForecaster
from sagacity_models.tabular_rates import ShrunkRates
from sagacity_models.testing import ForecasterChecks
from sagacity_training.learners import learn, served, turns_of
from sagacity_training.learners_candidates import Tried
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_table import RowFacts, TrainingTable


class RecipeChecks(ForecasterChecks):
    """A tabular forecaster of one recipe, whether or not these rows would choose it."""

    recipe: ClassVar[Recipe]
    rising: ClassVar[tuple[str, ...]] = ("heat",)

    def learnt(self, rows: Sequence[Features], outcomes: Sequence[int], seed: int) -> RowForecaster:
        """The recipe, tuned and calibrated as `learn` does it."""
        monotone = dict.fromkeys(self.rising, 1) if len(self.classes) == 2 else {}
        table = TrainingTable.checked(
            columns_of(rows),
            np.array(outcomes),
            np.arange(len(rows), dtype=float),
            classes=self.classes,
            seed=seed,
            facts=RowFacts(),
            config=LearnerConfig(monotone=monotone, rounds_max=30, rate_levels=("vendor",)),
        )
        return served(table, Tried.on(table, turns_of(table)), self.recipe)

    def read(self, texts: Mapping[str, str]) -> RowForecaster:
        """From texts."""
        return TabularForecaster.from_texts(texts)


class TestBaseRate(RecipeChecks):
    """Shrunk base rates."""

    recipe = Recipe.BASE
    learns_in_any_order = True


class TestLinear(RecipeChecks):
    """Logistic regression."""

    recipe = Recipe.LINEAR


class TestBoosted(RecipeChecks):
    """Boosted trees."""

    recipe = Recipe.BOOSTED


class TestMean(RecipeChecks):
    """The mean of both."""

    recipe = Recipe.MEAN


class ThreeClasses(RecipeChecks):
    """The same for three classes, of which none is declared to rise."""

    classes = ("transient", "cascading", "permanent")
    rising = ()


class TestBaseRateOfThree(ThreeClasses):
    """Shrunk base rates."""

    recipe = Recipe.BASE
    learns_in_any_order = True


class TestLinearOfThree(ThreeClasses):
    """Multinomial regression."""

    recipe = Recipe.LINEAR


class TestBoostedOfThree(ThreeClasses):
    """Boosted trees."""

    recipe = Recipe.BOOSTED


class TestMeanOfThree(ThreeClasses):
    """The mean of both."""

    recipe = Recipe.MEAN


class TestSelected(RecipeChecks):
    """Whatever `learn` selects on its last slice."""

    def learnt(self, rows: Sequence[Features], outcomes: Sequence[int], seed: int) -> RowForecaster:
        """The whole of `learn`."""
        config = LearnerConfig(monotone={"heat": 1}, rounds_max=30)
        at = np.arange(len(rows), dtype=float)
        told = learn(columns_of(rows), np.array(outcomes), at, seed=seed, config=config)
        assert told.signal
        return told.forecaster


@dataclass(frozen=True)
class RefusalRows:
    """A `RefusalModel` behind the port: one nameless step, whose features are the row's."""

    model: RefusalModel
    encoding: FeatureEncoding
    evidence: int
    classes: tuple[str, ...] = BINARY

    def probabilities(self, rows: Sequence[Features]) -> list[list[float]]:
        """Both sides of the model's probability."""
        pooled = BaseRates.estimate({}).pooled
        told = StepRows.of(KnownSteps(["s/a"] * len(rows), [pooled] * len(rows)), self.encoding, rows)
        return [[1 - chance, chance] for chance in self.model.probabilities(told)]

    def texts(self) -> dict[str, str]:
        """As the tabular forecaster of the same numbers writes them."""
        return _tabular(self).texts()


class TestRefusalModel(ForecasterChecks):
    """The step models' own linear recipe keeps the same promises."""

    rising = ("heat",)

    def learnt(self, rows: Sequence[Features], outcomes: Sequence[int], seed: int) -> RowForecaster:
        """A pooled model with a weight for each rising number and each level, from differences of means."""
        del seed
        encoding = FeatureEncoding.learn(columns_of(rows))
        designs = encoding.design_rows(encoding.tree_rows(columns_of(rows), len(rows)))
        told = np.array(outcomes)
        weights = designs[told == 1].mean(axis=0) - designs[told == 0].mean(axis=0)
        linear = LinearModel((2.5,), (tuple(map(float, weights)),))
        model = RefusalModel(
            recipe=Recipe.LINEAR, pooled=linear, calibration=Platt(1.2, 0.5), cause=Cause.SERVICE
        )
        return RefusalRows(model, encoding, len(rows))

    def read(self, texts: Mapping[str, str]) -> RowForecaster:
        """Through the tabular forecaster's texts."""
        told = TabularForecaster.from_texts(texts)
        model = RefusalModel(
            recipe=Recipe.LINEAR, pooled=told.linear, calibration=Platt(1.2, 0.5), cause=Cause.SERVICE
        )
        return RefusalRows(model, told.encoding, told.evidence)


def _tabular(rows: RefusalRows) -> TabularForecaster:
    return TabularForecaster(
        classes=BINARY,
        evidence=rows.evidence,
        rates=ShrunkRates((0.5, 0.5), 4.0, (1.0, 1.0)),
        recipe=Recipe.LINEAR,
        encoding=rows.encoding,
        linear=rows.model.pooled,
    )
