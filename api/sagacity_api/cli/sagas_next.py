"""What a person may do about a run now, as commands to copy. Pure functions.

Nothing is offered that the run would refuse: every offer is held against `operations.refusal` first. For a
run that needs attention these are the ways on for each step that holds it up; for any other the few that make
sense where it stands.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagacity_engine.events import Action, CancelRequested, Event, OperatorActed, SignalReceived, Status
from sagacity_engine.machine.operations import OF_A_STEP, next_actions, refusal
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState

WHY_NEEDED = frozenset({Action.SKIP, Action.RESOLVE, Action.ABANDON, Action.REDRIVE})
"""Decisions that put a person's word in the place of what a participant said."""

_HELD_UP = (StepPhase.BACKING_OFF, StepPhase.DOUBTFUL, StepPhase.UNDO_BACKING_OFF)
_UNDONE_AGAIN = (StepPhase.COMPENSATION_FAILED, StepPhase.UNDO_BACKING_OFF)
_MEANINGS = {
    Action.RETRY: "try {step} again, with all its attempts",
    Action.SKIP: "go on as if {step} had succeeded",
    Action.RESOLVE: "say that nothing of {step} is left to undo",
    Action.ABANDON: "give the run up: nothing more is done for it",
    Action.REDRIVE: "go forward again, with fresh attempts",
    Action.UNDO: "take the run back, step by step",
    Action.PAUSE: "start nothing more for now",
    Action.RESUME: "let it go on",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that may be done: the verb, what follows the run's id, and what it means."""

    verb: str
    rest: tuple[str, ...]
    meaning: str

    def command(self, journal: Path, run_id: str) -> str:
        """The command line, for a shell."""
        return shlex.join(["sagacity", "sagas", self.verb, str(journal), run_id, *self.rest])


def offers(state: RunState) -> tuple[Offer, ...]:
    """What may be done about the run now, the most useful first."""
    if state.status is Status.NEEDS_ATTENTION:
        return tuple(_for_attention(state))
    return () if state.abandoned is not None else tuple(_for_any(state))


def _for_attention(state: RunState) -> Iterator[Offer]:
    redrive = False
    for step, actions in next_actions(state):
        yield from (_of_step(state, action, step) for action in actions if action in OF_A_STEP)
        redrive = redrive or Action.REDRIVE in actions
    if redrive or not refusal(state, _acted(Action.REDRIVE)):
        yield _offer(Action.REDRIVE)
    yield _offer(Action.ABANDON)


def _for_any(state: RunState) -> Iterator[Offer]:
    yield from _signals(state)
    for name, step in state.steps.items():
        if step.phase in _HELD_UP:
            yield from (
                _of_step(state, action, name)
                for action in OF_A_STEP
                if not refusal(state, _acted(action, name))
            )
    for action in (Action.RESUME, Action.PAUSE, Action.REDRIVE, Action.UNDO):
        if not refusal(state, _acted(action)):
            yield _offer(action)
    turning = state.abort is not None or state.committed
    if not turning and not refusal(state, CancelRequested(at=0.0, who="")):
        yield Offer("cancel", (), "turn the run back")


def _signals(state: RunState) -> Iterator[Offer]:
    for step in state.saga.steps:
        if step.approval is None or state.steps[step.name].phase is not StepPhase.AWAITING:
            continue
        name = step.approval.signal
        if not refusal(state, SignalReceived(at=0.0, name=name)):
            yield Offer("signal", (name, "--approve"), f"approve {name}")
            yield Offer("signal", (name, "--reject"), f"reject {name}")


def _of_step(state: RunState, action: Action, step: str) -> Offer:
    if action is not Action.RETRY:
        return _offer(action, step)
    if state.steps[step].phase in _UNDONE_AGAIN:
        return _offer(action, step, f"undo {step} again, with all its attempts")
    risky = state.steps[step].effect_possible and not state.saga.by_name[step].idempotent
    warning = ": it may take effect twice" if risky else ""
    return _offer(action, step, _MEANINGS[action].format(step=step) + warning)


def _offer(action: Action, step: str = "", meaning: str = "") -> Offer:
    # The reason is left to whoever copies the command: dots alone are refused.
    why = ("--why", "...") if action in WHY_NEEDED else ()
    meaning = meaning or _MEANINGS[action].format(step=step)
    return Offer(action.value, ((step,) if step else ()) + why, meaning)


def _acted(action: Action, step: str = "") -> Event:
    return OperatorActed(at=0.0, action=action, who="", step=step)
