"""Participants of runs in virtual time: how they reply, and what the reply to a call means.

An attempt is one call, or two beside each other when it was hedged. It has one outcome: the first success,
else what the last of its calls came to; and when one of them may have taken effect, nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.machine.run_state import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a participant will answer a call, `duration_s` after it was made; no error type means success."""

    duration_s: float
    error_type: str = ""
    message: str = ""
    failure_class: FailureClass = FailureClass.UNKNOWN
    output: Any = None
    lost: bool = False  # The answer never arrives as such: the caller cannot tell what happened.
    answer: Answer = Answer.CANNOT_TELL  # To a probe.
    retry_after_s: float | None = None
    terminal: bool = False


class Services(Protocol):
    """The participants of virtual runs."""

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """How this call goes; asked at the moment it is made, once more for a hedge."""
        ...

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Told when the caller stops waiting for the call: the reply came or the timeout fired."""
        ...


@dataclass(slots=True)
class OpenAttempt:
    """An attempt in flight and the calls made for it."""

    attempt: AttemptStarted
    calls: int = 0
    unknown: bool = False
    settled: bool = False

    def close(self, reply: Reply, *, timed_out: bool, now: float, draw: Callable[[], float]) -> Event | None:
        """The end of one of its calls: the attempt's outcome, or None while the other call may decide it."""
        self.calls -= 1
        if self.settled:
            return None
        outcome = self._outcome(reply, timed_out, now, draw)
        self.unknown = self.unknown or isinstance(outcome, AttemptUnknown)
        if self.calls and not isinstance(outcome, AttemptSucceeded):
            return None
        self.settled = True
        return outcome

    def _outcome(self, reply: Reply, timed_out: bool, now: float, draw: Callable[[], float]) -> Event:
        attempt = self.attempt
        step, direction, number = attempt.step, attempt.direction, attempt.attempt
        fine = not timed_out and not reply.lost and not reply.error_type
        if direction is Direction.PROBE:
            return ProbeAnswered(
                at=now,
                step=step,
                attempt=number,
                answer=reply.answer if fine else Answer.CANNOT_TELL,
                output=reply.output if fine else None,
                jitter=draw(),
            )
        if fine:
            return AttemptSucceeded(
                at=now, step=step, direction=direction, attempt=number, output=reply.output
            )
        if timed_out or reply.lost or self.unknown:
            return AttemptUnknown(
                at=now,
                step=step,
                direction=direction,
                attempt=number,
                reason=UnknownReason.TIMED_OUT if timed_out else UnknownReason.LOST_REPLY,
                jitter=draw(),
            )
        return AttemptFailed(
            at=now,
            step=step,
            direction=direction,
            attempt=number,
            error_type=reply.error_type,
            message=reply.message,
            failure_class=reply.failure_class,
            jitter=draw(),
            retry_after_s=reply.retry_after_s,
            terminal=reply.terminal,
        )
