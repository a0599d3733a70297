"""What the features learn from: four kinds of signal, each with the time at which it became known.

Signals come from two places, live events (`recorder.py`) and stored rows (`signals` below), and both give the
same ones: whatever a live fold sees, a replay of its rows sees again. `order` fixes the sequence of signals
that share an instant, so that no feature depends on which of them happened to be told first.

A run is launched at the earliest launch time that its rows tell, and none of its signals comes before that:
where clocks disagreed, nothing of a run is known before the run.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sagacity_data.rows import ENGINE, AttemptOutcome, AttemptRow, Row, RunRow
from sagacity_engine import Direction, FailureClass, Status
from sagacity_engine.drafts import maker
from sagacity_engine.hosting.attempts import NEVER_CALLED
from sagacity_engine.hosting.failures import CIRCUIT_OPEN


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
    """An attempt's outcome became known. `duration_s` is None when its start is not known.

    It was not `called` when a breaker that was open, or a full queue, turned it away before the service.
    """

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
    called: bool = True
    breaker_open: bool = False


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
    if isinstance(signal, CallStarted | CallEnded):
        step, direction, attempt = signal.step, str(signal.direction), signal.attempt
    else:
        step, direction, attempt = "", "", 0
    return (signal.at, _RANK[type(signal)], signal.run_id, step, direction, attempt)


def signals(rows: Iterable[Row]) -> Iterator[Signal]:
    """The signals that `rows` (in any order) tell of, in the order of their times, made when asked for.

    A missing time, or one that is no finite number, gives no signal; a run that is still RUNNING has no end.
    """
    listed = rows if isinstance(rows, Sequence) else list(rows)
    return signals_after_launch(listed, launch_times(listed))


def launch_times(rows: Iterable[Row]) -> dict[str, float]:
    """The time at which each run was launched: the earliest that any of its rows tells."""
    launches: dict[str, float] = {}
    for row in rows:
        at = row.launch_at
        if at is not None and at < launches.get(row.run_id, math.inf) and math.isfinite(at):
            launches[row.run_id] = at
    return launches


_OPENED, _STARTED, _ENDED = range(3)
"""What an entry says of its row: the launch of its run, its attempt's start, or its end."""

_KINDS: Final = 3


def signals_after_launch(rows: Sequence[Row], launches: dict[str, float]) -> Iterator[Signal]:
    """`signals`, for rows whose runs' launch times are known."""
    times, entries = _entries(rows, launches)
    ranked = sorted(range(len(times)), key=times.__getitem__)
    together: list[Signal] = []  # The signals of one instant.
    now = -math.inf
    for number in ranked:
        at, entry = times[number], entries[number]
        if at != now:
            yield from _in_order(together)
            together, now = [], at
        together.append(_signal(rows[entry // _KINDS], entry % _KINDS, at))
    yield from _in_order(together)


def _in_order(together: list[Signal]) -> list[Signal]:
    if len(together) > 1:
        together.sort(key=order)
    return together


def _entries(rows: Sequence[Row], launches: dict[str, float]) -> tuple[array[float], array[int]]:
    """The time of every signal, and which row it is told by and how: a few bytes each, for there are many."""
    times, entries = array("d"), array("q")
    opened: set[str] = set()
    finite = math.isfinite
    for number, row in enumerate(rows):
        launch_at = launches.get(row.run_id, -math.inf)
        if launch_at > -math.inf and row.run_id not in opened:
            opened.add(row.run_id)
            times.append(launch_at)
            entries.append(number * _KINDS + _OPENED)
        if isinstance(row, AttemptRow) and row.started_at is not None and finite(row.started_at):
            times.append(max(row.started_at, launch_at))
            entries.append(number * _KINDS + _STARTED)
        if row.ended_at is not None and finite(row.ended_at) and _is_over(row):
            times.append(max(row.ended_at, launch_at))
            entries.append(number * _KINDS + _ENDED)
    return times, entries


def _is_over(row: Row) -> bool:
    if isinstance(row, RunRow):
        return row.status.ended
    return row.outcome is not AttemptOutcome.OPEN


def _signal(row: Row, kind: int, at: float) -> Signal:
    if kind == _OPENED:
        return _run_opened(at=at, run_id=row.run_id, saga=row.saga)
    if isinstance(row, RunRow):
        return _run_closed(at=at, run_id=row.run_id, saga=row.saga, status=row.status)
    return call_started(row, at) if kind == _STARTED else call_ended(row, at)


_run_opened = maker(RunOpened)
_call_started = maker(CallStarted)
_call_ended = maker(CallEnded)
_run_closed = maker(RunClosed)


def call_started(row: AttemptRow, at: float) -> CallStarted:
    """The signal that the row's attempt started at `at`."""
    return _call_started(
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
    refusal = row.error_type if row.source == ENGINE else ""
    return _call_ended(
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
        called=refusal not in _NOT_CALLED,
        breaker_open=refusal == CIRCUIT_OPEN,
    )


_NOT_CALLED: Final = (CIRCUIT_OPEN, NEVER_CALLED)
"""Error types with which the engine says that it called nobody."""
