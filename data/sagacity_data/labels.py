"""What kind of failure a step met, told by hindsight, and when that was known.

One label per run and step that was attempted and whose attempts did not all succeed; a step that was not
attempted is no label, and neither is an attempt cut off by a crash of the engine. Trust rises from hindsight
over the participant's declared class (other than unknown) to the user's own word. Hindsight asks in turn:

| what happened next | class |
|---|---|
| a later attempt of the step succeeded in the same run | transient |
| the service failed for most other runs within `CASCADE_WINDOW_S` of the failure | cascading |
| all of several attempts failed while most other runs passed the same step near them | permanent |
| anything else, no later attempt among it | unknown |

`known_at` is the earliest time at which this label could have been given from what had ended by then: the
later success; or the end of the window that was looked at, and not before the step's own last attempt. Train
on labels known by the cut only, and leave at least `LABEL_WINDOW_S` between training and test.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction, FailureClass

CASCADE_WINDOW_S: Final = 120.0
"""Other runs' calls that ended so long before or after a failure count as happening around the same time."""

CASCADE_SHARE: Final = 0.5
"""The service failed for at least this share of the other runs that called it in the window."""

CASCADE_RUNS_MIN: Final = 3
"""Fewer other runs in the window prove nothing about the service."""

PERMANENT_WINDOW_S: Final = 1_800.0
"""Other runs' attempts, so long before the first or after the last own one, show what others met."""

PERMANENT_PASS_SHARE: Final = 0.5
"""More than this share of the other runs passed the step."""

PERMANENT_RUNS_MIN: Final = 3
"""Fewer other runs prove nothing about this input."""

PERMANENT_ATTEMPTS_MIN: Final = 2
"""A single failure is never called permanent by hindsight."""

LABEL_WINDOW_S: Final = max(CASCADE_WINDOW_S, PERMANENT_WINDOW_S)
"""No hindsight label waits longer than this after the step's last attempt."""


class LabelSource(StrEnum):
    """Who says so, in rising order of trust."""

    HINDSIGHT = "hindsight"  # Concluded from what happened next.
    DECLARED = "declared"  # The participant said so.
    USER = "user"  # The user said so.


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The class of a step's failure in one run. `known_at` in seconds since 1970; None: nobody knows when."""

    run_id: str
    step: str
    failure_class: FailureClass
    source: LabelSource
    known_at: float | None


def label(rows: Iterable[Row], user: Iterable[Label] = ()) -> list[Label]:
    """The labels of every failed step in `rows`, which may come in any order, sorted by run and step.

    Runs that have not ended do not belong in `rows`: what happened next is not known yet. A label of the user
    replaces ours for a step that failed; for any other step it is ignored.
    """
    attempts = [row for row in rows if isinstance(row, AttemptRow) and row.direction is Direction.FORWARD]
    attempts = [row for row in attempts if row.outcome is not AttemptOutcome.CRASHED]
    said = {(given.run_id, given.step): given for given in user}
    around = _Around(attempts)
    by_step: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        by_step[row.run_id, row.step].append(row)
    labels: list[Label] = []
    for key, tries in sorted(by_step.items()):
        tries.sort(key=lambda row: row.attempt)
        if tries[0].outcome is not AttemptOutcome.SUCCEEDED:
            labels.append(said.get(key) or _declared(tries) or _hindsight(tries, around))
    return labels


def _declared(tries: list[AttemptRow]) -> Label | None:
    """The first class that the participant declared, unless it said that it does not know."""
    for row in tries:
        if row.failure_class is not None and row.failure_class is not FailureClass.UNKNOWN:
            return _label(row, row.failure_class, LabelSource.DECLARED, row.ended_at)
    return None


def _hindsight(tries: list[AttemptRow], around: _Around) -> Label:
    first, last = tries[0], tries[-1]
    for row in tries:
        if row.outcome is AttemptOutcome.SUCCEEDED:
            return _label(first, FailureClass.TRANSIENT, LabelSource.HINDSIGHT, row.ended_at)
    if first.ended_at is None or last.ended_at is None:
        return _label(first, FailureClass.UNKNOWN, LabelSource.HINDSIGHT, None)
    if around.service_failed(first, first.ended_at):
        known_at = max(first.ended_at + CASCADE_WINDOW_S, last.ended_at)
        return _label(first, FailureClass.CASCADING, LabelSource.HINDSIGHT, known_at)
    several = len(tries) >= PERMANENT_ATTEMPTS_MIN
    if several and around.others_passed(first, first.ended_at, last.ended_at):
        known_at = last.ended_at + PERMANENT_WINDOW_S
        return _label(first, FailureClass.PERMANENT, LabelSource.HINDSIGHT, known_at)
    known_at = last.ended_at + (PERMANENT_WINDOW_S if several else CASCADE_WINDOW_S)
    return _label(first, FailureClass.UNKNOWN, LabelSource.HINDSIGHT, known_at)


def _label(
    row: AttemptRow, failure_class: FailureClass, source: LabelSource, known_at: float | None
) -> Label:
    return Label(
        run_id=row.run_id, step=row.step, failure_class=failure_class, source=source, known_at=known_at
    )


class _Timeline:
    """Attempts in the order in which they ended, to look around in; `passes` says which of them went well."""

    def __init__(self, rows: list[AttemptRow], passes: Callable[[AttemptRow], bool]) -> None:
        self._passes = passes
        timed = sorted((row.ended_at, n) for n, row in enumerate(rows) if row.ended_at is not None)
        self._ends = [at for at, _ in timed]
        self._rows = [rows[n] for _, n in timed]

    def passed(self, since: float, until: float, own_run: str) -> Mapping[str, bool]:
        """For each other run with an attempt that ended in [since, until], whether one of them passed."""
        runs: dict[str, bool] = {}
        for row in self._rows[bisect_left(self._ends, since) : bisect_right(self._ends, until)]:
            if row.run_id != own_run:
                runs[row.run_id] = runs.get(row.run_id, False) or self._passes(row)
        return runs


class _Around:
    """What other runs met at the same service, and at the same step, around some time."""

    def __init__(self, attempts: list[AttemptRow]) -> None:
        services: dict[str, list[AttemptRow]] = defaultdict(list)
        steps: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
        for row in attempts:
            services[row.service].append(row)
            steps[row.saga, row.step].append(row)
        self._services = {service: _Timeline(rows, _answered) for service, rows in services.items()}
        self._steps = {step: _Timeline(rows, _succeeded) for step, rows in steps.items()}

    def service_failed(self, row: AttemptRow, at: float) -> bool:
        """Whether the service of `row` failed for most other runs around `at`."""
        timeline = self._services[row.service]
        passed = timeline.passed(at - CASCADE_WINDOW_S, at + CASCADE_WINDOW_S, row.run_id)
        failed = len(passed) - sum(passed.values())
        return len(passed) >= CASCADE_RUNS_MIN and failed >= CASCADE_SHARE * len(passed)

    def others_passed(self, row: AttemptRow, since: float, until: float) -> bool:
        """Whether most other runs passed the step of `row` from before `since` to after `until`."""
        timeline = self._steps[row.saga, row.step]
        passed = timeline.passed(since - PERMANENT_WINDOW_S, until + PERMANENT_WINDOW_S, row.run_id)
        return len(passed) >= PERMANENT_RUNS_MIN and sum(passed.values()) > PERMANENT_PASS_SHARE * len(passed)


def _succeeded(row: AttemptRow) -> bool:
    return row.outcome is AttemptOutcome.SUCCEEDED


def _answered(row: AttemptRow) -> bool:
    """Whether the service did its work: a success, or a refusal that it declared to be the input's fault."""
    return row.outcome is AttemptOutcome.SUCCEEDED or row.failure_class is FailureClass.PERMANENT
