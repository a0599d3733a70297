"""Forecasters of classes from named features: one small port, and the one forecaster that training makes.

A `RowForecaster` gives each row one probability per class. `TabularForecaster` is four of them, told apart by
its recipe: shrunk base rates, a regularised linear model, LightGBM's trees, or the mean of the latter two in
log space. All are calibrated, and all are texts and numbers: what learnt them is not needed to serve them.
A yes/no question is two classes, `BINARY`, of which the second is the event.

What nobody has seen is no error: an unknown category is "another value", a missing number is missing. Which
class to act on is `decide`, which abstains below a stated confidence rather than guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite
from typing import Any, Final, Protocol

from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration, Identity, read_calibration
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.feature_columns import Features
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import Recipe
from sagacity_models.tabular_calibration import ClassScaling, log_softmax, softmax
from sagacity_models.tabular_rates import Evidence, ShrunkRates

BINARY: Final = ("no", "yes")
ABSTAINED: Final = "unknown"
"""What `decide` answers where no class is sure enough."""
CLASSES_MAX: Final = 100
SCHEMA_VERSION: Final = 1
_ROWS_MANY: Final = 4
"""From here on a matrix product is faster than dot products in plain Python."""
FORECASTER: Final = "forecaster.json"
TREES: Final = "trees.lgb.txt"
RECIPES: Final = (Recipe.BASE, Recipe.LINEAR, Recipe.BOOSTED, Recipe.MEAN)


class RowForecaster(Protocol):
    """The port of every forecaster of classes; `testing.forecaster_checks` holds what it promises."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of every row's probabilities."""
        ...

    @property
    def evidence(self) -> int:
        """How many rows it was learnt from."""
        ...

    def probabilities(self, rows: Sequence[Features]) -> list[list[float]]:
        """One probability per class for each row: in [0, 1], summing to 1."""
        ...

    def texts(self) -> dict[str, str]:
        """The forecaster as named texts, the same ones for an equal forecaster."""
        ...


@dataclass(frozen=True, slots=True)
class TabularForecaster:
    """A calibrated forecaster of `classes`; `recipe` says which of its parts are asked.

    `rates` are always there: they say what the rate of a row's kind is and how often it was seen. Raises
    `ValueError` where the parts do not fit together.
    """

    classes: tuple[str, ...]
    evidence: int
    rates: ShrunkRates
    recipe: Recipe = Recipe.BASE
    encoding: FeatureEncoding = field(default_factory=lambda: FeatureEncoding((), ()))
    linear: LinearModel | None = None
    boosted: BoostedModel | None = None
    calibration: Calibration | ClassScaling = field(default_factory=Identity)
    confidence_min: float = 0.0

    def __post_init__(self) -> None:
        if misfit := _misfit(self):
            raise ValueError(f"a forecaster {misfit}")

    def probabilities(self, rows: Sequence[Features]) -> list[list[float]]:
        """One probability per class for each row: in [0, 1], summing to 1."""
        if not rows:
            return []
        if self.recipe is Recipe.BASE:
            return [self.rates.of(row) for row in rows]
        return [self._calibrated(told) for told in self.log_probabilities(rows)]

    def chances(self, rows: Sequence[Features]) -> list[float]:
        """The probability of the last class for each row: of the event, for `BINARY`."""
        return [told[-1] for told in self.probabilities(rows)]

    def decide(self, rows: Sequence[Features]) -> list[str]:
        """The likeliest class of each row; `ABSTAINED` where it is less likely than `confidence_min`."""
        return [self.decided(told) for told in self.probabilities(rows)]

    def decided(self, probabilities: Sequence[float]) -> str:
        """The same for the probabilities of one row, where somebody has them already."""
        best = max(range(len(self.classes)), key=probabilities.__getitem__)
        return self.classes[best] if probabilities[best] >= self.confidence_min else ABSTAINED

    def evidence_of(self, row: Features) -> Evidence:
        """At which level the base rate of this row was seen, and how often."""
        return self.rates.evidence(row)

    def log_probabilities(self, rows: Sequence[Features]) -> list[list[float]]:
        """Log probabilities before calibration, of the recipes that learn."""
        trees = [self.encoding.tree_row(row) for row in rows]
        parts: list[list[list[float]]] = []
        if self.recipe is not Recipe.BOOSTED:
            assert self.linear is not None, "its recipe was checked"
            parts.append([self._logs(scores) for scores in self._linear_scores(self.linear, trees)])
        if self.recipe is not Recipe.LINEAR:
            assert self.boosted is not None, "its recipe was checked"
            parts.append([self._logs(scores) for scores in self.boosted.scores(trees)])
        if len(parts) == 1:
            return parts[0]
        return [
            [(one + two) / 2 for one, two in zip(*pair, strict=True)] for pair in zip(*parts, strict=True)
        ]

    def _linear_scores(self, linear: LinearModel, trees: list[list[float]]) -> list[list[float]]:
        if len(trees) < _ROWS_MANY:
            return [linear.scores(self.encoding.design_row(row)) for row in trees]
        import numpy as np

        designs = self.encoding.design_rows(np.array(trees))
        told: list[list[float]] = (
            designs @ np.array(linear.weights).T + np.array(linear.intercepts)
        ).tolist()
        return told

    def _logs(self, scores: list[float]) -> list[float]:
        return log_softmax(scores if len(scores) > 1 else [0.0, scores[0]])

    def _calibrated(self, logs: list[float]) -> list[float]:
        if isinstance(self.calibration, ClassScaling):
            return self.calibration(logs)
        if len(logs) > 2:
            return softmax(logs)
        event = self.calibration(1 / (1 + exp(min(logs[0] - logs[1], 700.0))))
        return [1 - event, event]

    def texts(self) -> dict[str, str]:
        """File names and texts, from which `from_texts` makes an equal forecaster."""
        written = {
            "schema_version": SCHEMA_VERSION,
            "classes": list(self.classes),
            "evidence": self.evidence,
            "recipe": self.recipe.value,
            "rates": self.rates.as_json(),
            "encoding": self.encoding.as_json(),
            "linear": None if self.linear is None else self.linear.as_json(),
            "calibration": self.calibration.as_json(),
            "confidence_min": self.confidence_min,
        }
        text = json.dumps(written, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return {FORECASTER: text} | ({} if self.boosted is None else {TREES: self.boosted.text})

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> TabularForecaster:
        """The forecaster that `texts` wrote; raises `ValueError` for any other texts.

        LightGBM does not check its own text: pass only texts whose hashes were verified.
        """
        if strange := sorted(set(texts) - {FORECASTER, TREES}):
            raise ValueError(f"{strange[0]!r} is no part of a forecaster")
        try:
            return _read(json.loads(texts[FORECASTER], parse_constant=_no_number), texts.get(TREES))
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"these texts are no forecaster ({type(problem).__name__}: {problem})") from None


def _read(written: Mapping[str, Any], trees: str | None) -> TabularForecaster:
    if written["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {written['schema_version']!r}; this reads {SCHEMA_VERSION}")
    calibration = written["calibration"]
    return TabularForecaster(
        classes=tuple(map(str, written["classes"])),
        evidence=int(written["evidence"]),
        rates=ShrunkRates.from_json(written["rates"]),
        recipe=Recipe(written["recipe"]),
        encoding=FeatureEncoding.from_json(written["encoding"]),
        linear=None if written["linear"] is None else LinearModel.from_json(written["linear"]),
        boosted=None if trees is None else BoostedModel(trees),
        calibration=(
            ClassScaling.from_json(calibration)
            if calibration["kind"] == "classes"
            else read_calibration(calibration)
        ),
        confidence_min=float(written["confidence_min"]),
    )


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of a forecaster")


def _misfit(told: TabularForecaster) -> str:
    """Why the parts do not belong together; empty when they do."""
    count = len(told.classes)
    outputs = 1 if count == 2 else count
    if not 2 <= count <= CLASSES_MAX or len(set(told.classes)) != count:
        return f"needs 2 to {CLASSES_MAX} different classes, not {count}"
    if len(told.rates.prior) != count:
        return f"has rates of {len(told.rates.prior)} classes, and {count} classes"
    if told.recipe not in RECIPES or not 0 <= told.confidence_min <= 1 or told.evidence < 0:
        return "has a recipe, a confidence or a count that cannot be"
    if _lacks(told):
        return f"lacks the model that its recipe {told.recipe.value} asks"
    if told.linear is not None and (
        told.linear.columns != len(told.encoding.design_names) or len(told.linear.intercepts) != outputs
    ):
        return "has a linear model of other columns or classes"
    if told.linear is not None and not all(
        isfinite(each) for row in (told.linear.intercepts, *told.linear.weights) for each in row
    ):
        return "has a linear model with a weight that is no number"
    if told.boosted is not None and (
        told.boosted.columns != len(told.encoding.names) or told.boosted.outputs != outputs
    ):
        return "has trees of other columns or classes"
    return _miscalibrated(told.calibration, count)


def _lacks(told: TabularForecaster) -> bool:
    no_linear = told.recipe in (Recipe.LINEAR, Recipe.MEAN) and told.linear is None
    return no_linear or (told.recipe in (Recipe.BOOSTED, Recipe.MEAN) and told.boosted is None)


def _miscalibrated(calibration: Calibration | ClassScaling, count: int) -> str:
    if isinstance(calibration, ClassScaling):
        return "" if len(calibration.shifts) == count > 2 else "is calibrated for other classes"
    return "" if count == 2 or isinstance(calibration, Identity) else "is calibrated for two classes only"
