"""What the features learn from: four kinds of signal, each with the time at which it became known.

Signals come from two places, live events (`recorder.py`) and stored rows (`signals` below), and both give the
same ones: whatever a live fold sees, a replay of its rows sees again. `order` fixes the sequence of signals
that share an instant, so that no feature depends on which of them happened to be told first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row, RunRow
from sagacity_engine import Direction, FailureClass, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOpened:
    """A run was launched."""

    at: float
    run_id: str
    saga: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """An attempt, forward or undo, was started."""

    at: float
    run_id: str
    saga: str
    step: str
    service: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """An attempt's outcome became known. `duration_s` is None when its start is not known."""

    at: float
    run_id: str
    saga: str
    step: str
    service: str
    direction: Direction
    attempt: int
    outcome: AttemptOutcome
    failure_class: FailureClass | None
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClosed:
    """A run ended."""

    at: float
    run_id: str
    saga: str
    status: Status


Signal = RunOpened | CallStarted | CallEnded | RunClosed

_RANK: dict[type, int] = {RunOpened: 0, CallStarted: 1, CallEnded: 2, RunClosed: 3}


def order(signal: Signal) -> tuple[float, int, str, str, str, int]:
    """The sort key that puts signals into the one sequence in which they are folded."""
    step, direction, attempt = "", "", 0
    if isinstance(signal, CallStarted | CallEnded):
        step, direction, attempt = signal.step, signal.direction.value, signal.attempt
    return (signal.at, _RANK[type(signal)], signal.run_id, step, direction, attempt)


def signals(rows: Iterable[Row]) -> list[Signal]:
    """The signals that `rows` (in any order) tell of, in the order of their times.

    A missing time gives no signal. A run's launch is taken from any of its rows.
    """
    told: list[Signal] = []
    opened: set[str] = set()
    for row in rows:
        if row.launch_at is not None and row.run_id not in opened:
            opened.add(row.run_id)
            told.append(RunOpened(at=row.launch_at, run_id=row.run_id, saga=row.saga))
        if isinstance(row, RunRow):
            if row.ended_at is not None:
                told.append(RunClosed(at=row.ended_at, run_id=row.run_id, saga=row.saga, status=row.status))
            continue
        if row.started_at is not None:
            told.append(call_started(row, row.started_at))
        if row.ended_at is not None:
            told.append(call_ended(row, row.ended_at))
    told.sort(key=order)
    return told


def call_started(row: AttemptRow, at: float) -> CallStarted:
    """The signal that the row's attempt started at `at`."""
    return CallStarted(
        at=at,
        run_id=row.run_id,
        saga=row.saga,
        step=row.step,
        service=row.service,
        direction=row.direction,
        attempt=row.attempt,
    )


def call_ended(row: AttemptRow, at: float) -> CallEnded:
    """The signal that the row's attempt ended at `at`."""
    return CallEnded(
        at=at,
        run_id=row.run_id,
        saga=row.saga,
        step=row.step,
        service=row.service,
        direction=row.direction,
        attempt=row.attempt,
        outcome=row.outcome,
        failure_class=row.failure_class,
        duration_s=row.duration_s,
    )
