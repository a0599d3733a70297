"""How an attempt ended, in the few words that spans and metrics share.

Nothing of a payload is here: no output, no message. `error_type` is the participant's name for what went
wrong, cut to a length; the reason stands in for it where the outcome is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState

ERROR_TYPE_MAX = 100
"""The most characters of an error's type that are told."""


class Outcome(StrEnum):
    """What became of one attempt."""

    SUCCEEDED = "succeeded"  # The participant confirmed it.
    FAILED = "failed"  # The participant definitely refused.
    UNKNOWN = "unknown"  # Nobody can tell.
    HAPPENED = "happened"  # A probe found the effect.
    DID_NOT_HAPPEN = "did_not_happen"  # A probe found that there is none.
    CANNOT_TELL = "cannot_tell"  # A probe found out nothing.
    GIVEN_UP = "given_up"  # Nobody waits for it any more: an approval that the run can do without.


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of one attempt; `failure_class` and `error_type` are empty where they mean nothing."""

    step: str
    direction: Direction
    attempt: int
    outcome: Outcome
    failure_class: str = ""
    error_type: str = ""

    @property
    def timed_out(self) -> bool:
        """Whether a timeout of ours ended it."""
        return self.error_type in (UnknownReason.TIMED_OUT, UnknownReason.HEARTBEAT_LOST) and (
            self.outcome is Outcome.UNKNOWN
        )


def attempt_end(event: Event) -> AttemptEnd | None:
    """The end that the event tells of, if it tells of one."""
    match event:
        case AttemptSucceeded():
            return AttemptEnd(event.step, event.direction, event.attempt, Outcome.SUCCEEDED)
        case AttemptFailed():
            named = event.error_type[:ERROR_TYPE_MAX]
            failure_class = event.failure_class.value
            return AttemptEnd(
                event.step, event.direction, event.attempt, Outcome.FAILED, failure_class, named
            )
        case AttemptUnknown():
            reason = event.reason.value
            return AttemptEnd(event.step, event.direction, event.attempt, Outcome.UNKNOWN, error_type=reason)
        case ProbeAnswered():
            return AttemptEnd(event.step, Direction.PROBE, event.attempt, Outcome(event.answer.value))
        case _:
            return None


def is_retry(state: RunState, event: AttemptStarted) -> bool:
    """Whether the attempt repeats one of the same direction, and is not the first of fresh ones."""
    step = state.steps[event.step]
    base = {
        Direction.FORWARD: step.base,
        Direction.UNDO: step.undo_base,
        Direction.PROBE: step.probe_base,
    }[event.direction]
    return event.attempt > base + 1


def given_up(state: RunState, step: str) -> bool:
    """Whether the step waited for an approval and does so no more: the one end that has no event."""
    waits = state.saga.by_name[step].approval is not None
    return waits and state.steps[step].phase is not StepPhase.AWAITING
