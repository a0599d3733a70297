"""Taking one step of a run through the table of moves; whoever changes a step's state gets it here."""

from __future__ import annotations

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.machine.phases import TRANSITIONS, Turn
from sagacity_engine.machine.run_state import RunState, StepState


def moved(state: RunState, name: str, turn: Turn) -> StepState:
    """Moves the step and returns its new state, which the caller may complete; nothing is due any more.

    Raises `IllegalEvent` when the table has no such move.
    """
    step = state.steps.get(name)
    if step is None:
        raise IllegalEvent(f"run {state.started.run_id!r} has no step {name!r}")
    phase = TRANSITIONS.get((step.phase, turn))
    if phase is None:
        raise IllegalEvent(
            f"step {name!r} of run {state.started.run_id!r} is {step.phase.value}; {turn.value} cannot happen"
        )
    if step.shared:
        step = state.steps[name] = step.copy()
    step.phase = phase
    step.due_at = None
    return step


def own(state: RunState, name: str) -> StepState:
    """The step's state as one that nobody shares, to be changed."""
    step = state.steps[name]
    if step.shared:
        step = state.steps[name] = step.copy()
    return step
