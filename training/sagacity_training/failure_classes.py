"""Learning the class of failures: which failed attempts teach what, known since when.

One label per run and step, and every failed attempt of that step before it passed is a row with this label.
What teaches, in order:

| who says so | when it teaches |
|---|---|
| the user | always |
| hindsight | it concludes something: a later attempt passed, most others failed, or most others passed |
| the class that the participant declared | hindsight concludes nothing |
| the taxonomy's reading of the words | nobody declared anything either |

So words and declarations are features whose meaning is learnt from what happened next; they teach only where
nothing that happened next contradicts them. A declared *permanent* refusal is an answer of the service, and
engines do not retry it, so it is kept while hindsight is asked, unless the step passed after all. A bare
timeout after which nothing passed teaches nothing, nor does a failure of which nobody knows since when its
label could be given. A label that rests on words or declarations counts as known no sooner than hindsight
gave up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_data.labels import Label, label
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction, FailureClass
from sagacity_models.base_rates import CLASSES
from sagacity_models.failure_classifier import (
    CLASS_NAMES,
    WORDS_MAX,
    FailureClassifier,
    failure_features,
    words_of,
)
from sagacity_models.feature_columns import columns_of
from sagacity_training.errors import NothingToLearn
from sagacity_training.learners import Learnt, learn
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_table import RowFacts

WORD_ROWS_MIN: Final = 5
"""A word in fewer failures is no feature."""


@dataclass(frozen=True, slots=True)
class TaughtFailure:
    """A failed attempt, the step's attempt before it, and the class that teaches, known since `known_at`."""

    row: AttemptRow
    before: AttemptRow | None
    failure_class: FailureClass
    source: LabelSource
    known_at: float

    @property
    def at(self) -> float:
        """When it had failed, in seconds since 1970."""
        assert self.row.ended_at is not None, "failures without an end teach nothing"
        return self.row.ended_at


@dataclass(frozen=True, slots=True)
class LearntClasses:
    """The classifier, how its forecaster was chosen and judged, and how many rows each source taught."""

    classifier: FailureClassifier
    learnt: Learnt
    sources: Mapping[LabelSource, int]
    macro_f1: float


def learn_failure_classes(
    rows: Iterable[Row],
    *,
    seed: int,
    user: Iterable[Label] = (),
    cut: float = float("inf"),
    config: LearnerConfig | None = None,
) -> LearntClasses:
    """The classifier that these rows justify, from labels known by `cut` (seconds since 1970).

    Raises `NothingToLearn` where no failure has a label.
    """
    import numpy as np

    taught = [each for each in taught_failures(rows, user) if each.known_at <= cut]
    if not taught:
        raise NothingToLearn("no failure whose class is known by now: there is nothing to tell classes by")
    words = common_words([each.row for each in taught])
    features = [failure_features(each.row, each.before, words) for each in taught]
    numbers = {run: number for number, run in enumerate(dict.fromkeys(each.row.run_id for each in taught))}
    codes = np.array([CLASSES.index(each.failure_class) for each in taught])
    told = learn(
        columns_of(features),
        codes,
        np.array([each.at for each in taught]),
        classes=CLASS_NAMES,
        seed=seed,
        task="failure_class",
        facts=RowFacts(
            known_at=np.array([each.known_at for each in taught]),
            cases=np.array([numbers[each.row.run_id] for each in taught]),
            groups={
                "service": [each.row.service for each in taught],
                "saga": [each.row.saga for each in taught],
            },
        ),
        config=config or LearnerConfig(rate_levels=("service", "step")),
    )
    held = told.forecasts.argmax(axis=1).tolist() if len(told.held) else []
    sources = Counter(each.source for each in taught)
    return LearntClasses(
        FailureClassifier(told.forecaster, words), told, sources, macro_f1(codes[told.held].tolist(), held)
    )


def taught_failures(rows: Iterable[Row], user: Iterable[Label] = ()) -> list[TaughtFailure]:
    """Every failed attempt with a class that teaches, in the order in which they failed."""
    attempts = [row for row in rows if isinstance(row, AttemptRow) and row.direction is Direction.FORWARD]
    said = list(user)
    told = {(each.run_id, each.step): each for each in label(attempts, said)}
    passed = {(row.run_id, row.step) for row in attempts if row.outcome is AttemptOutcome.SUCCEEDED}
    bare = [_without_words(row, (row.run_id, row.step) in passed) for row in attempts]
    seen = {(each.run_id, each.step): each for each in label(bare, said)}
    tries: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        if (row.run_id, row.step) in told:
            tries[row.run_id, row.step].append(row)
    taught: list[TaughtFailure] = []
    for key in sorted(tries):
        own = sorted(tries[key], key=lambda row: row.attempt)
        if (teacher := _teacher(own, seen[key], told[key])) is not None:
            taught += _failures(own, teacher)
    return sorted(taught, key=lambda each: (each.at, each.row.key))


def common_words(failures: Sequence[AttemptRow]) -> tuple[str, ...]:
    """The words of at least `WORD_ROWS_MIN` failures, the commonest; in alphabetical order."""
    counts = Counter(word for row in failures for word in words_of(row))
    often = [word for word in counts if WORD_ROWS_MIN <= counts[word] < len(failures)]
    return tuple(sorted(sorted(often, key=lambda word: (-counts[word], word))[:WORDS_MAX]))


def macro_f1(outcomes: Sequence[int], predicted: Sequence[int]) -> float:
    """The mean over the classes that occur of F1 = 2 TP / (2 TP + FP + FN); 0 without rows.

    >>> macro_f1([0, 0, 1, 1], [0, 1, 1, 1])
    0.7333333333333334
    """
    pairs = Counter(zip(map(int, outcomes), map(int, predicted), strict=True))
    classes = sorted({outcome for outcome, _ in pairs})
    scores = []
    for own in classes:
        wrong = sum(count for pair, count in pairs.items() if (pair[0] == own) != (pair[1] == own))
        scores.append(2 * pairs[own, own] / (2 * pairs[own, own] + wrong))
    return sum(scores) / len(scores) if scores else 0.0


def _without_words(row: AttemptRow, passed: bool) -> AttemptRow:
    """The row as it were if nobody had said what kind of failure it is, but for the user."""
    if row.failure_class is None and row.failure_kind is None:
        return row
    if row.kind_source is LabelSource.USER:
        return row
    if row.kind_source is LabelSource.TAXONOMY:
        return replace(row, failure_kind=None)  # Its class stays, which nobody takes for declared.
    if row.failure_class is FailureClass.PERMANENT and not passed:
        return row
    return replace(row, failure_class=FailureClass.UNKNOWN, failure_kind=None, kind_source=None)


def _teacher(tries: Sequence[AttemptRow], seen: Label, told: Label) -> Label | None:
    """The label that teaches: hindsight's or the user's if it concludes anything, else what was told."""
    passed = any(row.outcome is AttemptOutcome.SUCCEEDED for row in tries)
    if seen.known_at is None or told.known_at is None:
        return None
    if _concludes(seen, passed):
        return seen
    if _concludes(told, passed):
        return replace(told, known_at=max(seen.known_at, told.known_at))
    return None


def _concludes(told: Label, passed: bool) -> bool:
    bare = told.source is LabelSource.HINDSIGHT and told.kind is FailureKind.SLOW and not passed
    return told.failure_class in CLASSES and not bare


def _failures(tries: Sequence[AttemptRow], teacher: Label) -> Iterable[TaughtFailure]:
    """The step's failed attempts before it passed."""
    assert teacher.known_at is not None, "labels without a time do not teach"
    before: AttemptRow | None = None
    for row in tries:
        if row.outcome is AttemptOutcome.SUCCEEDED:
            return
        if row.outcome.tells and row.ended_at is not None:
            known_at = max(teacher.known_at, row.ended_at)
            yield TaughtFailure(row, before, teacher.failure_class, teacher.source, known_at)
        before = row
