"""What can happen to a run: the frozen events that the journal keeps, in order, for ever.

A run's state is the fold of its events, so whatever a replay needs is *in* the event: times, and the uniform
draw that its backoff uses. Times are seconds since the epoch; a step's attempts are numbered from 1 in each
direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sagacity_engine.errors import FailureClass
from sagacity_engine.plan import Plan


class Direction(StrEnum):
    """Whether an attempt does a step's work or takes it back."""

    FORWARD = "forward"  # The step's action.
    UNDO = "undo"  # The step's compensation.


class Status(StrEnum):
    """Where a run stands."""

    RUNNING = "RUNNING"  # Steps are being carried out.
    COMPENSATING = "COMPENSATING"  # The run was aborted; effects are being undone.
    COMPLETED = "COMPLETED"  # Every step that had to succeed did.
    COMPENSATED = "COMPENSATED"  # Every effect that may have happened was undone.
    NEEDS_ATTENTION = "NEEDS_ATTENTION"  # A person must decide; the reason says what about.

    @property
    def ended(self) -> bool:
        """Whether the engine does nothing more by itself."""
        return self in (Status.COMPLETED, Status.COMPENSATED, Status.NEEDS_ATTENTION)


class UnknownReason(StrEnum):
    """Why nobody can tell whether an attempt's effect happened."""

    TIMED_OUT = "timed_out"  # Our start-to-close timeout fired first.
    LOST_REPLY = "lost_reply"  # The participant said it cannot tell, or the connection broke.
    CRASHED = "crashed"  # The engine stopped while the attempt was in flight.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run was accepted and pinned to its definition, plan, advice and model."""

    run_id: str
    at: float
    definition_hash: str
    plan: Plan
    input: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    arm: str = "author"
    propensity: float = 1.0
    fallback: bool = True
    advice_id: str = ""
    model_version: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The durable intent: written before the participant is called, which also registers the undo."""

    at: float
    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSucceeded:
    """The participant confirmed that it did what was asked."""

    at: float
    step: str
    direction: Direction
    attempt: int
    output: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """The participant definitely refused: no effect. `jitter` is the uniform draw for a possible backoff."""

    at: float
    step: str
    direction: Direction
    attempt: int
    error_type: str
    message: str = ""
    failure_class: FailureClass = FailureClass.UNKNOWN
    jitter: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUnknown:
    """Nobody can tell whether the effect happened. `jitter` is the uniform draw for a possible backoff."""

    at: float
    step: str
    direction: Direction
    attempt: int
    reason: UnknownReason
    message: str = ""
    jitter: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineReached:
    """The saga's deadline passed while it was running."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody asked to cancel the run."""

    at: float
    who: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The engine does nothing more by itself; `reason` and `step` say why when attention is needed."""

    at: float
    status: Status
    reason: str = ""
    step: str = ""


Event = (
    RunStarted
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptUnknown
    | DeadlineReached
    | CancelRequested
    | RunEnded
)
