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

from sagacity_engine.drafts import maker
from sagacity_engine.errors import FailureClass
from sagacity_engine.plan import Plan
from sagacity_engine.strategy import Strategy


class Direction(StrEnum):
    """What an attempt asks of a participant."""

    FORWARD = "forward"  # The step's action.
    UNDO = "undo"  # The step's compensation.
    PROBE = "probe"  # Whether the action, whose outcome is unknown, took effect.


class Status(StrEnum):
    """Where a run stands."""

    RUNNING = "RUNNING"  # Steps are being carried out.
    COMPENSATING = "COMPENSATING"  # The run was aborted; effects are being undone.
    COMPLETED = "COMPLETED"  # Every step that had to succeed did.
    COMPENSATED = "COMPENSATED"  # Every effect that may have happened was undone.
    NEEDS_ATTENTION = "NEEDS_ATTENTION"  # A person must decide; the reason says what about.
    ABANDONED = "ABANDONED"  # A person gave the run up, with who and why.

    @property
    def ended(self) -> bool:
        """Whether the engine does nothing more by itself."""
        return self not in (Status.RUNNING, Status.COMPENSATING)


class UnknownReason(StrEnum):
    """Why nobody can tell whether an attempt's effect happened."""

    TIMED_OUT = "timed_out"  # Our start-to-close timeout fired first.
    HEARTBEAT_LOST = "heartbeat_lost"  # The call said nothing for longer than its heartbeat timeout.
    LOST_REPLY = "lost_reply"  # The participant said it cannot tell, or the connection broke.
    CRASHED = "crashed"  # The engine stopped while the attempt was in flight.


class Answer(StrEnum):
    """What a probe found out about an action whose outcome was unknown."""

    HAPPENED = "happened"  # The effect is there.
    DID_NOT_HAPPEN = "did_not_happen"  # There is no effect, and none will come later.
    CANNOT_TELL = "cannot_tell"  # The participant does not know, or the probe itself failed.


class Action(StrEnum):
    """What a person, or a saga above this one, may do to a run."""

    RETRY = "retry"  # Try the step, or its undo, again with all its attempts.
    SKIP = "skip"  # Go on as if the step had succeeded, with the output given here.
    RESOLVE = "resolve"  # The step's effect is gone, or never was: nothing is left to undo.
    ABANDON = "abandon"  # Nothing more is done for the run.
    REDRIVE = "redrive"  # Go forward again from the step, with fresh attempts.
    UNDO = "undo"  # Take a completed run back.
    PAUSE = "pause"  # Start nothing more; the clocks stand still.
    RESUME = "resume"  # The clocks go on.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run was accepted and pinned to its definition, plan, advice and model.

    `locks` are the resource keys it holds or queues for until it ends; `parent` is the run of which it is a
    step; `traceparent` is the caller's place in a trace (W3C).
    """

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
    locks: tuple[str, ...] = ()
    parent: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocksAcquired:
    """The run holds every resource key it asked for; its steps may start."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The durable intent: written before the participant is called, which also registers the undo."""

    at: float
    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptHedged:
    """A second call of the same attempt, under the same key, is about to be made beside a slow first one."""

    at: float
    step: str
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
    """The participant definitely refused: no effect. `jitter` is the uniform draw for a possible backoff.

    `retry_after_s` is the next delay that the participant asked for; after a `terminal` refusal nothing is
    tried again. `retry_refused` says that the service's retry budget was spent. `strategy` is what an
    advisor, asked with the progress so far, chose in the plan's place.
    """

    at: float
    step: str
    direction: Direction
    attempt: int
    error_type: str
    message: str = ""
    failure_class: FailureClass = FailureClass.UNKNOWN
    jitter: float = 1.0
    retry_after_s: float | None = None
    terminal: bool = False
    retry_refused: bool = False
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUnknown:
    """Nobody can tell whether the effect happened. Other fields as in `AttemptFailed`."""

    at: float
    step: str
    direction: Direction
    attempt: int
    reason: UnknownReason
    message: str = ""
    jitter: float = 1.0
    retry_refused: bool = False
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswered:
    """A probe ended. `output` stands in for the action's own when the effect is there."""

    at: float
    step: str
    attempt: int
    answer: Answer
    output: Any = None
    message: str = ""
    jitter: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReceived:
    """Somebody told the run something; a step that waits for this name goes on."""

    at: float
    name: str
    approve: bool = True
    payload: Any = None
    who: str = ""


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
class OperatorActed:
    """A person, or the run of which this one is a step, decided something for the run."""

    at: float
    action: Action
    who: str
    why: str = ""
    step: str = ""
    output: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """Everything started after the savepoint was undone; the run goes forward from there again."""

    at: float
    savepoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The engine does nothing more by itself; `reason` and `step` say why when attention is needed."""

    at: float
    status: Status
    reason: str = ""
    step: str = ""


Event = (
    RunStarted
    | LocksAcquired
    | AttemptStarted
    | AttemptHedged
    | AttemptSucceeded
    | AttemptFailed
    | AttemptUnknown
    | ProbeAnswered
    | SignalReceived
    | DeadlineReached
    | CancelRequested
    | OperatorActed
    | RolledBack
    | RunEnded
)

run_started = maker(RunStarted)
attempt_started = maker(AttemptStarted)
attempt_succeeded = maker(AttemptSucceeded)
run_ended = maker(RunEnded)
"""Make the events of every run, as `RunStarted(...)` and the others do, but faster."""
