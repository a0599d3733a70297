"""What the engine owes a run at a given time: attempts, hedges, decisions, a return to a savepoint, its end.

A command is an obligation read off the state, never a change of it: carrying it out makes an event, and the
event changes the state. Nothing here waits or draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagacity_engine.events import Direction
from sagacity_engine.machine.endings import EndRun, ending, rollback_ending
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.machine.settling import settled
from sagacity_engine.machine.undo_order import FORWARD_OPEN, UNDO_OPEN, due_undos, held_up, stray_undos
from sagacity_engine.parts import OnExpiry


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Call the participant, once the intent is durable; an approval begins to be waited for."""

    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True)
class Hedge:
    """Make a second call of the attempt in flight."""

    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Decide:
    """End the wait for an approval: it was given or refused, or its time is over."""

    step: str
    approved: bool
    expired: bool


@dataclass(frozen=True, slots=True)
class NoteDeadline:
    """Record that the saga's deadline passed."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Everything after the savepoint is undone: begin it anew."""

    savepoint: str


Command = StartAttempt | Hedge | Decide | NoteDeadline | RollBack | EndRun


def commands(state: RunState, now: float) -> Sequence[Command]:
    """What the engine owes the run at time `now`; empty when it can only wait."""
    if state.ended is not None or (state.paused_at is not None and state.abandoned is None):
        return ()
    if state.abandoned is not None:
        return () if _calling(state) else (ending(state),)
    if state.saga.deadline_s is not None and _deadline_is_due(state, now):
        return (NoteDeadline(),)
    if not (state.starts and state.locked) and _held_back(state, now):
        return ()
    pending: list[str] = []
    busy: list[tuple[str, StepState]] = []  # Neither untouched nor done.
    for name, step in state.steps.items():
        phase = step.phase
        if phase is _PENDING:
            pending.append(name)
        elif phase is not _SUCCEEDED:
            busy.append((name, step))
    todo = [*_due(state, busy, now)]
    todo += _backward(state) if turning_back(state) else _forward(state, pending, busy)
    if todo:
        return todo
    if any(step.phase in _OPEN for _, step in busy):
        return ()
    if state.rollback is not None and not state.aborting:
        stuck = rollback_ending(state)
        return (RollBack(state.rollback.savepoint) if stuck is None else stuck,)
    return (ending(state),)


def _deadline_is_due(state: RunState, now: float) -> bool:
    deadline_at = state.deadline_at
    return not state.deadline_noted and deadline_at is not None and now >= deadline_at


def _held_back(state: RunState, now: float) -> bool:
    """Whether the run may not begin yet, or waits for resources; one that turned back before needs none."""
    if not state.starts and state.aborting:
        return False
    return not state.locked or (not state.starts and now < state.launch_at)


_PENDING, _RUNNING, _SUCCEEDED = StepPhase.PENDING, StepPhase.RUNNING, StepPhase.SUCCEEDED
_OPEN = FORWARD_OPEN | UNDO_OPEN


def turning_back(state: RunState) -> bool:
    """Whether undos are owed and nothing starts forward."""
    return (state.abort is not None and state.aborting) or state.rollback is not None


def next_wake(state: RunState) -> float | None:
    """The earliest time at which `commands` may answer differently though nothing happened."""
    if state.ended is not None or state.paused_at is not None or state.abandoned is not None:
        return None
    moments = [
        step.due_at
        for name, step in state.steps.items()
        if step.due_at is not None and not held_up(state, name)
    ]
    deadline_at = state.deadline_at
    if deadline_at is not None and not state.deadline_noted:
        moments.append(deadline_at)
    if not state.starts and not state.aborting and state.locked:
        moments.append(state.launch_at)
    return min(moments, default=None)


def _calling(state: RunState) -> bool:
    return any(
        step.phase in (StepPhase.RUNNING, StepPhase.PROBING, StepPhase.UNDOING)
        for step in state.steps.values()
    )


def _due(state: RunState, busy: Sequence[tuple[str, StepState]], now: float) -> Iterator[Command]:
    """What waits for its time, and its time has come."""
    for name, step in busy:
        if step.phase is StepPhase.AWAITING:
            yield from _decision(state, name, step, now)
        elif step.due_at is not None and step.due_at <= now and not held_up(state, name):
            yield _due_command(name, step)


def _due_command(name: str, step: StepState) -> Command:
    match step.phase:
        case StepPhase.BACKING_OFF:
            return StartAttempt(name, Direction.FORWARD, step.attempts + 1)
        case StepPhase.DOUBTFUL:
            return StartAttempt(name, Direction.PROBE, step.probes + 1)
        case StepPhase.RUNNING:
            return Hedge(name, step.attempts)
        case _:
            return StartAttempt(name, Direction.UNDO, step.undo_attempts + 1)


def _decision(state: RunState, name: str, step: StepState, now: float) -> Iterator[Command]:
    approval = state.saga.by_name[name].approval
    assert approval is not None, "only an approval is awaited"
    signal = state.signals.get(approval.signal)
    if signal is not None:
        yield Decide(name, approved=signal.approve, expired=False)
    elif step.due_at is not None and step.due_at <= now:
        yield Decide(name, approved=approval.on_expiry is OnExpiry.APPROVE, expired=True)


def _backward(state: RunState) -> Iterator[Command]:
    return (_undo(state, name) for name in due_undos(state))


def _forward(state: RunState, pending: Sequence[str], busy: Sequence[tuple[str, StepState]]) -> list[Command]:
    steps, saga = state.steps, state.saga
    if saga.pivot is not None and steps[saga.pivot.name].phase is StepPhase.UNCERTAIN:
        return []  # Which way the run goes is for a person to say.
    todo: list[Command] = []
    plans = state.plan.by_name
    for name in pending:
        for before in plans[name].after:
            phase = steps[before].phase
            if phase is not _SUCCEEDED and (phase is _RUNNING or not settled(state, before)):
                break
        else:
            replaced = saga.by_name[name].alternative_to
            if not replaced or steps[replaced].replaced:
                todo.append(StartAttempt(name, Direction.FORWARD, steps[name].attempts + 1))
    if busy:
        todo += (_undo(state, name) for name in stray_undos(state))
    return todo


def _undo(state: RunState, name: str) -> StartAttempt:
    return StartAttempt(name, Direction.UNDO, state.steps[name].undo_attempts + 1)
