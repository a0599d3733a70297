"""What a host calls: the functions behind a saga's steps, and what each call is told.

A `BoundSaga` is a definition with a function for every action and every compensation, complete by
construction. A function takes one frozen `Call` and is plain or `async`. What it returns is the step's output
(JSON-able, at most `OUTPUT_BYTES_MAX`). It says how it went by how it ends:

- it returns: the effect happened;
- it raises `StepError`: the effect did *not* happen;
- it raises `OutcomeUnknown`, or anything else, or is cut off by its timeout: nobody can tell.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagacity_engine.errors import SagaRefused
from sagacity_engine.events import Direction
from sagacity_engine.saga import Saga

KEY_NAMESPACE = uuid.UUID("5a6ac117-0000-5000-8000-73616761636f")
OUTPUT_BYTES_MAX = 1 << 20
"""The longest output of one step, as JSON in UTF-8; a longer one makes the attempt's outcome unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt, as the function behind it sees it. Times are seconds since the epoch.

    `idempotency_key` is the same for every attempt of this step in this direction, over retries and restarts.
    `effect_known` is False for a compensation whose step may or may not have taken effect; then `output` is
    None and the participant must treat "nothing to undo" as success.
    """

    run_id: str
    saga: str
    step: str
    direction: Direction
    attempt: int
    idempotency_key: str
    input: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, str | float | bool] = field(default_factory=dict)
    timeout_s: float = 10.0
    deadline_at: float | None = None
    effect_known: bool = True

    @property
    def output(self) -> Any:
        """For a compensation: what the step's action returned, or None when its outcome is unknown."""
        return self.outputs.get(self.step)


Action = Callable[[Call], Any]
"""The function behind an action or a compensation, plain or `async`."""


@dataclass(frozen=True, slots=True)
class Handler:
    """The functions behind one step."""

    action: Action
    compensation: Action | None = None


@dataclass(frozen=True, slots=True)
class BoundSaga:
    """A definition that can be run. Raises `SagaRefused` naming the step that lacks a function."""

    saga: Saga
    handlers: Mapping[str, Handler]

    def __post_init__(self) -> None:
        for step in self.saga.steps:
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
        for name in self.handlers:
            if name not in self.saga.by_name:
                raise SagaRefused(
                    f"{name!r} is no step of saga {self.saga.name!r}; the steps are "
                    + ", ".join(self.saga.names)
                )


def bind(saga: Saga, handlers: Mapping[str, Handler]) -> BoundSaga:
    """The definition with its functions, by step name; raises `SagaRefused` when one lacks or is too many."""
    return BoundSaga(saga, dict(handlers))


def idempotency_key(run_id: str, step: str, direction: Direction) -> str:
    """The key of every attempt of one step in one direction of one run.

    >>> idempotency_key("trip-1", "pay", Direction.FORWARD)
    '1f6d0326-260f-5d37-a2a2-b27c2b13e26a'
    >>> idempotency_key("trip-1", "pay", Direction.UNDO)
    'cbeebe92-5aa0-55bb-bd9b-209bcbd38157'
    """
    return str(uuid.uuid5(KEY_NAMESPACE, f"{run_id}/{step}/{direction.value}"))
