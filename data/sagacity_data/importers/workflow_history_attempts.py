"""The attempts that the calls of a workflow history stand for, numbered within their steps.

A server that retries by itself tells only the last attempt's number, start and end, and how the attempt
before it failed. The attempts before that are known to have been made and to have failed, and nothing more:
they become rows without times, the latest of them with the failure that is told. So the number of attempts,
the share of failures and the order are right, and no duration is invented. Of very many such attempts the
latest `UNTOLD_MAX` become rows.

An attempt's times have to follow each other: an end before its start is left out, and so is a scheduling
after the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sagacity_data.importers.foreign_runs import ForeignAttempt
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.workflow_history_calls import Call
from sagacity_data.importers.workflow_history_executions import Execution
from sagacity_data.importers.workflow_history_faults import Fault
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction

UNTOLD_MAX: Final = 1000
"""Attempts of one call that a server made by itself and that become rows."""
UNTOLD_RUN_MAX: Final = 20_000
"""The same, of one run."""

Order = tuple[float, int, int]  # The time, the call's place among the events, the number of the attempt.


def attempts_of(
    executions: list[Execution], own_queue: str, hints: Hints, tally: Tally
) -> tuple[ForeignAttempt, ...]:
    """All attempts in the order in which they started. `own_queue` is the workflow's own task queue."""
    made: list[tuple[Order, ForeignAttempt]] = []
    numbering = _Numbering(own_queue, hints, tally)
    for execution in executions:
        for call in execution.calls:
            made += numbering.attempts(execution, call)
    made.sort(key=lambda each: each[0])
    return tuple(attempt for _, attempt in made)


class _Numbering:
    """Counts the attempts of each step in each direction."""

    def __init__(self, own_queue: str, hints: Hints, tally: Tally) -> None:
        self._own_queue, self._hints, self._tally = own_queue, hints, tally
        self._counts: Counter[tuple[str, Direction]] = Counter()
        self._untold = 0

    def attempts(self, execution: Execution, call: Call) -> Iterator[tuple[Order, ForeignAttempt]]:
        """The call's attempts, each with its place in the run."""
        step = execution.step, execution.direction
        before, told = self._counts[step], call.told or 1
        common = self._common(execution, call)
        for number in range(told - self._rows_for(told - 1), told):
            fault = call.earlier if number == told - 1 else None
            attempt = _earlier(common, call, number, fault)
            yield (call.order, call.place, number), replace(attempt, attempt=before + number)
        self._counts[step] = before + told
        order = call.order if call.started_order is None else call.started_order
        attempt = _last(common, call, told, self._tally)
        yield (order, call.place, told), replace(attempt, attempt=before + told)

    def _common(self, execution: Execution, call: Call) -> ForeignAttempt:
        return ForeignAttempt(
            step=execution.step,
            outcome=AttemptOutcome.OPEN,
            direction=execution.direction,
            service=self._service(execution, call),
            timeout_s=call.timeout_s,
            maximum_attempts=call.maximum_attempts,
            input_bytes=call.input_bytes,
        )

    def _service(self, execution: Execution, call: Call) -> str:
        services = self._hints.services
        said = services.get(execution.step) or services.get(execution.name)
        if said:
            return said
        return call.queue if call.queue and call.queue != self._own_queue else execution.service

    def _rows_for(self, untold: int) -> int:
        rows = min(untold, UNTOLD_MAX, UNTOLD_RUN_MAX - self._untold)
        self._untold += rows
        if rows < untold:
            self._tally.notes["attempts of which nothing is told are left out beyond the limit"] += (
                untold - rows
            )
        return rows


def _earlier(common: ForeignAttempt, call: Call, number: int, fault: Fault | None) -> ForeignAttempt:
    """An attempt of which the history tells at most how it failed."""
    scheduled_at = call.scheduled_at if number == 1 else None
    return _with_fault(replace(common, scheduled_at=scheduled_at), fault or Fault(""), started=True)


def _last(common: ForeignAttempt, call: Call, number: int, tally: Tally) -> ForeignAttempt:
    """The attempt that the history tells of."""
    scheduled_at, started_at, ended_at = (
        call.scheduled_at if number == 1 else None,
        call.started_at,
        call.ended_at,
    )
    if scheduled_at is not None and started_at is not None and started_at < scheduled_at:
        tally.notes["schedulings after the start are left out"] += 1
        scheduled_at = None
    begun = started_at if started_at is not None else scheduled_at
    if ended_at is not None and begun is not None and ended_at < begun:
        tally.notes["ends before the start are left out"] += 1
        ended_at = None
    timed = replace(common, scheduled_at=scheduled_at, started_at=started_at, ended_at=ended_at)
    if call.fault is None:
        return replace(timed, outcome=call.outcome)
    return _with_fault(timed, call.fault, outcome=call.outcome)


def _with_fault(
    attempt: ForeignAttempt, fault: Fault, *, started: bool = False, outcome: AttemptOutcome | None = None
) -> ForeignAttempt:
    ended = outcome or fault.outcome(started=started)
    if ended is AttemptOutcome.CANCELLED:
        return replace(attempt, outcome=ended)
    error_type = fault.type if ended is AttemptOutcome.FAILED else ""
    return replace(attempt, outcome=ended, error_type=error_type, message=fault.words)
