"""The phases of a step and the table of every move between them.

The table is data, so that the diagram in the docs, the printed table and the tests come from the same place
as the behaviour.
"""

from __future__ import annotations

from enum import StrEnum

from sagacity_engine.events import Action


class StepPhase(StrEnum):
    """Where one step of a run stands."""

    PENDING = "pending"  # Never started.
    RUNNING = "running"  # An attempt is in flight.
    AWAITING = "awaiting"  # It waits for somebody's approval.
    BACKING_OFF = "backing off"  # An attempt failed; the next one waits for its time.
    DOUBTFUL = "doubtful"  # An attempt's outcome is unknown; a probe waits for its time.
    PROBING = "probing"  # A probe is in flight.
    SUCCEEDED = "succeeded"  # The participant confirmed the effect.
    FAILED = "failed"  # Definitely refused for good: no effect exists.
    UNCERTAIN = "uncertain"  # Given up without knowing whether the effect happened.
    SKIPPED = "skipped"  # Left out: optional and failed without an effect, or skipped by a person.
    UNDOING = "undoing"  # A compensation attempt is in flight.
    UNDO_BACKING_OFF = "undo backing off"  # A compensation attempt failed; the next one waits.
    UNDONE = "undone"  # The compensation confirmed that no effect is left.
    COMPENSATION_FAILED = "compensation failed"  # The compensation's attempts ran out; a person must look.


class Turn(StrEnum):
    """What happens to a step, once events have been judged against its plan."""

    START = "start"  # An attempt's intent became durable.
    AWAIT = "await"  # The step began to wait for an approval.
    DOUBT = "doubt"  # The outcome is unknown and a probe is to find it out.
    ASK = "ask"  # A probe's intent became durable.
    SUCCEED = "succeed"  # The attempt was confirmed.
    RETRY_LATER = "retry later"  # The attempt failed and another is allowed.
    FAIL = "fail"  # No attempt is left and no effect exists.
    LOSE = "lose"  # No attempt is left and an effect may exist.
    SKIP = "skip"  # No attempt is left, but the step is optional.
    START_UNDO = "start undo"  # A compensation attempt's intent became durable.
    UNDO = "undo"  # The compensation was confirmed.
    RETRY_UNDO_LATER = "retry undo later"  # The compensation attempt failed and another is allowed.
    FAIL_UNDO = "fail undo"  # No compensation attempt is left.
    RESET = "reset"  # The step is to run again from the beginning.


def _moves(turn: Turn, reached: StepPhase, *phases: StepPhase) -> dict[tuple[StepPhase, Turn], StepPhase]:
    return {(phase, turn): reached for phase in phases}


_P = StepPhase
TRANSITIONS: dict[tuple[StepPhase, Turn], StepPhase] = {
    **_moves(Turn.START, _P.RUNNING, _P.PENDING, _P.BACKING_OFF),
    **_moves(Turn.AWAIT, _P.AWAITING, _P.PENDING),
    **_moves(Turn.SUCCEED, _P.SUCCEEDED, _P.RUNNING, _P.AWAITING, _P.PROBING),
    **_moves(Turn.DOUBT, _P.DOUBTFUL, _P.RUNNING, _P.PROBING),
    **_moves(Turn.ASK, _P.PROBING, _P.DOUBTFUL),
    **_moves(Turn.RETRY_LATER, _P.BACKING_OFF, _P.RUNNING, _P.PROBING),
    **_moves(Turn.FAIL, _P.FAILED, _P.RUNNING, _P.PROBING, _P.AWAITING, _P.BACKING_OFF),
    **_moves(Turn.LOSE, _P.UNCERTAIN, _P.RUNNING, _P.PROBING, _P.BACKING_OFF, _P.DOUBTFUL, _P.PENDING),
    **_moves(Turn.SKIP, _P.SKIPPED, _P.RUNNING, _P.PROBING, _P.AWAITING),
    **_moves(Turn.START_UNDO, _P.UNDOING, _P.SUCCEEDED, _P.UNCERTAIN, _P.FAILED, _P.UNDO_BACKING_OFF),
    **_moves(Turn.UNDO, _P.UNDONE, _P.UNDOING),
    **_moves(Turn.RETRY_UNDO_LATER, _P.UNDO_BACKING_OFF, _P.UNDOING),
    **_moves(Turn.FAIL_UNDO, _P.COMPENSATION_FAILED, _P.UNDOING),
    **_moves(Turn.RESET, _P.PENDING, _P.SUCCEEDED, _P.FAILED, _P.UNCERTAIN, _P.SKIPPED, _P.UNDONE),
}
"""Every move that happens without a person; those that a person may add are in `OPERATIONS`."""

OPERATIONS: dict[tuple[StepPhase, Action], StepPhase] = {
    (_P.FAILED, Action.RETRY): _P.BACKING_OFF,
    (_P.UNCERTAIN, Action.RETRY): _P.BACKING_OFF,
    (_P.BACKING_OFF, Action.RETRY): _P.BACKING_OFF,
    (_P.COMPENSATION_FAILED, Action.RETRY): _P.UNDO_BACKING_OFF,
    (_P.UNDO_BACKING_OFF, Action.RETRY): _P.UNDO_BACKING_OFF,
    (_P.PENDING, Action.SKIP): _P.SKIPPED,
    (_P.AWAITING, Action.SKIP): _P.SKIPPED,
    (_P.BACKING_OFF, Action.SKIP): _P.SKIPPED,
    (_P.DOUBTFUL, Action.SKIP): _P.SKIPPED,
    (_P.FAILED, Action.SKIP): _P.SKIPPED,
    (_P.UNCERTAIN, Action.SKIP): _P.SKIPPED,
    (_P.SUCCEEDED, Action.RESOLVE): _P.UNDONE,
    (_P.UNCERTAIN, Action.RESOLVE): _P.UNDONE,
    (_P.UNDO_BACKING_OFF, Action.RESOLVE): _P.UNDONE,
    (_P.COMPENSATION_FAILED, Action.RESOLVE): _P.UNDONE,
}
"""What a person may do to one step; `operations` says when."""


def transition_table() -> str:
    """The table as text, one move per line.

    >>> print(transition_table().splitlines()[0])
    pending              --start-->             running
    """
    return "\n".join(
        f"{phase.value:<20} {f'--{turn.value}-->':<22} {reached.value}"
        for (phase, turn), reached in TRANSITIONS.items()
    )


def transition_diagram() -> str:
    """The table as a Mermaid state diagram."""

    def state(phase: StepPhase) -> str:
        return phase.value.replace(" ", "_")

    moves = [
        f"    {state(phase)} --> {state(reached)}: {turn.value}"
        for (phase, turn), reached in TRANSITIONS.items()
    ]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {state(StepPhase.PENDING)}", *moves])
