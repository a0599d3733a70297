"""What a bundle holds beside the models of first attempts: classes of failures, undos, effects in doubt.

| part | asks | kept as |
|---|---|---|
| `FailureClassifier` | of which class is this failure? | `Bundle.failure_classes` |
| `compensation_failure` | does an attempt of this undo fail? | `Bundle.tabular` |
| `compensation_failure_after_retries` | does this undo fail for good? | `Bundle.tabular` |
| `effect` | is the effect of a call without an answer there? | `Bundle.tabular` |

Each is learnt if history has a case of it, and judged as a task of its own; where nothing beats its base rate
it is that rate, with its evidence. The latest `ROWS_MAX` attempts teach, which bounds memory and time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from sagacity_data.rows import AttemptRow, Row
from sagacity_models.failure_classifier import CLASS_NAMES, FailureClassifier
from sagacity_models.tabular import TabularForecaster
from sagacity_training.effects import learn_effects
from sagacity_training.errors import NothingToLearn
from sagacity_training.failure_classes import learn_failure_classes
from sagacity_training.judging.classes import ClassFigures, class_figures
from sagacity_training.judging.judged import Judged
from sagacity_training.undo_failures import ATTEMPT, WHOLE, learn_undo_failures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_training.learners import Learnt

EFFECT: Final = "effect"
ROWS_MAX: Final = 300_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """The parts, the tasks they were judged by, and how the classes of held-out failures were told."""

    tabular: Mapping[str, TabularForecaster] = field(default_factory=dict)
    failure_classes: FailureClassifier | None = None
    judged: tuple[Judged, ...] = ()
    classes: ClassFigures | None = None


def learn_parts(rows: Sequence[Row], *, seed: int, at: float) -> StepParts:
    """What was known at `at` (seconds since 1970) teaches of failures, undos and calls in doubt."""
    latest = _latest(rows)
    judged: list[Judged] = []
    tabular: dict[str, TabularForecaster] = {}
    classes = _or_none(lambda: learn_failure_classes(latest, seed=seed, cut=at))
    if classes is not None:
        judged += classes.learnt.judged
    undos = _or_none(lambda: learn_undo_failures(latest, seed=seed, cut=at))
    if undos is not None:
        for task, learnt in ((ATTEMPT, undos.attempt), (WHOLE, undos.whole)):
            if learnt is not None:
                tabular[task] = learnt.forecaster
                judged += learnt.judged
    effects = learn_effects(latest, cut=at)
    if effects.sources:
        tabular[EFFECT] = effects.forecaster
    return StepParts(
        tabular=tabular,
        failure_classes=classes.classifier if classes else None,
        judged=tuple(each for each in judged if len(each)),
        classes=_figures(classes.learnt) if classes else None,
    )


def _latest(rows: Sequence[Row]) -> list[AttemptRow]:
    """The latest attempts by launch, passed ones too: hindsight asks the calls around a failure."""
    attempts = [row for row in rows if isinstance(row, AttemptRow)]
    return sorted(attempts, key=lambda row: row.launch_at or 0.0)[-ROWS_MAX:]


def _or_none(learn: Callable[[], T]) -> T | None:
    try:
        return learn()
    except NothingToLearn:
        return None


def _figures(learnt: Learnt) -> ClassFigures | None:
    """The confusion of the held-out failures, by true and told class; None where none was held out."""
    import numpy as np

    if not len(learnt.held):
        return None
    true: NDArray[np.int64] = np.column_stack([each.outcomes for each in learnt.judged]).argmax(axis=1)
    told: NDArray[np.int64] = learnt.forecasts.argmax(axis=1)
    return class_figures(true, told, CLASS_NAMES)
