"""Plans, and `check`, the only gate between advice and a run.

A plan is everything the machine needs to carry out one run: for each step what it waits for, its timeout, its
retry numbers and what to do per class of failure. The author's plan is the document as it stands. Advice may
only choose among *legal* plans: `check` compares a plan with its saga and returns every breach it finds. It
trusts nothing about where the plan came from, and it never repairs a plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from sagacity_engine import precedence
from sagacity_engine.errors import FailureClass, PlanRefused
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step


class Strategy(StrEnum):
    """What a step's failure leads to."""

    STANDARD_COMPENSATION = "STANDARD_COMPENSATION"  # Retries, then undos one at a time, reverse start order.
    RETRY_WITH_COMPENSATION = "RETRY_WITH_COMPENSATION"  # Retries, then undos as reversed dependencies allow.
    IMMEDIATE_FULL_COMPENSATION = "IMMEDIATE_FULL_COMPENSATION"  # No retries; undos as dependencies allow.

    @property
    def retries(self) -> bool:
        """Whether the step's retry numbers apply to a failure handled this way."""
        return self is not Strategy.IMMEDIATE_FULL_COMPENSATION

    @property
    def undoes_in_parallel(self) -> bool:
        """Whether undos run side by side where the reversed dependencies allow."""
        return self is not Strategy.STANDARD_COMPENSATION


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailure:
    """The strategy for each class of failure."""

    transient: Strategy = Strategy.STANDARD_COMPENSATION
    permanent: Strategy = Strategy.STANDARD_COMPENSATION
    cascading: Strategy = Strategy.STANDARD_COMPENSATION
    unknown: Strategy = Strategy.STANDARD_COMPENSATION

    def of(self, failure_class: FailureClass) -> Strategy:
        """The strategy for one class."""
        strategy: Strategy = getattr(self, failure_class.value)
        return strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """How one step is run. `after` is sorted and holds at least the saga's arcs."""

    name: str
    after: tuple[str, ...]
    start_to_close_timeout_s: float
    retry: RetryPolicy
    on_failure: OnFailure = OnFailure()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One legal or illegal way to run a saga; only `check` can tell. Steps are listed predecessors first."""

    saga: str
    definition_hash: str
    steps: tuple[StepPlan, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Step names in the plan's listing order."""
        return tuple(step.name for step in self.steps)

    @cached_property
    def by_name(self) -> Mapping[str, StepPlan]:
        """The step plans by name."""
        return {step.name: step for step in self.steps}

    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The steps by the earliest stage in which each could start, stage by stage."""
        depth: dict[str, int] = {}
        for step in self.steps:
            depth[step.name] = 1 + max((depth[before] for before in step.after), default=-1)
        levels = range(max(depth.values(), default=-1) + 1)
        return tuple(tuple(name for name in self.names if depth[name] == level) for level in levels)


def author_plan(saga: Saga) -> Plan:
    """The document as it stands: its listing one step at a time, or its stages, with its own numbers."""
    stages = saga.stages or tuple((name,) for name in saga.names)
    return Plan(
        saga=saga.name,
        definition_hash=saga.definition_hash,
        steps=staged_steps(saga, stages),
    )


def staged_steps(saga: Saga, stages: tuple[tuple[str, ...], ...]) -> tuple[StepPlan, ...]:
    """Step plans with the document's numbers in which each stage waits for the one before it."""
    arcs = saga.arcs
    steps: list[StepPlan] = []
    previous: tuple[str, ...] = ()
    for stage in stages:
        for name in stage:
            step = saga.by_name[name]
            steps.append(
                StepPlan(
                    name=name,
                    after=tuple(sorted(arcs[name] | set(previous))),
                    start_to_close_timeout_s=step.start_to_close_timeout_s,
                    retry=step.retry,
                )
            )
        previous = stage
    return tuple(steps)


def check(plan: Plan, saga: Saga) -> tuple[str, ...]:
    """Every way in which `plan` is not a legal plan for `saga`, in words; empty when it is legal."""
    author = author_plan(saga)
    breaches = list(_shape_breaches(plan, author, saga))
    if breaches:
        return tuple(breaches)
    breaches.extend(_order_breaches(plan, author, saga))
    for step_plan in plan.steps:
        breaches.extend(_number_breaches(step_plan, saga.by_name[step_plan.name], saga))
    return tuple(breaches)


def require_legal(plan: Plan, saga: Saga) -> Plan:
    """Returns the plan, or raises `PlanRefused` with every breach."""
    if breaches := check(plan, saga):
        raise PlanRefused("; ".join(breaches))
    return plan


def _shape_breaches(plan: Plan, author: Plan, saga: Saga) -> Iterator[str]:
    if plan.saga != saga.name:
        yield f"the plan is for saga {plan.saga!r}, not {saga.name!r}"
    if plan.definition_hash != author.definition_hash:
        yield f"the plan was made for another definition ({plan.definition_hash[:12]}); ask for a new one"
    for name in sorted(set(saga.names) - set(plan.names)):
        yield f"step {name!r} is missing from the plan"
    for name in sorted(set(plan.names) - set(saga.names)):
        yield f"step {name!r} is not a step of the saga"
    if len(set(plan.names)) != len(plan.names):
        yield "the plan names a step twice"
    for step in plan.steps:
        for before in sorted(set(step.after) - set(saga.names)):
            yield f"step {step.name!r} waits for {before!r}, which is no step of the saga"


def _order_breaches(plan: Plan, author: Plan, saga: Saga) -> Iterator[str]:
    after = {step.name: step.after for step in plan.steps}
    if precedence.cycle(plan.names, after):
        yield "the plan's steps wait for each other in a circle"
        return
    if breach := precedence.listing_breach(plan.names, after):
        yield f"step {breach[0]!r} is listed before {breach[1]!r}, which it waits for"
    for name, before in saga.arcs.items():
        for missing in sorted(before - set(after[name])):
            yield f"step {name!r} no longer waits for {missing!r}"
    yield from _freedom_breaches(plan, author, saga)


def _freedom_breaches(plan: Plan, author: Plan, saga: Saga) -> Iterator[str]:
    """Compares every pair: turning it round needs `reorder`; joining or separating it needs `parallel`."""
    freedom = saga.freedom
    if freedom.reorder and freedom.parallel:
        return
    names = saga.names
    ours = precedence.ancestors(names, {step.name: step.after for step in plan.steps})
    theirs = precedence.ancestors(names, {step.name: step.after for step in author.steps})
    for low, first in enumerate(names):
        for high in range(low + 1, len(names)):
            second = names[high]
            mine = (ours[second] >> low & 1) - (ours[first] >> high & 1)
            was = (theirs[second] >> low & 1) - (theirs[first] >> high & 1)
            if mine == was:
                continue
            if mine and was and not freedom.reorder:
                yield f"steps {first!r} and {second!r} are turned round without the freedom 'reorder'"
            elif not (mine and was) and not freedom.parallel:
                yield f"steps {first!r} and {second!r} are joined or separated without the freedom 'parallel'"


def _number_breaches(step_plan: StepPlan, step: Step, saga: Saga) -> Iterator[str]:
    freedom = saga.freedom
    yield from _bound_breach(
        f"step {step.name!r}: start_to_close_timeout_s",
        step_plan.start_to_close_timeout_s,
        step.start_to_close_timeout_s,
        step.freedom.start_to_close_timeout_s if freedom.timeouts else None,
    )
    yield from _bound_breach(
        f"step {step.name!r}: maximum_attempts",
        step_plan.retry.maximum_attempts,
        step.retry.maximum_attempts,
        step.freedom.maximum_attempts if freedom.retries else None,
    )
    if replace(step_plan.retry, maximum_attempts=step.retry.maximum_attempts) != step.retry:
        yield f"step {step.name!r}: the plan changes retry numbers that no freedom covers"
    if step_plan.on_failure != OnFailure() and not freedom.compensation:
        yield f"step {step.name!r}: the plan changes strategies without the freedom 'compensation'"


def _bound_breach(where: str, value: float, own: float, bounds: tuple[float, float] | None) -> Iterator[str]:
    low, high = bounds or (own, own)
    if not math.isfinite(value) or not low <= value <= high:
        allowed = f"outside [{low:g}, {high:g}]" if bounds else f"and the author's is {own:g}"
        yield f"{where} is {value!r}, {allowed}"
