"""What the engine owes a run at a given time: attempts to start, a deadline to note, or its end.

A command is an obligation read off the state, never a change of it: carrying it out makes an event, and the
event changes the state. Nothing here waits or draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sagacity_engine.events import Direction, Status
from sagacity_engine.phases import StepPhase
from sagacity_engine.run_state import RunState
from sagacity_engine.saga import Kind
from sagacity_engine.undo_order import EFFECT, FORWARD_OPEN, UNDO_ENDED, UNDO_OPEN, due_undos, stray_undos


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Call the participant, once the intent is durable."""

    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True)
class NoteDeadline:
    """Record that the saga's deadline passed."""


@dataclass(frozen=True, slots=True)
class EndRun:
    """Nothing is left to do."""

    status: Status
    reason: str = ""
    step: str = ""


Command = StartAttempt | NoteDeadline | EndRun


def commands(state: RunState, now: float) -> tuple[Command, ...]:
    """What the engine owes the run at time `now`; empty when it can only wait."""
    if state.ended is not None:
        return ()
    if not state.deadline_noted and state.deadline_at is not None and now >= state.deadline_at:
        return (NoteDeadline(),)
    if starts := (*_due(state, now), *(_undoing(state) if state.aborting else _forward(state))):
        return starts
    return () if _waiting(state) else (_end(state),)


def next_wake(state: RunState) -> float | None:
    """The earliest time at which `commands` may answer differently though nothing happened."""
    if state.ended is not None:
        return None
    moments = [step.due_at for step in state.steps.values() if step.due_at is not None]
    if not state.deadline_noted and state.deadline_at is not None:
        moments.append(state.deadline_at)
    return min(moments, default=None)


def _due(state: RunState, now: float) -> Iterator[StartAttempt]:
    """Backing-off attempts whose wait is over."""
    for name, step in state.steps.items():
        if step.due_at is None or step.due_at > now:
            continue
        if step.phase is StepPhase.BACKING_OFF:
            yield StartAttempt(name, Direction.FORWARD, step.attempts + 1)
        else:
            yield StartAttempt(name, Direction.UNDO, step.undo_attempts + 1)


def _undoing(state: RunState) -> Iterator[StartAttempt]:
    return (_undo(state, name) for name in due_undos(state))


def _forward(state: RunState) -> Iterator[StartAttempt]:
    yield from _ready(state)
    yield from (_undo(state, name) for name in stray_undos(state))


def _undo(state: RunState, name: str) -> StartAttempt:
    return StartAttempt(name, Direction.UNDO, state.steps[name].undo_attempts + 1)


def _ready(state: RunState) -> Iterator[StartAttempt]:
    """Pending steps of a forward-going run whose predecessors are settled."""
    for name, step in state.steps.items():
        if step.phase is StepPhase.PENDING and all(
            _settled(state, before) for before in state.plan.by_name[name].after
        ):
            yield StartAttempt(name, Direction.FORWARD, 1)


def _settled(state: RunState, name: str) -> bool:
    phase, step = state.steps[name].phase, state.saga.by_name[name]
    if phase is StepPhase.SUCCEEDED or not step.optional:
        return phase is StepPhase.SUCCEEDED
    # A run goes on without an optional step once its uncertain effect, if it can be undone, has been dealt
    # with, well or badly.
    given_up = phase is StepPhase.UNCERTAIN and step.compensation is None
    return given_up or phase in (StepPhase.SKIPPED, StepPhase.FAILED, *UNDO_ENDED)


def _waiting(state: RunState) -> bool:
    return any(step.phase in FORWARD_OPEN or step.phase in UNDO_OPEN for step in state.steps.values())


def _end(state: RunState) -> EndRun:
    for name, reason in state.attention:
        return EndRun(Status.NEEDS_ATTENTION, reason, name)
    for name, step in state.steps.items():
        if step.phase is StepPhase.COMPENSATION_FAILED:
            return EndRun(Status.NEEDS_ATTENTION, f"its compensation failed for good: {step.error}", name)
        kind = state.saga.by_name[name].kind
        if state.aborting and step.phase in EFFECT and kind is not Kind.READ_ONLY:
            return EndRun(Status.NEEDS_ATTENTION, "its effect stands and has no compensation", name)
    if state.abort is not None and state.aborting:
        return EndRun(Status.COMPENSATED, state.abort.cause, state.abort.step)
    # The pivot succeeded although the run had turned back: what gave up before that is not done.
    for name, step in state.steps.items():
        if step.phase in (StepPhase.FAILED, StepPhase.UNCERTAIN) and not _settled(state, name):
            return EndRun(Status.NEEDS_ATTENTION, f"given up before the pivot succeeded: {step.error}", name)
    return EndRun(Status.COMPLETED)
