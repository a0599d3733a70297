"""What follows when a step is given up: its alternative, a savepoint, or the whole run turns back.

After the pivot nothing turns back: what cannot go forward needs a person. A run that has turned back stays
turned back, unless its pivot, still in flight then, succeeds after all.
"""

from __future__ import annotations

from sagacity_engine import precedence
from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import RolledBack
from sagacity_engine.machine.moves import moved
from sagacity_engine.machine.phases import StepPhase, Turn
from sagacity_engine.machine.run_state import Abort, Rollback, RunState, StepState
from sagacity_engine.machine.verdict import Verdict
from sagacity_engine.parts import Kind
from sagacity_engine.strategy import Strategy


def after_final_failure(state: RunState, name: str, decision: Verdict) -> None:
    """Decides for a step that failed for good, or whose outcome stays unknown."""
    step, phase = state.saga.by_name[name], state.steps[name].phase
    if step.optional:
        return
    if step.kind is Kind.PIVOT and phase is StepPhase.UNCERTAIN:
        attend(state, name, f"whether the pivot took effect is unknown: {decision.error}")
        return
    forward = decision.strategy is Strategy.FORWARD_RECOVERY and name in state.saga.alternatives
    if forward and not state.aborting and state.rollback is None:
        state.steps[name].replaced = True
    elif state.committed:
        attend(state, name, f"failed after the pivot: {decision.error}")
    elif decision.strategy is Strategy.ROLLBACK_TO_SAVEPOINT and _roll_back(state, name, decision.error):
        return
    else:
        in_parallel = decision.strategy.undoes_in_parallel
        turn_back(state, Abort(f"step {name!r} failed: {decision.error}", name, in_parallel))


def attend(state: RunState, name: str, reason: str) -> None:
    """Notes that a person must look at the step."""
    state.attention = (*state.attention, (name, reason))


def turn_back(state: RunState, abort: Abort) -> None:
    """Aborts, unless the pivot has succeeded or the run turned back before; steps that wait give up."""
    if state.committed or state.abort is not None:
        return
    state.abort = abort
    state.rollback = None
    for name in state.saga.names:
        _stop_waiting(state, name)


def begin_anew(state: RunState, event: RolledBack) -> None:
    """Resets every step after the savepoint; raises `IllegalEvent` when the run is not going back to it."""
    rollback = state.rollback
    if rollback is None or rollback.savepoint != event.savepoint:
        raise IllegalEvent(f"run {state.started.run_id!r} is not going back to {event.savepoint!r}")
    for name in state.saga.names:
        if name in rollback.steps and state.steps[name].phase is not StepPhase.PENDING:
            reset(state, name)
    state.rollback = None
    state.rollbacks += 1


def reset(state: RunState, name: str) -> None:
    """The step is to run again, with fresh attempts, and under a new key if its effect was taken back."""
    new_key = state.steps[name].phase in (StepPhase.UNDONE, StepPhase.SUCCEEDED)
    step = moved(state, name, Turn.RESET)
    step.base, step.undo_base, step.probe_base = step.attempts, step.undo_attempts, step.probes
    step.first_at, step.replaced, step.landed = None, False, False
    if new_key:
        step.round += 1
        step.effect_possible = False
    state.outputs = {key: value for key, value in state.outputs.items() if key != name}
    forget_signal(state, name)


def forget_signal(state: RunState, name: str) -> None:
    """An approval that is asked for again is not answered by what somebody said before."""
    approval = state.saga.by_name[name].approval
    if approval is not None and approval.signal in state.signals:
        state.signals = {key: value for key, value in state.signals.items() if key != approval.signal}


def _roll_back(state: RunState, failed: str, error: str) -> bool:
    """Whether the run now goes back to its latest savepoint."""
    if state.aborting or state.rollbacks >= state.saga.rollbacks_max:
        return False
    if state.rollback is not None:
        return True  # It goes back already.
    reached = [
        step.name
        for step in state.saga.steps
        if step.savepoint
        and state.steps[step.name].phase is StepPhase.SUCCEEDED
        and failed not in _ancestors(state, step.name)  # Else it was reached before a person redrove the run.
    ]
    if not reached:
        return False
    savepoint = max(reached, key=lambda name: state.steps[name].rank)
    after = frozenset(state.saga.names) - {savepoint} - _ancestors(state, savepoint)
    state.rollback = Rollback(savepoint, f"step {failed!r} failed: {error}", after)
    for name in state.saga.names:
        if name in after:
            _stop_waiting(state, name)
    return True


def _ancestors(state: RunState, name: str) -> frozenset[str]:
    names = state.plan.names
    mask = precedence.ancestors(names, {step.name: step.after for step in state.plan.steps})[name]
    return frozenset(other for place, other in enumerate(names) if mask >> place & 1)


def _stop_waiting(state: RunState, name: str) -> None:
    """Nothing new is tried for the step, unless only another try can tell whether it took effect."""
    step, declared = state.steps[name], state.saga.by_name[name]
    if step.phase is StepPhase.RUNNING:
        if step.due_at is not None:
            step = step.copy()
            step.due_at = None  # No hedge any more.
            state.steps[name] = step
    elif _is_harmless(step):
        moved(state, name, Turn.FAIL)
    elif (step.phase is StepPhase.BACKING_OFF and declared.kind is not Kind.PIVOT) or (
        step.phase is StepPhase.DOUBTFUL and declared.compensation is not None
    ):
        moved(state, name, Turn.LOSE)
    elif step.phase is StepPhase.PENDING and step.effect_possible:
        # It was to be tried again, and what it did before that is still in doubt.
        moved(state, name, Turn.LOSE)
        if declared.kind is Kind.PIVOT:
            attend(state, name, f"whether the pivot took effect is unknown: {step.error}")


def _is_harmless(step: StepState) -> bool:
    """Whether the step waits, and has left no effect so far."""
    backing_off = step.phase is StepPhase.BACKING_OFF and not step.effect_possible
    return backing_off or step.phase is StepPhase.AWAITING
