"""What people may do to a run, when, and what it changes.

`breach` says in words why an action cannot be taken now, so that a host can refuse it before anything is
written; `operate` carries out one that can. `next_actions` lists, for a run that needs attention, what would
help. Every action is journaled with who and why, and re-opens a run that had ended (all but pausing).
"""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import Action, CancelRequested, Event, OperatorActed, SignalReceived, Status
from sagacity_engine.machine.endings import troubles
from sagacity_engine.machine.giving_up import forget_signal, reset, turn_back
from sagacity_engine.machine.owed import turning_back
from sagacity_engine.machine.phases import OPERATIONS, StepPhase
from sagacity_engine.machine.run_state import Abort, RunState
from sagacity_engine.parts import Kind

OF_A_STEP = (Action.RETRY, Action.SKIP, Action.RESOLVE)
_IN_DOUBT = (StepPhase.UNCERTAIN, StepPhase.BACKING_OFF, StepPhase.DOUBTFUL)


def refusal(state: RunState, event: Event) -> str:
    """Why what somebody asks for cannot be done to the run now; empty when it can."""
    match event:
        case OperatorActed():
            return breach(state, event)
        case SignalReceived():
            return _signal_breach(state, event)
        case CancelRequested():
            return _not_ended(state)
        case _:
            return f"{type(event).__name__} is nothing that anybody may ask for"


def breach(state: RunState, event: OperatorActed) -> str:
    """Why the action cannot be taken now, with the way out; empty when it can."""
    match event.action:
        case Action.PAUSE:
            return _not_ended(state) or ("it is paused already" if state.paused_at is not None else "")
        case Action.RESUME:
            paused = state.paused_at is not None
            return _not_ended(state) or ("" if paused else "it is not paused; there is nothing to resume")
        case Action.ABANDON:
            if not event.why.strip():
                return "nobody gives a run up without a reason; say why"
            return "" if _attended(state) else _not_ended(state)
        case Action.UNDO:
            return _undo_breach(state)
        case Action.REDRIVE:
            return _redrive_breach(state, event.step)
        case _:
            return _step_breach(state, event)


def operate(state: RunState, event: OperatorActed) -> None:
    """Carries out an action that `breach` has nothing against."""
    if event.action is Action.PAUSE:
        state.paused_at = event.at
        return
    if event.action is Action.RESUME:
        _resume(state, event.at)
        return
    if state.ended is not None and not _attended(state) and state.started.locks:
        state.locked = False  # It let its resources go when it ended, and must queue for them again.
    state.ended = None
    match event.action:
        case Action.ABANDON:
            state.abandoned = event
        case Action.UNDO:
            turn_back(state, Abort(f"taken back by {event.who}: {event.why}".rstrip(": ")))
        case Action.REDRIVE:
            _redrive(state, event)
        case _:
            _operate_on_step(state, event)


def next_actions(state: RunState) -> Iterator[tuple[str, tuple[Action, ...]]]:
    """For each step that needs attention, the actions that may be taken now; `abandon` always may."""
    for name, _ in troubles(state):
        allowed = tuple(
            action
            for action in (*OF_A_STEP, Action.REDRIVE)
            if not breach(state, OperatorActed(at=0.0, action=action, who="", step=name))
        )
        yield name, (*allowed, Action.ABANDON)


def _not_ended(state: RunState) -> str:
    return "" if state.ended is None else f"it has ended: {state.ended.status.value}"


def _attended(state: RunState) -> bool:
    return state.ended is not None and state.ended.status is Status.NEEDS_ATTENTION


def _signal_breach(state: RunState, event: SignalReceived) -> str:
    if ended := _not_ended(state):
        return ended
    waits = {step.approval.signal: step.name for step in state.saga.steps if step.approval is not None}
    if event.name not in waits:
        known = ", ".join(sorted(waits)) or "none"
        return f"no step waits for signal {event.name!r}; the signals of this saga are {known}"
    if event.name in state.signals:
        return f"signal {event.name!r} has been given already"
    phase = state.steps[waits[event.name]].phase
    if phase not in (StepPhase.PENDING, StepPhase.AWAITING):
        return f"step {waits[event.name]!r} no longer waits for signal {event.name!r}: it is {phase.value}"
    return ""


def _undo_breach(state: RunState) -> str:
    if state.ended is None or state.ended.status is not Status.COMPLETED:
        return "it has not completed; only a completed run is taken back (cancel one that is running)"
    if state.committed:
        return "its pivot has succeeded; what follows a pivot is never taken back"
    return ""


def _redrive_breach(state: RunState, name: str) -> str:
    if state.ended is None or state.ended.status not in (Status.NEEDS_ATTENTION, Status.COMPENSATED):
        return "only a run that needs attention, or was compensated, is redriven"
    if name and name not in state.steps:
        return _no_step(state, name)
    for other, step in state.steps.items():
        if step.phase is StepPhase.COMPENSATION_FAILED:
            return f"the compensation of step {other!r} failed; retry or resolve it first"
        unsafe = step.phase is StepPhase.UNCERTAIN and not state.saga.by_name[other].idempotent
        if unsafe and not _dormant(state, other):
            return f"whether step {other!r} took effect is unknown; resolve or skip it first"
    again = _to_run_again(state)
    if name and name not in again:
        return f"step {name!r} is {state.steps[name].phase.value}; it need not run again"
    for other in again:
        if name and other != name and name in state.saga.dependants[other]:
            return f"step {other!r} must run again before {name!r}; redrive from {other!r}"
    return "" if again else "no step of it would run again"


def _to_run_again(state: RunState) -> tuple[str, ...]:
    again = (StepPhase.FAILED, StepPhase.UNCERTAIN, StepPhase.UNDONE)
    return tuple(
        name for name, step in state.steps.items() if step.phase in again and not _dormant(state, name)
    )


def _dormant(state: RunState, name: str) -> bool:
    """Whether the run goes on without the step: it was given up for its alternative, or is optional."""
    if state.steps[name].replaced:
        alternative = state.steps[state.saga.alternatives[name]]
        return not turning_back(state) or alternative.phase is StepPhase.SUCCEEDED
    return state.saga.by_name[name].optional and not turning_back(state)


def _step_breach(state: RunState, event: OperatorActed) -> str:
    if event.step not in state.steps:
        return _no_step(state, event.step)
    if state.ended is not None and not _attended(state):
        return f"it has ended: {state.ended.status.value}"
    phase, declared = state.steps[event.step].phase, state.saga.by_name[event.step]
    if (phase, event.action) not in OPERATIONS:
        possible = [action.value for of, action in OPERATIONS if of is phase]
        way_out = f"; what can be done to it is {', '.join(possible)}" if possible else ""
        return f"step {event.step!r} is {phase.value}; {event.action.value} cannot be done to it{way_out}"
    undoing = phase in (StepPhase.COMPENSATION_FAILED, StepPhase.UNDO_BACKING_OFF)
    doubtful_pivot = declared.kind is Kind.PIVOT and phase in _IN_DOUBT
    back = turning_back(state)
    if event.action is not Action.RESOLVE and not undoing and state.steps[event.step].replaced:
        alternative = state.saga.alternatives[event.step]
        return f"step {alternative!r} runs in its place; act on that one instead"
    if event.action is Action.RETRY and not undoing and back and not doubtful_pivot:
        return "the run has turned back; redrive it once it has ended, to go forward again"
    if event.action is Action.SKIP and back and not doubtful_pivot:
        return "the run has turned back and needs nothing skipped; resolve the step instead"
    if event.action is Action.RESOLVE and not undoing and not doubtful_pivot and not back:
        return "the run goes forward; retry or skip the step instead"
    if event.action is Action.RESOLVE and phase is StepPhase.SUCCEEDED and declared.compensation is not None:
        return f"step {event.step!r} succeeded and will be taken back; there is nothing to resolve"
    return ""


def _no_step(state: RunState, name: str) -> str:
    return f"it has no step {name!r}; the steps are {', '.join(state.saga.names)}"


def _operate_on_step(state: RunState, event: OperatorActed) -> None:
    name = event.step
    step, declared = state.steps[name].copy(), state.saga.by_name[name]
    was, pivot = step.phase, declared.kind is Kind.PIVOT
    step.phase = OPERATIONS[was, event.action]
    step.due_at = None
    state.steps[name] = step
    state.attention = tuple(each for each in state.attention if each[0] != name)
    if event.action is Action.RETRY:
        _give_fresh_attempts(state, event)
    elif event.action is Action.SKIP:
        if pivot or (step.effect_possible and declared.compensation is not None):
            step.phase = StepPhase.SUCCEEDED  # Its effect may be there, and counts as there.
        if pivot:
            state.rollback = None
        keep_output(state, name, event.output)
    elif pivot and was is StepPhase.UNCERTAIN:
        turn_back(state, Abort(f"{event.who} found that the pivot did not take effect", name))


def _give_fresh_attempts(state: RunState, event: OperatorActed) -> None:
    """The step, or its undo, is tried again at once, or when the run's clock goes on."""
    step = state.steps[event.step]
    step.base, step.undo_base, step.probe_base = step.attempts, step.undo_attempts, step.probes
    step.first_at = step.due_at = event.at if state.paused_at is None else state.paused_at
    if state.saga.by_name[event.step].approval is not None:  # It is asked for anew.
        step.phase, step.due_at, step.first_at = StepPhase.PENDING, None, None
        forget_signal(state, event.step)


def keep_output(state: RunState, name: str, output: object) -> None:
    """What others refer to as the step's output, or as that of the step it stands in for."""
    state.outputs = {**state.outputs, name: output}
    replaced = state.saga.by_name[name].alternative_to
    if replaced:
        state.outputs = {**state.outputs, replaced: output}


def _redrive(state: RunState, event: OperatorActed) -> None:
    again = _to_run_again(state)
    state.abort, state.rollback, state.attention = None, None, ()
    state.deadline_noted, state.clock_from, state.paused_s = False, event.at, 0.0
    for name in again:
        reset(state, name)


def _resume(state: RunState, at: float) -> None:
    """Every clock of the run goes on from where it stood."""
    assert state.paused_at is not None, "only a paused run resumes"
    stood_s = max(0.0, at - state.paused_at)
    state.paused_at = None
    state.paused_s += stood_s
    for name, step in state.steps.items():
        if step.due_at is not None or step.first_at is not None:
            later = step.copy()
            later.due_at = None if step.due_at is None else step.due_at + stood_s
            later.first_at = None if step.first_at is None else step.first_at + stood_s
            state.steps[name] = later
