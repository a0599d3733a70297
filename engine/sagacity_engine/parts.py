"""What a definition is made of besides steps: kinds, compensations, probes, approvals, locks, freedoms.

Plain values without rules of their own; `saga_rules` says which of them are legal together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sagacity_engine.retry import UNDO_ATTEMPTS, RetryPolicy
from sagacity_engine.wire import ADDED, plain_copy


class Kind(StrEnum):
    """What a step means to the saga's atomicity."""

    COMPENSATABLE = "compensatable"  # Its effect can be undone by its compensation.
    PIVOT = "pivot"  # The point of no return: once it succeeded, the saga only goes forward.
    RETRIABLE = "retriable"  # Expected to succeed if retried; may follow the pivot.
    READ_ONLY = "read_only"  # Leaves no effect, so there is nothing to undo.


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """How a step's effect is undone. `cost` is per attempt, in the owner's unit.

    With `after_failure` a step that was refused for good is taken back too, for participants that may leave
    something behind although they refuse.
    """

    action: Mapping[str, object] | None = None
    cost: float = 0.0
    start_to_close_timeout_s: float = 10.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(maximum_attempts=UNDO_ATTEMPTS))
    after_failure: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", plain_copy(self.action, "compensation.action"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How to ask whether an action whose outcome is unknown took effect.

    Asking has no effect of its own, but may make a "no" final: the engine then uses a new key.
    """

    action: Mapping[str, object] | None = None
    start_to_close_timeout_s: float = 10.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(maximum_attempts=UNDO_ATTEMPTS))

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", plain_copy(self.action, "probe.action"))


class OnExpiry(StrEnum):
    """What an approval that nobody gave in time counts as."""

    APPROVE = "approve"  # As given.
    REJECT = "reject"  # As refused.


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The step waits, durably, until somebody signals `signal` (the step's name when left out)."""

    signal: str = ""
    expires_after_s: float | None = None
    on_expiry: OnExpiry = OnExpiry.REJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When calls of a service stop being made. One service has one breaker, whichever step asks it.

    It opens after `failure_threshold` failures in a row, lets nothing through for `open_s` seconds, then at
    most `probes` calls at a time until one of them succeeds. It never holds up an undo.
    """

    failure_threshold: int = 5
    open_s: float = 30.0
    probes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFreedom:
    """Bounds, lowest and highest, that advice may choose from; None keeps the author's number.

    `hedge_delay_s` lets advice make a second call of an idempotent step when the first is that slow.
    """

    start_to_close_timeout_s: tuple[float, float] | None = None
    maximum_attempts: tuple[int, int] | None = None
    hedge_delay_s: tuple[float, float] | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFreedom:
    """What advice may do with the launch itself: delay it by at most `wait_s_max` seconds."""

    wait_s_max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFreedom:
    """Which kinds of change the owner grants advice; none by default."""

    reorder: bool = False
    parallel: bool = False
    timeouts: bool = False
    retries: bool = False
    breakers: bool = False
    compensation: bool = False
    launch: LaunchFreedom = field(default_factory=LaunchFreedom, metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPolicy:
    """What time and failure cost the owner, in the unit of the step costs."""

    latency_cost_per_s: float = 0.0
    failure_penalty: float = 0.0


class WhenHeld(StrEnum):
    """What a run does whose resource another run holds."""

    WAIT = "wait"  # The start waits until the resource is free; nothing is written before.
    REJECT = "reject"  # The start is refused.
    QUEUE = "queue"  # The run is accepted at once and its steps wait for their turn.


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A resource that no two runs hold at once, such as `room-${input.room}`: held from start to end."""

    key: str
    when_held: WhenHeld = WhenHeld.QUEUE
