"""Which undos a run owes, and in what order they may start.

Two orders exist. Standard compensation takes steps back one at a time, the latest started first. Otherwise
undos run side by side as far as the reversed dependencies allow: what depends on a step is undone before it.
Either way no undo starts while a forward attempt is open, because its outcome decides what there is to undo.
A run that goes back to a savepoint owes the undos of the steps after it, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.saga import Step

FORWARD_OPEN = frozenset(
    {StepPhase.RUNNING, StepPhase.AWAITING, StepPhase.BACKING_OFF, StepPhase.DOUBTFUL, StepPhase.PROBING}
)
UNDO_OPEN = frozenset({StepPhase.UNDOING, StepPhase.UNDO_BACKING_OFF})
UNDO_ENDED = frozenset({StepPhase.UNDONE, StepPhase.COMPENSATION_FAILED})
EFFECT = frozenset({StepPhase.SUCCEEDED, StepPhase.UNCERTAIN})
_UNCERTAIN, _FAILED = StepPhase.UNCERTAIN, StepPhase.FAILED


def due_undos(state: RunState) -> Iterator[str]:
    """Undos that may start now: none before every forward attempt settled, none beside an uncertain pivot."""
    steps = state.steps
    if state.attention or any(step.phase in FORWARD_OPEN for step in steps.values()):
        return
    owed = {name: step for name, step in steps.items() if undo_owed(state, name)}
    free = [
        name
        for name, step in owed.items()
        if step.phase not in UNDO_OPEN and not any(later in owed for later in state.saga.dependants[name])
    ]
    if state.abort is not None and not state.abort.in_parallel:
        if any(step.phase in UNDO_OPEN for step in owed.values()):
            return
        # What depends on a step was started after it, unless a person skipped what stood between them.
        free = sorted(free, key=lambda name: owed[name].rank)[-1:]
    yield from free


def stray_undos(state: RunState, steps: Iterable[tuple[str, StepState]]) -> Iterator[str]:
    """Undos of those steps that were given up while the run goes on without them, or with alternatives."""
    for name, step in steps:
        if step.phase is _UNCERTAIN or step.phase is _FAILED:
            declared = state.saga.by_name[name]
            if (declared.optional or step.replaced) and takes_undo(declared, step):
                yield name


def undo_owed(state: RunState, name: str) -> bool:
    """Whether the run that turns back owes the step's undo, and it has not ended."""
    if state.rollback is not None and not state.aborting and name not in state.rollback.steps:
        return False
    step = state.steps[name]
    return step.phase in UNDO_OPEN or takes_undo(state.saga.by_name[name], step)


def held_up(state: RunState, name: str) -> bool:
    """Whether the step's undo, to be tried again, waits for one that a person has sent on its way again."""
    steps = state.steps
    return steps[name].phase is StepPhase.UNDO_BACKING_OFF and any(
        steps[later].phase in UNDO_OPEN for later in state.saga.dependants[name]
    )


def takes_undo(declared: Step, step: StepState) -> bool:
    """Whether the step's effect may exist, can be undone, and no undo has started."""
    undo = declared.compensation
    if undo is None:
        return False
    return step.phase in EFFECT or (step.phase is StepPhase.FAILED and undo.after_failure)


def stands(state: RunState, name: str) -> bool:
    """Whether an effect of the step may exist that nothing can take back."""
    declared = state.saga.by_name[name]
    leaves_effect = declared.kind != "read_only" and declared.approval is None
    return leaves_effect and state.steps[name].phase in EFFECT and declared.compensation is None
