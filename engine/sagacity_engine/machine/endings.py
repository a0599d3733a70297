"""How a run ends once nothing is in flight and nothing is owed: well, taken back, given up, or with a person.

A run that a person must look at says why, and what may be done about it. Every error of undos that went
side by side is kept: each step has its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import RunEnded, Status, run_ended
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.settling import settled
from sagacity_engine.machine.undo_order import stands

_NOT_DONE = frozenset({StepPhase.FAILED, StepPhase.UNCERTAIN, StepPhase.UNDONE})
_SUCCEEDED = StepPhase.SUCCEEDED


def ending(state: RunState, now: float) -> RunEnded:
    """The end, at time `now`, of a run for which nothing more can be done."""
    if state.abandoned is not None:
        why = f"abandoned by {state.abandoned.who}: {state.abandoned.why}".rstrip(": ")
        return RunEnded(at=now, status=Status.ABANDONED, reason=why, step=state.abandoned.step)
    for name, reason in troubles(state):
        return RunEnded(at=now, status=Status.NEEDS_ATTENTION, reason=reason, step=name)
    if state.abort is not None and state.aborting:
        return RunEnded(at=now, status=Status.COMPENSATED, reason=state.abort.cause, step=state.abort.step)
    return run_ended(at=now, status=Status.COMPLETED)


def troubles(state: RunState) -> Iterator[tuple[str, str]]:
    """Every (step, reason) that a person must look at before the run can end."""
    yield from state.attention
    noted = {name for name, _ in state.attention}
    turning_back = state.aborting or state.rollback is not None
    for name, step in state.steps.items():
        if (step.phase is _SUCCEEDED and not turning_back) or name in noted:
            continue
        if step.phase is StepPhase.COMPENSATION_FAILED:
            yield name, f"its compensation failed for good: {step.error}"
        elif _is_taken_back(state, name):
            if stands(state, name):
                yield name, "its effect stands and has no compensation"
        elif state.rollback is None and step.phase in _NOT_DONE and not settled(state, name):
            # The pivot succeeded although the run had turned back: what gave up before that is not done.
            yield name, f"given up before the pivot succeeded: {step.error}"


def rollback_ending(state: RunState, now: float) -> RunEnded | None:
    """Why a run cannot begin anew from its savepoint; None when everything after it is taken back."""
    noted = {name for name, _ in state.attention}
    for name, reason in troubles(state):
        if name in noted or _is_taken_back(state, name):
            return RunEnded(at=now, status=Status.NEEDS_ATTENTION, reason=reason, step=name)
    return None


def _is_taken_back(state: RunState, name: str) -> bool:
    """Whether the run turns back and takes this step with it."""
    return state.aborting or (state.rollback is not None and name in state.rollback.steps)
