"""What kind of failure a step met, told by hindsight, and when that was known.

One label per run and step that was attempted and whose first attempt did not succeed. A step that was not
attempted is no label; nor is an attempt that tells nothing of its participant (cut off by a crash, cancelled,
still open), nor one that never was called because the run had turned back: collateral damage is no failure.
Trust rises from hindsight over the error's own words (`taxonomy`) and the participant's declared class (other
than unknown) to the user's own word, given as a label or as a rule that knew the error's words. Hindsight
asks in turn:

| what happened next | kind |
|---|---|
| a later attempt of the step succeeded in the same run | transient; slow if only timeouts came before |
| the service failed for all other runs within `CASCADE_WINDOW_S` of the failure | unavailable |
| it failed for most of them | overload |
| all of several attempts failed while most other runs passed the same step near them | business |
| nothing of this, and the first attempt timed out | slow |
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
from typing import Final

from sagacity_data.failure_kinds import KIND_OF_CLASS, FailureKind, LabelSource
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction, FailureClass
from sagacity_engine.hosting.attempts import NEVER_CALLED

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The kind of a step's failure in one run. `known_at` in seconds since 1970; None: nobody knows when."""

    run_id: str
    step: str
    kind: FailureKind
    source: LabelSource
    known_at: float | None

    @property
    def failure_class(self) -> FailureClass:
        """The class that a plan makes of it."""
        return self.kind.failure_class


def label(rows: Iterable[Row], user: Iterable[Label] = ()) -> list[Label]:
    """The labels of every failed step in `rows`, which may come in any order, sorted by run and step.

    Runs that have not ended do not belong in `rows`: what happened next is not known yet. A label of the user
    replaces ours for a step that failed; for any other step it is ignored.
    """
    attempts = [row for row in rows if isinstance(row, AttemptRow) and row.direction is Direction.FORWARD]
    attempts = [row for row in attempts if row.outcome.tells and not _is_collateral(row)]
    said = {(given.run_id, given.step): given for given in user}
    around = _Around(attempts)
    by_step: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        by_step[row.run_id, row.step].append(row)
    labels: list[Label] = []
    for key, tries in sorted(by_step.items()):
        tries.sort(key=lambda row: row.attempt)
        if tries[0].outcome is not AttemptOutcome.SUCCEEDED:
            known = said.get(key) or _ruled(tries) or _declared(tries) or _worded(tries)
            labels.append(known or _hindsight(tries, around))
    return labels


def _is_collateral(row: AttemptRow) -> bool:
    """Whether the attempt was not called because its run turned back, or its engine closed, meanwhile."""
    return row.error_type == NEVER_CALLED and row.error_message.startswith(_TURNED_BACK)


_TURNED_BACK: Final = ("the run turned back", "the engine closed")


def _ruled(tries: list[AttemptRow]) -> Label | None:
    """The first kind that a rule of the user's told."""
    for row in tries:
        if row.kind_source is LabelSource.USER and row.failure_kind not in (None, FailureKind.UNKNOWN):
            return _label(row, row.failure_kind, LabelSource.USER, row.kind_known_at)
    return None


def _declared(tries: list[AttemptRow]) -> Label | None:
    """The first class that the participant declared, unless it said that it does not know."""
    for row in tries:
        if row.failure_class is None or row.failure_class is FailureClass.UNKNOWN:
            continue
        if row.kind_source is LabelSource.TAXONOMY:
            continue  # The class was read from the words: nobody declared it.
        return _label(row, _kind_declared(row, row.failure_class), LabelSource.DECLARED, row.ended_at)
    return None


def _kind_declared(row: AttemptRow, declared: FailureClass) -> FailureKind:
    """The kind of a declared class; the row's own kind if it is of that class, which is finer."""
    if row.failure_kind is not None and row.failure_kind.failure_class is declared:
        return row.failure_kind
    return KIND_OF_CLASS[declared]


def _worded(tries: list[AttemptRow]) -> Label | None:
    """The first kind that an error's words told; a bare timeout has none."""
    for row in tries:
        kind = row.failure_kind
        bare = kind is FailureKind.SLOW and row.outcome is AttemptOutcome.TIMED_OUT
        if row.kind_source is LabelSource.TAXONOMY and kind not in (None, FailureKind.UNKNOWN) and not bare:
            assert kind is not None, "it was just told apart from None"
            return _label(row, kind, LabelSource.TAXONOMY, row.kind_known_at)
    return None


def _hindsight(tries: list[AttemptRow], around: _Around) -> Label:
    first, last = tries[0], tries[-1]
    timed_out = first.outcome is AttemptOutcome.TIMED_OUT
    for number, row in enumerate(tries):
        if row.outcome is AttemptOutcome.SUCCEEDED:
            slow = all(each.outcome is AttemptOutcome.TIMED_OUT for each in tries[:number])
            return _seen(first, FailureKind.SLOW if slow else FailureKind.TRANSIENT, row.ended_at)
    left = FailureKind.SLOW if timed_out else FailureKind.UNKNOWN
    if first.ended_at is None or last.ended_at is None:
        return _seen(first, left, None)
    if (share := around.share_failed(first, first.ended_at)) >= CASCADE_SHARE:
        kind = FailureKind.UNAVAILABLE if share == 1 else FailureKind.OVERLOAD
        return _seen(first, kind, max(first.ended_at + CASCADE_WINDOW_S, last.ended_at))
    several = len(tries) >= PERMANENT_ATTEMPTS_MIN
    if several and around.others_passed(first, first.ended_at, last.ended_at):
        return _seen(first, FailureKind.BUSINESS, last.ended_at + PERMANENT_WINDOW_S)
    return _seen(first, left, last.ended_at + (PERMANENT_WINDOW_S if several else CASCADE_WINDOW_S))


def _seen(row: AttemptRow, kind: FailureKind, known_at: float | None) -> Label:
    return _label(row, kind, LabelSource.HINDSIGHT, known_at)


def _label(row: AttemptRow, kind: FailureKind, source: LabelSource, known_at: float | None) -> Label:
    return Label(run_id=row.run_id, step=row.step, kind=kind, source=source, known_at=known_at)


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

    def share_failed(self, row: AttemptRow, at: float) -> float:
        """The share of the other runs for which the service of `row` failed around `at`; 0 if too few."""
        timeline = self._services[row.service]
        passed = timeline.passed(at - CASCADE_WINDOW_S, at + CASCADE_WINDOW_S, row.run_id)
        failed = len(passed) - sum(passed.values())
        return failed / len(passed) if len(passed) >= CASCADE_RUNS_MIN else 0.0

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
