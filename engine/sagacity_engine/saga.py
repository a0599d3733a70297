"""The definition of a saga: what its owner promises about the steps, and what advice may change.

A `Saga` is a plain value and legal by construction: building one checks every rule and raises `SagaRefused`
naming the offending value. It knows nothing of clocks, functions, files or learning. The listing order is the
author's order; `arcs()` is what really constrains it (data dependencies and what the pivot adds).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from sagacity_engine import precedence, saga_rules
from sagacity_engine.references import referenced_steps
from sagacity_engine.retry import UNDO_ATTEMPTS, RetryPolicy
from sagacity_engine.wire import plain_copy, to_plain


class Kind(StrEnum):
    """What a step means to the saga's atomicity."""

    COMPENSATABLE = "compensatable"  # Its effect can be undone by its compensation.
    PIVOT = "pivot"  # The point of no return: once it succeeded, the saga only goes forward.
    RETRIABLE = "retriable"  # Expected to succeed if retried; may follow the pivot.
    READ_ONLY = "read_only"  # Leaves no effect, so there is nothing to undo.


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """How a step's effect is undone. `cost` is per attempt, in the owner's unit."""

    action: Mapping[str, object] | None = None
    cost: float = 0.0
    start_to_close_timeout_s: float = 10.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(maximum_attempts=UNDO_ATTEMPTS))

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", plain_copy(self.action, "compensation.action"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFreedom:
    """Bounds, lowest and highest, that advice may choose from; None keeps the author's number."""

    start_to_close_timeout_s: tuple[float, float] | None = None
    maximum_attempts: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a saga. Costs are per attempt, in the owner's unit; times in seconds.

    `after` gains the steps whose outputs the actions refer to. Raises `SagaRefused` on a bad reference.
    """

    name: str
    service: str = ""  # Whose health this step shares; the step's own name when left out.
    region: str = ""
    kind: Kind = Kind.COMPENSATABLE
    after: tuple[str, ...] = ()
    action: Mapping[str, object] | None = None
    start_to_close_timeout_s: float = 10.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    idempotent: bool = False
    optional: bool = False
    cost: float = 0.0
    compensation: Compensation | None = None
    freedom: StepFreedom = field(default_factory=StepFreedom)

    def __post_init__(self) -> None:
        if not self.service:
            object.__setattr__(self, "service", self.name)
        if self.kind is Kind.COMPENSATABLE and self.compensation is None:
            object.__setattr__(self, "compensation", Compensation())
        object.__setattr__(self, "action", plain_copy(self.action, f"step {self.name!r}: action"))
        undo = self.compensation.action if self.compensation else None
        needed = {*referenced_steps(self.action), *(set(referenced_steps(undo)) - {self.name})}
        object.__setattr__(self, "after", (*self.after, *sorted(needed - set(self.after))))


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFreedom:
    """Which kinds of change the owner grants advice; none by default."""

    reorder: bool = False
    parallel: bool = False
    timeouts: bool = False
    retries: bool = False
    breakers: bool = False
    compensation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPolicy:
    """What time and failure cost the owner, in the unit of the step costs."""

    latency_cost_per_s: float = 0.0
    failure_penalty: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Saga:
    """A checked definition. Raises `SagaRefused` when a rule is broken."""

    name: str = field(metadata={"key": "saga"})
    steps: tuple[Step, ...]
    version: str = "1"
    deadline_s: float | None = None
    stages: tuple[tuple[str, ...], ...] = ()
    freedom: SagaFreedom = field(default_factory=SagaFreedom)
    policy: CostPolicy = field(default_factory=CostPolicy)

    def __post_init__(self) -> None:
        saga_rules.require_legal(self)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Step names in the author's order."""
        return tuple(step.name for step in self.steps)

    @cached_property
    def by_name(self) -> Mapping[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    @cached_property
    def pivot(self) -> Step | None:
        """The point of no return, if the saga has one."""
        return next((step for step in self.steps if step.kind is Kind.PIVOT), None)

    @cached_property
    def arcs(self) -> Mapping[str, frozenset[str]]:
        """For each step, the steps that must be settled before it starts, whatever any plan says.

        Data dependencies, plus what the pivot adds: every fallible step that does not follow it comes before
        it, and retriable steps without a compensation come after it.
        """
        arcs = {step.name: set(step.after) for step in self.steps}
        if self.pivot is not None:
            bit = 1 << self.names.index(self.pivot.name)
            for step in self.steps:
                follows = self.data_ancestors[step.name] & bit
                if step.kind in (Kind.COMPENSATABLE, Kind.READ_ONLY) and not follows:
                    arcs[self.pivot.name].add(step.name)
                elif step.kind is Kind.RETRIABLE and step.compensation is None:
                    arcs[step.name].add(self.pivot.name)
        return {name: frozenset(before) for name, before in arcs.items()}

    @cached_property
    def data_ancestors(self) -> Mapping[str, int]:
        """For each step, the mask (over `names`) of the steps whose results it needs, directly or not."""
        return precedence.ancestors(self.names, {step.name: step.after for step in self.steps})

    @cached_property
    def dependants(self) -> Mapping[str, frozenset[str]]:
        """For each step, the steps that need it settled first, directly or not; undone before it is."""
        masks = precedence.ancestors(self.names, self.arcs)
        return {
            name: frozenset(other for other, mask in masks.items() if mask >> position & 1)
            for position, name in enumerate(self.names)
        }

    @cached_property
    def definition_hash(self) -> str:
        """SHA-256 of the whole definition; runs and plans are pinned to it."""
        plain = _whole_numbers(to_plain(self))
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _whole_numbers(value: Any) -> Any:
    """The value with 20.0 as 20: equal definitions have one hash, whichever way a number was written."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value
