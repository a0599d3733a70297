"""How likely a compensation fails, as known at the launch: one attempt of it, and all its retries together.

An undo attempt fails where the participant definitely refused it; one without an answer is retried like any
other and is counted as not refused, as in `base_rates`. The undo as a whole has failed where none of its
attempts passed and no further one was allowed; where more were allowed and none was made, nobody knows.

Undos are rare, so the base rate is strong: step -> service -> saga type -> all, each drawn towards the next.
Anything else has to beat it on later undos. Only launch-time features are read, for a plan is chosen then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sagacity_data.feature_values import context_features
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction
from sagacity_models.base_rates import PRIOR_CASES, PRIOR_UNDO_FAILURE, step_key
from sagacity_models.feature_columns import Features, columns_of
from sagacity_training.errors import NothingToLearn
from sagacity_training.learners import Learnt, learn
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_table import RowFacts

LEVELS: Final = ("saga", "service", "step")
"""From wide to narrow; the names of the features that `undo_features` adds."""
ATTEMPT: Final = "compensation_failure"
WHOLE: Final = "compensation_failure_after_retries"


@dataclass(frozen=True, slots=True)
class UndoOutcome:
    """Whether an undo attempt, or a whole undo, failed; times in seconds since 1970."""

    row: AttemptRow
    failed: bool
    launch_at: float
    known_at: float


@dataclass(frozen=True, slots=True)
class LearntUndoFailures:
    """P(an undo attempt fails), and P(the undo fails for good); `whole` is None where nobody knows of any."""

    attempt: Learnt
    whole: Learnt | None


def learn_undo_failures(
    rows: Iterable[Row], *, seed: int, cut: float = float("inf"), config: LearnerConfig | None = None
) -> LearntUndoFailures:
    """What the undos that were over by `cut` justify. Raises `NothingToLearn` where there was none."""
    undos = _undos(rows)
    attempts = [each for each in undo_attempts(undos) if each.known_at <= cut]
    if not attempts:
        raise NothingToLearn("no compensation has been attempted by now")
    ends = [each for each in undo_ends(undos) if each.known_at <= cut]
    whole = _learnt(ends, WHOLE, seed, config) if ends else None
    return LearntUndoFailures(_learnt(attempts, ATTEMPT, seed, config), whole)


def undo_features(saga: str, service: str, step: str, at_launch: Features) -> Features:
    """What is known at the launch of a step's undo."""
    return {**at_launch, "saga": saga, "service": service, "step": step_key(saga, step)}


def undo_attempts(undos: Sequence[Sequence[AttemptRow]]) -> list[UndoOutcome]:
    """Every attempt of these undos whose end tells something, by launch."""
    told = [_outcome(row, row.outcome is AttemptOutcome.FAILED, row) for tries in undos for row in tries]
    return _by_launch(told)


def undo_ends(undos: Sequence[Sequence[AttemptRow]]) -> list[UndoOutcome]:
    """Every undo that passed, or that failed with no attempt left, by launch."""
    told: list[UndoOutcome | None] = []
    for tries in undos:
        passed = [row for row in tries if row.outcome is AttemptOutcome.SUCCEEDED]
        last = tries[-1]
        if passed:
            told.append(_outcome(tries[0], False, passed[0]))
        elif last.maximum_attempts is not None and last.attempt >= last.maximum_attempts:
            told.append(_outcome(tries[0], True, last))
    return _by_launch(told)


def _undos(rows: Iterable[Row]) -> list[list[AttemptRow]]:
    """The telling attempts of each undo, in order."""
    tries: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in rows:
        if isinstance(row, AttemptRow) and row.direction is Direction.UNDO and row.outcome.tells:
            tries[row.run_id, row.step].append(row)
    return [sorted(tries[key], key=lambda row: row.attempt) for key in sorted(tries)]


def _outcome(row: AttemptRow, failed: bool, end: AttemptRow) -> UndoOutcome | None:
    """None where the launch or the end is not known: such a row could not be put in time."""
    if row.launch_at is None or end.ended_at is None:
        return None
    return UndoOutcome(row, failed, row.launch_at, end.ended_at)


def _by_launch(told: Iterable[UndoOutcome | None]) -> list[UndoOutcome]:
    return sorted(
        (each for each in told if each is not None), key=lambda each: (each.launch_at, each.row.key)
    )


def _learnt(told: Sequence[UndoOutcome], task: str, seed: int, config: LearnerConfig | None) -> Learnt:
    import numpy as np

    numbers = {run: number for number, run in enumerate(dict.fromkeys(each.row.run_id for each in told))}
    features = [_features(each.row) for each in told]
    usual = LearnerConfig(
        rate_levels=LEVELS,
        rate_prior=(1 - PRIOR_UNDO_FAILURE, PRIOR_UNDO_FAILURE),
        rate_prior_cases=PRIOR_CASES,
    )
    return learn(
        columns_of(features),
        np.array([float(each.failed) for each in told]),
        np.array([each.launch_at for each in told]),
        seed=seed,
        task=task,
        facts=RowFacts(
            known_at=np.array([each.known_at for each in told]),
            cases=np.array([numbers[each.row.run_id] for each in told]),
            groups={
                "service": [each.row.service for each in told],
                "saga": [each.row.saga for each in told],
            },
        ),
        config=config or usual,
    )


def _features(row: AttemptRow) -> Features:
    at_launch: Features = row.features or context_features(row.context)
    return undo_features(row.saga, row.service, row.step, at_launch)
