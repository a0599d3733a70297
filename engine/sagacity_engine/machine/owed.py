"""What the engine owes a run at a given time: attempts, hedges, decisions, a return to a savepoint, its end.

Each is said as the event that carries it out; folding that event is what changes the state, never anything
here. Nothing here waits or draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    DeadlineReached,
    Direction,
    Event,
    RolledBack,
    attempt_started,
)
from sagacity_engine.machine.endings import ending, rollback_ending
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.machine.settling import settled
from sagacity_engine.machine.undo_order import FORWARD_OPEN, UNDO_OPEN, due_undos, held_up, stray_undos
from sagacity_engine.parts import OnExpiry

_PENDING, _RUNNING, _SUCCEEDED = StepPhase.PENDING, StepPhase.RUNNING, StepPhase.SUCCEEDED
_FORWARD, _UNDO = Direction.FORWARD, Direction.UNDO
_CALLING = (StepPhase.RUNNING, StepPhase.PROBING, StepPhase.UNDOING)
_OPEN = FORWARD_OPEN | UNDO_OPEN


def owed(state: RunState, now: float) -> Sequence[Event]:
    """What the engine owes the run at time `now`, as events of that time; empty when it can only wait."""
    if state.ended is not None or (state.paused_at is not None and state.abandoned is None):
        return ()
    if state.abandoned is not None:
        calling = any(step.phase in _CALLING for step in state.steps.values())
        return () if calling else (ending(state, now),)
    if state.saga.deadline_s is not None and _deadline_is_due(state, now):
        return (DeadlineReached(at=now),)
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
    todo = _backward(state, now) if turning_back(state) else _forward(state, pending, busy, now)
    if busy:
        todo = [*_due(state, busy, now), *todo]
    if todo or any(step.phase in _OPEN for _, step in busy):
        return todo
    if state.rollback is not None and not state.aborting:
        stuck = rollback_ending(state, now)
        return (RolledBack(at=now, savepoint=state.rollback.savepoint) if stuck is None else stuck,)
    return (ending(state, now),)


def turning_back(state: RunState) -> bool:
    """Whether undos are owed and nothing starts forward."""
    return (state.abort is not None and state.aborting) or state.rollback is not None


def next_wake(state: RunState) -> float | None:
    """The earliest time at which `owed` may answer differently though nothing happened."""
    if state.ended is not None or state.paused_at is not None or state.abandoned is not None:
        return None
    wake: float | None = None
    for name, step in state.steps.items():
        due_at = step.due_at
        if due_at is not None and (wake is None or due_at < wake) and not held_up(state, name):
            wake = due_at
    if state.saga.deadline_s is not None and not state.deadline_noted:
        wake = _earlier(wake, state.deadline_at)
    if not state.starts and not state.aborting and state.locked:
        wake = _earlier(wake, state.launch_at)
    return wake


def _earlier(wake: float | None, at: float | None) -> float | None:
    return at if wake is None or (at is not None and at < wake) else wake


def _deadline_is_due(state: RunState, now: float) -> bool:
    deadline_at = state.deadline_at
    return not state.deadline_noted and deadline_at is not None and now >= deadline_at


def _held_back(state: RunState, now: float) -> bool:
    """Whether the run may not begin yet, or waits for resources; one that turned back before needs none."""
    if not state.starts and state.aborting:
        return False
    return not state.locked or (not state.starts and now < state.launch_at)


def _forward(
    state: RunState, pending: Sequence[str], busy: Sequence[tuple[str, StepState]], now: float
) -> list[Event]:
    steps, saga = state.steps, state.saga
    if saga.pivot is not None and steps[saga.pivot.name].phase is StepPhase.UNCERTAIN:
        return []  # Which way the run goes is for a person to say.
    todo: list[Event] = []
    plans, alternatives = state.plan.by_name, saga.alternatives
    for name in pending:
        for before in plans[name].after:
            phase = steps[before].phase
            if phase is _SUCCEEDED:
                continue
            if phase is _RUNNING or (phase is _PENDING and not alternatives) or not settled(state, before):
                break
        else:
            replaced = saga.by_name[name].alternative_to if alternatives else ""
            if not replaced or steps[replaced].replaced:
                attempt = steps[name].attempts + 1
                todo.append(attempt_started(at=now, step=name, direction=_FORWARD, attempt=attempt))
    if busy:
        todo += [_undo(state, name, now) for name in stray_undos(state, busy)]
    return todo


def _backward(state: RunState, now: float) -> list[Event]:
    return [_undo(state, name, now) for name in due_undos(state)]


def _undo(state: RunState, name: str, now: float) -> Event:
    attempt = state.steps[name].undo_attempts + 1
    return attempt_started(at=now, step=name, direction=_UNDO, attempt=attempt)


def _due(state: RunState, busy: Sequence[tuple[str, StepState]], now: float) -> Iterator[Event]:
    """What waits for its time, and its time has come."""
    for name, step in busy:
        if step.phase is StepPhase.AWAITING:
            yield from _decided(state, name, step, now)
        elif step.due_at is not None and step.due_at <= now and not held_up(state, name):
            yield _again(state, name, step, now)


def _again(state: RunState, name: str, step: StepState, now: float) -> Event:
    match step.phase:
        case StepPhase.BACKING_OFF:
            return AttemptStarted(at=now, step=name, direction=_FORWARD, attempt=step.attempts + 1)
        case StepPhase.DOUBTFUL:
            return AttemptStarted(at=now, step=name, direction=Direction.PROBE, attempt=step.probes + 1)
        case StepPhase.RUNNING:
            return AttemptHedged(at=now, step=name, attempt=step.attempts)
        case _:
            return _undo(state, name, now)


def _decided(state: RunState, name: str, step: StepState, now: float) -> Iterator[Event]:
    """The outcome of an approval, as that of any other attempt, once it is answered or expired."""
    approval = state.saga.by_name[name].approval
    assert approval is not None, "only an approval is awaited"
    signal = state.signals.get(approval.signal)
    if signal is not None:
        approved, expired, who, payload = signal.approve, False, signal.who, signal.payload
    elif step.due_at is not None and step.due_at <= now:
        approved, expired, who, payload = approval.on_expiry is OnExpiry.APPROVE, True, "", None
    else:
        return
    if approved:
        output = {"approved": True, "expired": expired, "who": who, "payload": payload}
        yield AttemptSucceeded(at=now, step=name, direction=_FORWARD, attempt=step.attempts, output=output)
    else:
        yield AttemptFailed(
            at=now,
            step=name,
            direction=_FORWARD,
            attempt=step.attempts,
            error_type="ApprovalExpired" if expired else "Rejected",
            message="nobody answered in time" if expired else f"rejected by {who or 'somebody'}",
            terminal=True,
        )
