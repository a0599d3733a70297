"""What a host calls: the functions behind a saga's steps, and what each call is told.

A `BoundSaga` is a definition with a function for every action and every compensation, complete by
construction. A function takes one frozen `Call` and is plain or `async`. What it returns is the step's output
(JSON-able, at most `OUTPUT_BYTES_MAX`). It says how it went by how it ends:

- it returns: the effect happened;
- it raises `StepError`: the effect did *not* happen;
- it raises `OutcomeUnknown`, or anything else, or is cut off by its timeout: nobody can tell.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sagacity_engine.drafts import maker
from sagacity_engine.errors import SagaRefused
from sagacity_engine.events import Answer, Direction
from sagacity_engine.saga import Saga, Step
from sagacity_engine.trace_context import child

KEY_NAMESPACE = uuid.UUID("5a6ac117-0000-5000-8000-73616761636f")
OUTPUT_BYTES_MAX = 1 << 20
"""The longest output of one step, as JSON in UTF-8; a longer one makes the attempt's outcome unknown."""


class Effect(StrEnum):
    """What became of the action that a compensation takes back."""

    SUCCEEDED = "succeeded"  # The participant confirmed it.
    FAILED = "failed"  # The participant refused for good.
    UNKNOWN = "unknown"  # Nobody can tell.


def _no_heartbeat() -> None:
    """Nobody listens to this call's heartbeats."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe returns: whether the action took effect, and the output to go on with if it did."""

    answer: Answer
    output: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt, as the function behind it sees it. Times are seconds since the epoch.

    `idempotency_key` is the same for every attempt of this step in this direction, over retries and restarts;
    `undoes` is the key of the action that a compensation takes back, or that a probe asks about. `effect`
    tells a compensation what became of the action: when it is not SUCCEEDED, `output` is None and the
    participant must treat "nothing to undo" as success. `heartbeat` says that a long call is alive.
    `traceparent` is this call's place in a trace (W3C).
    """

    run_id: str
    saga: str
    step: str
    direction: Direction
    attempt: int
    input: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, str | float | bool] = field(default_factory=dict)
    timeout_s: float = 10.0
    deadline_at: float | None = None
    effect: Effect = Effect.SUCCEEDED
    again: int = 0  # How often the step was taken back and begun anew.
    trace: str = ""  # The traceparent of the run's caller.
    heartbeat: Callable[[], None] = field(default=_no_heartbeat, compare=False, repr=False)

    @property
    def idempotency_key(self) -> str:
        """The key of every attempt of this step in this direction, over retries and restarts."""
        return idempotency_key(self.run_id, self.step, self.direction, self.again)

    @property
    def undoes(self) -> str:
        """The key of the action that a compensation takes back, or that a probe asks about; else ""."""
        if self.direction is Direction.FORWARD:
            return ""
        return idempotency_key(self.run_id, self.step, Direction.FORWARD, self.again)

    @property
    def traceparent(self) -> str:
        """This call's place in a trace (W3C Trace Context)."""
        return child(self.trace, self.run_id, self.step, self.direction, self.attempt)

    @property
    def output(self) -> Any:
        """For a compensation: what the step's action returned, or None when it did not return."""
        return self.outputs.get(self.step) if self.effect is Effect.SUCCEEDED else None

    @property
    def effect_known(self) -> bool:
        """Whether the outcome of what a compensation takes back is known."""
        return self.effect is not Effect.UNKNOWN


new_call = maker(Call)
"""Makes a call as `Call(...)` does, faster; it must be given the mappings."""

Action = Callable[[Call], Any]
"""The function behind an action or a compensation, plain or `async`."""


@dataclass(frozen=True, slots=True)
class Handler:
    """The functions behind one step."""

    action: Action
    compensation: Action | None = None
    probe: Action | None = None  # Returns `Found`, or True or False.

    def function(self, direction: Direction) -> Action | None:
        """What an attempt in this direction calls."""
        match direction:
            case Direction.FORWARD:
                return self.action
            case Direction.UNDO:
                return self.compensation
            case Direction.PROBE:
                return self.probe


@dataclass(frozen=True, slots=True)
class BoundSaga:
    """A definition that can be run. Raises `SagaRefused` naming the step that lacks a function.

    `inner` holds the bound sagas of the steps that are sagas; those, and approvals, have no functions.
    """

    saga: Saga
    handlers: Mapping[str, Handler]
    inner: Mapping[str, BoundSaga] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.saga.steps:
            if step.approval is not None:
                continue
            if step.sub_saga is not None:
                self._require_inner(step)
                continue
            if step.name not in self.handlers:
                raise SagaRefused(f"step {step.name!r} of saga {self.saga.name!r} has no function; bind one")
            undo = self.handlers[step.name].compensation
            if step.compensation is not None and undo is None:
                raise SagaRefused(
                    f"step {step.name!r} of saga {self.saga.name!r} is {step.kind.value} and has no function "
                    "for its compensation; bind one"
                )
            if step.compensation is None and undo is not None:
                raise SagaRefused(
                    f"step {step.name!r} of saga {self.saga.name!r} has a function for a compensation that "
                    "its definition does not declare; declare it, or leave the function out"
                )
            if (step.probe is None) != (self.handlers[step.name].probe is None):
                lacking = "a function for a probe" if step.probe is None else "a probe"
                other = "declare" if step.probe is None else "have a function for"
                raise SagaRefused(
                    f"step {step.name!r} of saga {self.saga.name!r} has {lacking} that it does not {other}; "
                    "give it both, or neither"
                )
        for name in (*self.handlers, *self.inner):
            if name not in self.saga.by_name:
                raise SagaRefused(
                    f"{name!r} is no step of saga {self.saga.name!r}; the steps are "
                    + ", ".join(self.saga.names)
                )
        self._require_nothing_idle()

    def _require_nothing_idle(self) -> None:
        for step in self.saga.steps:
            where = f"step {step.name!r} of saga {self.saga.name!r}"
            if step.name in self.inner and step.sub_saga is None:
                raise SagaRefused(f"{where} is no saga of its own; leave the inner one out")
            if step.name in self.handlers and (step.approval is not None or step.sub_saga is not None):
                what = "waits for an approval" if step.approval is not None else "is a saga of its own"
                raise SagaRefused(f"{where} {what}, which calls no function; leave the function out")

    def _require_inner(self, step: Step) -> None:
        bound = self.inner.get(step.name)
        assert step.sub_saga is not None, "only a step that is a saga has an inner one"
        if bound is None:
            raise SagaRefused(
                f"step {step.name!r} of saga {self.saga.name!r} is a saga whose functions are missing; bind "
                "it and hand it in as inner"
            )
        if bound.saga != step.sub_saga.saga:
            raise SagaRefused(
                f"step {step.name!r} of saga {self.saga.name!r} is bound to another saga than it declares; "
                "bind the declared one"
            )


def bind(
    saga: Saga, handlers: Mapping[str, Handler], inner: Mapping[str, BoundSaga] | None = None
) -> BoundSaga:
    """The definition with its functions, by step name; raises `SagaRefused` when one lacks or is too many."""
    return BoundSaga(saga, dict(handlers), dict(inner or {}))


def idempotency_key(run_id: str, step: str, direction: Direction, again: int = 0) -> str:
    """The key of every attempt of one step in one direction of one run.

    A step that was taken back and begun anew (`again` counts how often) has a new one.

    >>> idempotency_key("trip-1", "pay", Direction.FORWARD)
    '1f6d0326-260f-5d37-a2a2-b27c2b13e26a'
    >>> idempotency_key("trip-1", "pay", Direction.UNDO)
    'cbeebe92-5aa0-55bb-bd9b-209bcbd38157'
    """
    name = f"{run_id}/{step}/{direction.value}/{again}" if again else f"{run_id}/{step}/{direction.value}"
    # What `uuid.uuid5` computes, without making its objects: this is on the way of every call.
    named = _NAMESPACE + name.encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(named, usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


_NAMESPACE = KEY_NAMESPACE.bytes
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
