"""Why a step's forecast is unlike its usual rate: what moves it, which way, how much, and in words.

Columns of the models are many and tell much the same (one rate in four windows, as a probability and as
log-odds), so they are added up by *subject*: what a person would name. The logit of each cause of a refusal
is the step's base logit plus what each subject adds: a linear model's weights times the row, the moves on
the paths of trees (`tree_paths`), or the mean of both. The *points* of a subject are how far the forecast
P(the first attempt is refused) would go down without what it adds, the rest as it is, times 100. Points of
several subjects do not add up: probabilities are not additive, and calibration bends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.feature_columns import Features
from sagacity_models.influence_words import subject_of, words
from sagacity_models.linear import logits
from sagacity_models.step_models import Recipe, RefusalModel, StepRows
from sagacity_models.tree_paths import TreePaths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_models.encoding import FeatureEncoding

    Array = NDArray[np.float64]

POINTS_MIN: Final = 0.5
"""Half a point of probability is not worth a sentence."""
INFLUENCES_MAX: Final = 3
"""The strongest are told; the rest is noise to a reader."""


@dataclass(frozen=True, slots=True)
class Influence:
    """What one subject does to P(the first attempt is refused): `points` above 0 raise it."""

    subject: str
    points: float
    words: str

    @property
    def text(self) -> str:
        """A clause for people, such as "context.party is 6, usually 2.4: raises it by 14.2 points"."""
        return (
            f"{self.words}: {'raises' if self.points > 0 else 'lowers'} it by {abs(self.points):.1f} points"
        )


class Influences:
    """Explains forecasts of one bundle's models of both causes."""

    def __init__(self, service: RefusalModel, request: RefusalModel, encoding: FeatureEncoding) -> None:
        self._models = service, request
        self._usual = {column.name: column.mean for column in encoding.numbers}
        self._subjects = sorted({subject_of(name) for name in encoding.names})
        numbers = {subject: number for number, subject in enumerate(self._subjects)}
        columns = [numbers[subject_of(name)] for name in encoding.names]
        designs = [numbers[subject_of(name.split(" is ", 1)[0])] for name in encoding.design_names]
        self._paths = tuple(
            TreePaths(model.boosted, columns, len(numbers)) if _asks_trees(model) and model.boosted else None
            for model in self._models
        )
        self._designs = designs

    def of(
        self, rows: StepRows, told: Sequence[Features], services: Sequence[str]
    ) -> list[tuple[Influence, ...]]:
        """For each row the strongest influences, the strongest first; none where nothing moves it."""
        import numpy as np

        if not self._subjects or not rows.keys:
            return [() for _ in rows.keys]
        parts = [self._chances(number, rows) for number in (0, 1)]
        (service, no_service), (request, no_request) = parts
        now = service + (1 - service) * request
        points = 100 * (now[:, None] - (no_service + (1 - no_service) * no_request))
        strongest = np.argsort(-np.abs(points), axis=1, kind="stable")[:, :INFLUENCES_MAX].tolist()
        return [
            tuple(
                self._told(subject, moved[subject], features, name)
                for subject in order
                if abs(moved[subject]) >= POINTS_MIN
            )
            for moved, order, features, name in zip(points.tolist(), strongest, told, services, strict=True)
        ]

    def _told(self, number: int, points: float, features: Features, service: str) -> Influence:
        subject = self._subjects[number]
        return Influence(subject, points, words(subject, features, self._usual, service))

    def _chances(self, number: int, rows: StepRows) -> tuple[Array, Array]:
        """The chance of a cause, and what it would be without each subject (rows x subjects)."""
        import numpy as np

        model = self._models[number]
        if model.recipe is Recipe.BASE:
            base = rows.base(model.cause)
            return base, np.repeat(base[:, None], len(self._subjects), axis=1)
        constant, added = self._added(number, rows)
        scores = logits(rows.base(model.cause)) + constant + added.sum(axis=1)
        return model.calibrated(scores), model.calibrated(scores[:, None] - added)

    def _added(self, number: int, rows: StepRows) -> tuple[Array | float, Array]:
        """What is added to the logits of a cause, by no subject and by each one: rows, rows x subjects."""
        import numpy as np

        model, paths = self._models[number], self._paths[number]
        share = 0.5 if model.recipe is Recipe.MEAN else 1.0
        constant: Array | float = 0.0
        added = np.zeros((len(rows.keys), len(self._subjects)))
        if paths is not None:
            constant += share * paths.root
            added += share * paths.moves(rows.trees)
        if model.recipe in (Recipe.LINEAR, Recipe.MEAN):
            intercepts, weights = model.weights(rows.keys)
            constant = constant + share * intercepts
            np.add.at(added.T, self._designs, share * (weights * rows.designs).T)
        return constant, added


def _asks_trees(model: RefusalModel) -> bool:
    return model.recipe in (Recipe.BOOSTED, Recipe.MEAN)
