"""What the barrier refuses, each with the value and the way out."""

from __future__ import annotations

from sagacity_engine.errors import EngineError, FailureClass, OutcomeUnknown, TerminalError


class BarrierMisused(EngineError):
    """The participant's code calls the barrier wrongly; what the block did is rolled back."""


class Hanging(TerminalError):
    """An action that comes after its undo, or after the answer that it did not happen: it must not act."""

    def __init__(self, key: str) -> None:
        super().__init__(
            "Hanging",
            f"the action under key {key!r} comes too late and is refused: it was undone, or reported as not "
            "having happened; to act again, use a new key",
            FailureClass.PERMANENT,
        )


def torn(key: str) -> OutcomeUnknown:
    """The refusal of a key whose block was left half done by a commit in its middle."""
    return OutcomeUnknown(
        f"the block under key {key!r} was committed before it ended, so part of its effect may be there; "
        "look at the data, then correct or delete that row of saga_barrier"
    )


def ended_early() -> BarrierMisused:
    """The refusal of a block in which somebody committed or rolled back."""
    return BarrierMisused(
        "the transaction was committed or rolled back inside the barrier's block; "
        "leave its end to the barrier, or to what follows the block"
    )


def committed_apart() -> BarrierMisused:
    """The refusal of a connection on which the row and the effect would not be one transaction."""
    return BarrierMisused(
        "the barrier's row and the effect would be committed apart: the connection is in autocommit, or has "
        "no transaction to join; turn autocommit off, or, to join, open one first (BEGIN IMMEDIATE in SQLite)"
    )


def in_the_middle() -> BarrierMisused:
    """The refusal of a connection with changes that are none of the block's."""
    return BarrierMisused(
        "the connection is in the middle of a transaction, whose other changes would be committed with the "
        "block's; end it first, or build the barrier with `joins=True` and commit after the block"
    )
