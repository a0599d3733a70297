"""When a step no longer holds up those that wait for it."""

from __future__ import annotations

from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.undo_order import UNDO_ENDED, takes_undo

_SUCCEEDED, _SKIPPED = StepPhase.SUCCEEDED, StepPhase.SKIPPED


def settled(state: RunState, name: str) -> bool:
    """Whether the run may go on from the step.

    It succeeded, or was skipped; or the run goes on without it, or with its alternative, and its effect, if
    it may have one that can be undone, has been dealt with, well or badly; or it is an alternative nobody
    needs.
    """
    step = state.steps[name]
    phase = step.phase
    if phase is _SUCCEEDED or phase is _SKIPPED:
        return True
    declared = state.saga.by_name[name]
    if declared.optional or step.replaced:
        if phase is StepPhase.FAILED or phase is StepPhase.UNCERTAIN:
            return not takes_undo(declared, step)
        return phase in UNDO_ENDED
    if declared.alternative_to and phase is StepPhase.PENDING:
        replaced = state.steps[declared.alternative_to]
        return not replaced.replaced and settled(state, declared.alternative_to)
    return False
