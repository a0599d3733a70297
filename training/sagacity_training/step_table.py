"""What the step models learn from: a row per run and step that was attempted, with the time each was known.

Only first attempts are rows: a forecast is made at the launch, and later attempts of a refused input would
count one refusal several times. Steps that were not attempted are no rows. Attempts that a crash of the
engine cut off say nothing and are left out. Rows are sorted by launch, run and step, so that no order of
the dataset can change what is learnt.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sagacity_data.feature_values import context_features
from sagacity_data.labels import Label
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction, FailureClass
from sagacity_models.base_rates import CLASSES, StepEvidence, step_key
from sagacity_models.censored import Durations
from sagacity_models.encoding import Features
from sagacity_models.forecaster import STEP_FEATURE
from sagacity_models.health import Met, met
from sagacity_models.step_models import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step's first attempt in one run, and what followed. Times in seconds since 1970."""

    run_id: str
    key: str
    launch_at: float
    features: Features
    attempts: tuple[AttemptRow, ...]
    undos: tuple[AttemptRow, ...]
    failure_class: FailureClass | None
    """By hindsight or better; None unless the first attempt was refused and somebody can tell the class."""
    class_known_at: float

    @property
    def first(self) -> AttemptRow:
        """The first attempt."""
        return self.attempts[0]

    @property
    def refused(self) -> bool:
        """Whether the first attempt was definitely refused."""
        return self.first.outcome is AttemptOutcome.FAILED

    def refused_for(self, cause: Cause) -> bool:
        """Whether the first attempt was refused for this cause; what nobody can explain is the service's."""
        hopeless = self.failure_class is FailureClass.PERMANENT
        return self.refused and hopeless is (cause is Cause.REQUEST)

    @property
    def cause_known_at(self) -> float:
        """When the outcome was known, and for a refusal with a class, that class as well."""
        return max(self.known_at, self.class_known_at if self.failure_class is not None else self.known_at)

    @property
    def known_at(self) -> float:
        """When the first attempt's outcome was known; never, where its end is not."""
        return math.inf if self.first.ended_at is None else self.first.ended_at

    @property
    def ended_at(self) -> float:
        """When the last thing that this row tells was known."""
        ends = [row.ended_at for row in (*self.attempts, *self.undos)]
        return max(math.inf if end is None else end for end in ends)

    @property
    def succeeded(self) -> bool:
        """Whether the first attempt succeeded."""
        return self.first.outcome is AttemptOutcome.SUCCEEDED

    @property
    def cut_off(self) -> bool:
        """Whether our timeout cut the first attempt off."""
        return self.first.outcome is AttemptOutcome.TIMED_OUT

    @property
    def ended_s(self) -> float | None:
        """How long the first attempt took, or the timeout that cut it off; None where neither is known."""
        return self.first.timeout_s if self.cut_off else self.first.duration_s

    @property
    def duration_s(self) -> float | None:
        """How long success took, or the timeout that cut it off; None where neither is known."""
        if self.first.outcome is AttemptOutcome.TIMED_OUT:
            return self.first.timeout_s
        return self.first.duration_s if self.first.outcome is AttemptOutcome.SUCCEEDED else None


@dataclass(frozen=True, slots=True)
class StepTable:
    """Rows in the order of launch, run and step."""

    rows: tuple[StepRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[StepRow]:
        return iter(self.rows)

    def where(self, keep: Callable[[StepRow], bool]) -> StepTable:
        """The rows that are kept."""
        return StepTable(tuple(row for row in self.rows if keep(row)))

    @property
    def runs(self) -> int:
        """How many runs have a row."""
        return len({row.run_id for row in self.rows})

    @classmethod
    def of(cls, rows: Iterable[Row], labels: Iterable[Label]) -> StepTable:
        """The table of a dataset's rows, in any order. Rows without a launch time are left out."""
        classes = {(told.run_id, told.step): told for told in labels}
        tries: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
        undos: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
        for row in rows:
            if isinstance(row, AttemptRow) and row.outcome.tells:
                (tries if row.direction is Direction.FORWARD else undos)[row.run_id, row.step].append(row)
        table = [
            _row(sorted(each, key=_number), sorted(undos[key], key=_number), classes.get(key))
            for key, each in tries.items()
            if each[0].launch_at is not None and min(map(_number, each)) == 1
        ]
        return cls(tuple(sorted(table, key=lambda row: (row.launch_at, row.run_id, row.key))))


def _number(row: AttemptRow) -> int:
    return row.attempt


def _row(tries: Sequence[AttemptRow], undos: Sequence[AttemptRow], told: Label | None) -> StepRow:
    first = tries[0]
    assert first.launch_at is not None  # the caller left those out
    key = step_key(first.saga, first.step)
    refused = first.outcome is AttemptOutcome.FAILED
    known = refused and told is not None and told.failure_class in CLASSES
    return StepRow(
        run_id=first.run_id,
        key=key,
        launch_at=first.launch_at,
        features={**(first.features or context_features(first.context)), STEP_FEATURE: key},
        attempts=tuple(tries),
        undos=tuple(undos),
        failure_class=told.failure_class if known and told else None,
        class_known_at=math.inf if told is None or told.known_at is None else told.known_at,
    )


def evidence_of(rows: Iterable[StepRow], cut: float = math.inf) -> dict[str, StepEvidence]:
    """What the rows say of each step's mean rates, from what was known by `cut` (seconds since 1970)."""
    by_key: dict[str, list[StepRow]] = defaultdict(list)
    for row in rows:
        if row.known_at <= cut:
            by_key[row.key].append(row)
    keys = sorted(by_key)
    shares = _refused_timeouts([by_key[key] for key in keys])
    return {key: _evidence(by_key[key], cut, share) for key, share in zip(keys, shares, strict=True)}


def _refused_timeouts(steps: Sequence[Sequence[StepRow]]) -> list[float]:
    """Per step, P(a call that was cut off would have been refused)."""
    import numpy as np

    from sagacity_training.survival import timeout_shares

    ended = [
        (code, row.first.duration_s, row.refused)
        for code, rows in enumerate(steps)
        for row in rows
        if not row.cut_off and row.first.duration_s is not None
    ]
    codes, seconds, refused = zip(*ended, strict=True) if ended else ((), (), ())
    shares = timeout_shares(
        np.array(codes, dtype=np.int64), np.array(seconds), np.array(refused, dtype=np.bool_), len(steps)
    )
    return [float(share) for share in shares]


def _evidence(rows: Sequence[StepRow], cut: float, refused_timeouts: float) -> StepEvidence:
    told = StepEvidence(first_attempts=len(rows), first_refusals=sum(row.refused for row in rows))
    for row in rows:
        failure_class = row.failure_class if row.class_known_at <= cut else None
        if row.refused:
            told.classes[failure_class or FailureClass.UNKNOWN] += 1
        if failure_class is FailureClass.PERMANENT:
            told.permanent_seen[row.first.failure_class or FailureClass.UNKNOWN] += 1
        told.met[_met(row, failure_class, cut)] += 1
    told.durations, told.refusal_durations = _durations([row.first for row in rows], refused_timeouts)
    undos = [undo for row in rows for undo in row.undos if _ended_by(undo, cut)]
    told.undos = len(undos)
    told.undo_failures = sum(undo.outcome is AttemptOutcome.FAILED for undo in undos)
    told.undo_durations, _ = _durations(undos, 0.0)
    return told


def _met(row: StepRow, failure_class: FailureClass | None, cut: float) -> Met:
    """The service's refusals and answers to one run; a permanent refusal is an answer, and the last."""
    refusals: Counter[FailureClass] = Counter()
    answers = 0
    for attempt in row.attempts:
        seen = attempt.failure_class or FailureClass.UNKNOWN
        hopeless = seen is FailureClass.PERMANENT or (
            seen is FailureClass.UNKNOWN and failure_class is FailureClass.PERMANENT
        )
        if attempt.outcome not in (AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED) or not _ended_by(
            attempt, cut
        ):
            continue
        if attempt.outcome is AttemptOutcome.SUCCEEDED or hopeless:
            answers = 1
            break
        refusals[seen] += 1
    return met(refusals, answers)


def _ended_by(row: AttemptRow, cut: float) -> bool:
    return row.ended_at is not None and row.ended_at <= cut


def _durations(attempts: Sequence[AttemptRow], refused_timeouts: float) -> tuple[Durations, Durations]:
    """Of successes and of refusals; a call that our timeout cut off counts for both, by its chances."""
    seen: dict[AttemptOutcome, list[float]] = defaultdict(list)
    for row in attempts:
        duration = row.timeout_s if row.outcome is AttemptOutcome.TIMED_OUT else row.duration_s
        if duration is not None:
            seen[row.outcome].append(duration)
    successes, timeouts = seen[AttemptOutcome.SUCCEEDED], seen[AttemptOutcome.TIMED_OUT]
    return (
        Durations.of(successes, timeouts, 1 - refused_timeouts),
        Durations.of(seen[AttemptOutcome.FAILED], timeouts, refused_timeouts),
    )
