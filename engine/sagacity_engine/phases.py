"""The phases of a step and the table of every move between them.

The table is data, so that the diagram in the docs, the printed table and the tests come from the same place
as the behaviour.
"""

from __future__ import annotations

from enum import StrEnum


class StepPhase(StrEnum):
    """Where one step of a run stands."""

    PENDING = "pending"  # Never started.
    RUNNING = "running"  # An attempt is in flight.
    BACKING_OFF = "backing off"  # An attempt failed; the next one waits for its time.
    SUCCEEDED = "succeeded"  # The participant confirmed the effect.
    FAILED = "failed"  # Definitely refused for good: no effect exists.
    UNCERTAIN = "uncertain"  # Given up without knowing whether the effect happened.
    SKIPPED = "skipped"  # Optional, failed, and left out without an effect.
    UNDOING = "undoing"  # A compensation attempt is in flight.
    UNDO_BACKING_OFF = "undo backing off"  # A compensation attempt failed; the next one waits.
    UNDONE = "undone"  # The compensation confirmed that no effect is left.
    COMPENSATION_FAILED = "compensation failed"  # The compensation's attempts ran out; a person must look.


class Turn(StrEnum):
    """What happens to a step, once events have been judged against its plan."""

    START = "start"  # An attempt's intent became durable.
    SUCCEED = "succeed"  # The attempt was confirmed.
    RETRY_LATER = "retry later"  # The attempt failed and another is allowed.
    FAIL = "fail"  # No attempt is left and no effect exists.
    LOSE = "lose"  # No attempt is left and an effect may exist.
    SKIP = "skip"  # No attempt is left, but the step is optional.
    START_UNDO = "start undo"  # A compensation attempt's intent became durable.
    UNDO = "undo"  # The compensation was confirmed.
    RETRY_UNDO_LATER = "retry undo later"  # The compensation attempt failed and another is allowed.
    FAIL_UNDO = "fail undo"  # No compensation attempt is left.


TRANSITIONS: dict[tuple[StepPhase, Turn], StepPhase] = {
    (StepPhase.PENDING, Turn.START): StepPhase.RUNNING,
    (StepPhase.RUNNING, Turn.SUCCEED): StepPhase.SUCCEEDED,
    (StepPhase.RUNNING, Turn.RETRY_LATER): StepPhase.BACKING_OFF,
    (StepPhase.RUNNING, Turn.FAIL): StepPhase.FAILED,
    (StepPhase.RUNNING, Turn.LOSE): StepPhase.UNCERTAIN,
    (StepPhase.RUNNING, Turn.SKIP): StepPhase.SKIPPED,
    (StepPhase.BACKING_OFF, Turn.START): StepPhase.RUNNING,
    (StepPhase.BACKING_OFF, Turn.FAIL): StepPhase.FAILED,
    (StepPhase.BACKING_OFF, Turn.LOSE): StepPhase.UNCERTAIN,
    (StepPhase.SUCCEEDED, Turn.START_UNDO): StepPhase.UNDOING,
    (StepPhase.UNCERTAIN, Turn.START_UNDO): StepPhase.UNDOING,
    (StepPhase.UNDOING, Turn.UNDO): StepPhase.UNDONE,
    (StepPhase.UNDOING, Turn.RETRY_UNDO_LATER): StepPhase.UNDO_BACKING_OFF,
    (StepPhase.UNDOING, Turn.FAIL_UNDO): StepPhase.COMPENSATION_FAILED,
    (StepPhase.UNDO_BACKING_OFF, Turn.START_UNDO): StepPhase.UNDOING,
}


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
