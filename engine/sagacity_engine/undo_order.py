"""Which undos a run owes, and in what order they may start.

Two orders exist. Standard compensation takes steps back one at a time, the latest started first. Otherwise
undos run side by side as far as the reversed dependencies allow: what depends on a step is undone before it.
Either way no undo starts while a forward attempt is open, because its outcome decides what there is to undo.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.phases import StepPhase
from sagacity_engine.run_state import RunState

FORWARD_OPEN = (StepPhase.RUNNING, StepPhase.BACKING_OFF)
UNDO_OPEN = (StepPhase.UNDOING, StepPhase.UNDO_BACKING_OFF)
UNDO_ENDED = (StepPhase.UNDONE, StepPhase.COMPENSATION_FAILED)
EFFECT = (StepPhase.SUCCEEDED, StepPhase.UNCERTAIN)


def due_undos(state: RunState) -> Iterator[str]:
    """Undos that may start now: none before every forward attempt settled, none beside an uncertain pivot."""
    if state.attention or any(step.phase in FORWARD_OPEN for step in state.steps.values()):
        return
    owed = {name: step for name, step in state.steps.items() if undo_owed(state, name)}
    abort = state.abort
    if abort is not None and not abort.in_parallel and owed:
        if any(step.phase in UNDO_OPEN for step in owed.values()):
            return
        latest = max(owed, key=lambda name: owed[name].rank)
        owed = {latest: owed[latest]}
    for name, step in owed.items():
        if step.phase in UNDO_OPEN or any(undo_owed(state, later) for later in state.saga.dependants[name]):
            continue
        yield name


def stray_undos(state: RunState) -> Iterator[str]:
    """Undos of optional steps whose effect is uncertain while the run goes on without them."""
    for name, step in state.steps.items():
        declared = state.saga.by_name[name]
        if step.phase is StepPhase.UNCERTAIN and declared.optional and declared.compensation is not None:
            yield name


def undo_owed(state: RunState, name: str) -> bool:
    """Whether the step's effect may exist, can be undone, and its undo has not ended."""
    phase = state.steps[name].phase
    if phase in UNDO_OPEN:
        return True
    return phase in EFFECT and state.saga.by_name[name].compensation is not None
