"""The definition of a saga: what its owner promises about the steps, and what advice may change.

A `Saga` is a plain value and legal by construction: building one checks every rule and raises `SagaRefused`
naming the offending value. It knows nothing of clocks, functions, files or learning. The listing order is the
author's order; `arcs()` is what really constrains it (data dependencies and what the pivot adds).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sagacity_engine import precedence
from sagacity_engine.parts import (
    Approval,
    Breaker,
    Compensation,
    CostPolicy,
    Kind,
    Lock,
    Probe,
    SagaFreedom,
    StepFreedom,
)
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.rules import saga_rules
from sagacity_engine.rules.reference_rules import referred_to
from sagacity_engine.strategy import OnFailure, OnTimeout
from sagacity_engine.wire import ADDED, plain_copy, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSaga:
    """The step is a saga of its own; its compensation takes that saga back.

    `input` is the inner saga's input and may refer to this run's input and to outputs of earlier steps.
    """

    saga: Saga
    input: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", plain_copy(self.input, "sub_saga.input"))


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
    schedule_to_start_timeout_s: float | None = field(default=None, metadata=ADDED)
    schedule_to_close_timeout_s: float | None = field(default=None, metadata=ADDED)
    heartbeat_timeout_s: float | None = field(default=None, metadata=ADDED)
    on_timeout: OnTimeout | None = field(default=None, metadata=ADDED)
    on_failure: OnFailure | None = field(default=None, metadata=ADDED)
    skip_loss: float = field(default=0.0, metadata=ADDED)  # What going on without an optional step costs.
    probe: Probe | None = field(default=None, metadata=ADDED)
    breaker: Breaker | None = field(default=None, metadata=ADDED)
    approval: Approval | None = field(default=None, metadata=ADDED)
    sub_saga: SubSaga | None = field(default=None, metadata=ADDED)
    alternative_to: str = field(default="", metadata=ADDED)  # Runs only in place of that step.
    savepoint: bool = field(default=False, metadata=ADDED)  # A run may be rolled back to here.

    def __post_init__(self) -> None:
        if not self.service:
            object.__setattr__(self, "service", self.name)
        if self.kind is Kind.COMPENSATABLE and self.compensation is None:
            object.__setattr__(self, "compensation", Compensation())
        object.__setattr__(self, "action", plain_copy(self.action, f"step {self.name!r}: action"))
        if self.approval is not None and not self.approval.signal:
            object.__setattr__(self, "approval", replace(self.approval, signal=self.name))
        needed = {name for _, names in referred_to(self) for name in names} - {self.name}
        if self.alternative_to:
            needed.add(self.alternative_to)
        object.__setattr__(self, "after", (*self.after, *sorted(needed - set(self.after))))


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
    locks: tuple[Lock, ...] = field(default=(), metadata=ADDED)
    retry_budget: int | None = field(default=None, metadata=ADDED)  # Retries of one run, over all its steps.
    rollbacks_max: int = field(default=1, metadata=ADDED)  # How often one run may go back to a savepoint.

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
    def alternatives(self) -> Mapping[str, str]:
        """The step that runs in place of a step which was given up, by the name of the latter."""
        return {step.alternative_to: step.name for step in self.steps if step.alternative_to}

    @cached_property
    def arcs(self) -> Mapping[str, frozenset[str]]:
        """For each step, the steps that must be settled before it starts, whatever any plan says.

        Data dependencies, plus what the pivot adds: every fallible step that does not follow it comes before
        it, and retriable steps without a compensation come after it. What needs a step also needs its
        alternative, which is settled too when it is not called upon.
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
        for replaced, alternative in self.alternatives.items():
            for name, before in arcs.items():
                if replaced in before and name != alternative:
                    before.add(alternative)
        return {name: frozenset(before) for name, before in arcs.items()}

    @cached_property
    def data_ancestors(self) -> Mapping[str, int]:
        """For each step, the mask (over `names`) of the steps whose results it needs, directly or not."""
        return precedence.ancestors(self.names, {step.name: step.after for step in self.steps})

    def follows_pivot(self, name: str) -> bool:
        """Whether the step starts only after the pivot: it needs its result, or is of a kind that waits."""
        return self.pivot is not None and name in self.dependants[self.pivot.name]

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
