"""A step that is a saga of its own: what its run is called, what it is given, and what its end means.

The inner run has an id made of the outer run's, so that starting it twice starts it once, and an engine that
comes back after a crash finds it. It is a run like any other, with a journal and a plan of its own. Its
compensation takes it back: a completed inner run turns round and undoes its steps. An inner run that needs a
person holds the outer one up, until the person has settled it. What the outer run says of its step's failure
names the inner saga and the step in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagacity_engine.errors import SagaRefused
from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    OperatorActed,
    Status,
    UnknownReason,
)
from sagacity_engine.machine.endings import troubles
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.references import resolve
from sagacity_engine.saga import SubSaga

Outcome = AttemptSucceeded | AttemptFailed | AttemptUnknown


def sub_saga_of(state: RunState, attempt: AttemptStarted) -> SubSaga | None:
    """The inner saga that the attempt runs or takes back, if its step is one."""
    return state.saga.by_name[attempt.step].sub_saga


def inner_run_id(state: RunState, attempt: AttemptStarted) -> str:
    """The id of the inner run that the attempt runs or takes back."""
    number = state.steps[attempt.step].attempts
    return f"{state.started.run_id}/{attempt.step}/{number}"


def inner_input(state: RunState, attempt: AttemptStarted, inner: SubSaga) -> Mapping[str, Any] | Outcome:
    """The inner run's input, or the refusal of an attempt whose references lead nowhere."""
    try:
        resolved = resolve(inner.input, state.started.input, state.outputs)
    except SagaRefused as problem:
        return _refused(attempt, attempt.at, "UnresolvedReference", str(problem))
    assert isinstance(resolved, dict), "a mapping stays one"
    return resolved


def inner_outcome(attempt: AttemptStarted, inner: RunState, at: float) -> Outcome | None:
    """What the inner run's end means for the outer attempt; None while it has not come to one."""
    ended = inner.ended
    if ended is None or ended.status is Status.NEEDS_ATTENTION:
        return None
    undo = attempt.direction is Direction.UNDO
    if undo and ended.status is Status.COMPENSATED:
        return _succeeded(attempt, at, None)
    if not undo and ended.status is Status.COMPLETED:
        return _succeeded(attempt, at, dict(inner.outputs))
    if not undo and ended.status is Status.COMPENSATED:
        return _refused(attempt, at, "SubSagaCompensated", _inside(inner, ended.reason, ended.step))
    at_fault = ended.step or next((name for name, _ in troubles(inner)), "")
    return AttemptUnknown(
        at=at,
        step=attempt.step,
        direction=attempt.direction,
        attempt=attempt.attempt,
        reason=UnknownReason.LOST_REPLY,
        message=_inside(inner, f"ended {ended.status.value}: {ended.reason}".rstrip(": "), at_fault),
    )


def taking_back(
    attempt: AttemptStarted, inner: RunState | None, at: float, who: str
) -> CancelRequested | OperatorActed | Outcome | None:
    """What the undo of a step that is a saga comes to: something to ask of the inner run, or the outcome.

    None while a person must settle the inner run first.
    """
    if inner is None:
        return _succeeded(attempt, at, None)  # It never began.
    if inner.ended is None:
        return CancelRequested(at=at, who=who, why="it is compensated")
    if inner.ended.status is not Status.COMPLETED:
        return inner_outcome(attempt, inner, at)
    undo = OperatorActed(at=at, action=Action.UNDO, who=who, why="it is compensated")
    refused = refusal(inner, undo)
    return _refused(attempt, at, "NotUndone", _inside(inner, refused)) if refused else undo


def _inside(inner: RunState, words: str, step: str = "") -> str:
    """The words, with the inner saga they are about, and the step unless they name it themselves."""
    at = f" at step {step!r}" if step and repr(step) not in words else ""
    return f"in its saga {inner.saga.name!r}{at}: {words}"


def _succeeded(attempt: AttemptStarted, at: float, output: Any) -> AttemptSucceeded:
    return AttemptSucceeded(
        at=at, step=attempt.step, direction=attempt.direction, attempt=attempt.attempt, output=output
    )


def _refused(attempt: AttemptStarted, at: float, error_type: str, message: str) -> AttemptFailed:
    return AttemptFailed(
        at=at,
        step=attempt.step,
        direction=attempt.direction,
        attempt=attempt.attempt,
        error_type=error_type,
        message=message,
        terminal=True,  # What may be tried again was tried again inside.
    )
