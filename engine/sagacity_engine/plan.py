"""Plans, and `check`, the only gate between advice and a run.

A plan is everything the machine needs to carry out one run: for each step what it waits for, its timeout, its
retry numbers and what to do per class of failure. The author's plan is the document as it stands. Advice may
only choose among *legal* plans: `check` compares a plan with its saga and returns every breach it finds. It
trusts nothing about where the plan came from, and it never repairs a plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sagacity_engine import precedence
from sagacity_engine.errors import FailureClass, PlanRefused, SagaRefused
from sagacity_engine.parts import Breaker
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.rules.number_rules import is_number, is_whole
from sagacity_engine.rules.step_rules import breaker_numbers, strategy_breach, timeout_breach
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy
from sagacity_engine.wire import ADDED


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """How one step is run. `after` is sorted and holds at least the saga's arcs."""

    name: str
    after: tuple[str, ...]
    start_to_close_timeout_s: float
    retry: RetryPolicy
    on_failure: OnFailure = field(default_factory=OnFailure)
    on_timeout: OnTimeout | None = field(default=None, metadata=ADDED)
    breaker: Breaker | None = field(default=None, metadata=ADDED)
    hedge_delay_s: float | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One legal or illegal way to run a saga; only `check` can tell. Steps are listed predecessors first."""

    saga: str
    definition_hash: str
    steps: tuple[StepPlan, ...]
    launch_delay_s: float = field(default=0.0, metadata=ADDED)

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
                    on_failure=author_on_failure(saga, step),
                    on_timeout=step.on_timeout,
                    breaker=step.breaker,
                )
            )
        previous = stage
    return tuple(steps)


def author_on_failure(saga: Saga, step: Step) -> OnFailure:
    """The document's strategies; without any, a step with an alternative goes forward through it."""
    if step.on_failure is not None:
        return step.on_failure
    if step.name in saga.alternatives:
        return OnFailure.all(Strategy.FORWARD_RECOVERY)
    return OnFailure()


def check(plan: Plan, saga: Saga) -> tuple[str, ...]:
    """Every way in which `plan` is not a legal plan for `saga`, in words; empty when it is legal."""
    author = author_plan(saga)
    breaches = list(_shape_breaches(plan, author, saga))
    if breaches:
        return tuple(breaches)
    breaches.extend(_order_breaches(plan, author, saga))
    wait_s_max = saga.freedom.launch.wait_s_max
    if not is_number(plan.launch_delay_s) or not 0 <= plan.launch_delay_s <= wait_s_max:
        breaches.append(f"launch_delay_s is {plan.launch_delay_s!r}, outside [0, {wait_s_max:g}]")
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
    if is_number(step_plan.retry.maximum_attempts) and not is_whole(step_plan.retry.maximum_attempts):
        yield f"step {step.name!r}: maximum_attempts is {step_plan.retry.maximum_attempts!r}, no whole number"
    if replace(step_plan.retry, maximum_attempts=step.retry.maximum_attempts) != step.retry:
        yield f"step {step.name!r}: the plan changes retry numbers that no freedom covers"
    yield from _way_breaches(step_plan, step, saga)


def _way_breaches(step_plan: StepPlan, step: Step, saga: Saga) -> Iterator[str]:
    """What the plan does on failures, timeouts, in sick services and with slow calls."""
    where, freedom = f"step {step.name!r}", saga.freedom
    if step_plan.on_failure != author_on_failure(saga, step) and not freedom.compensation:
        yield f"{where}: the plan changes strategies without the freedom 'compensation'"
    for strategy in dict.fromkeys(step_plan.on_failure.of(failure_class) for failure_class in FailureClass):
        if breach := strategy_breach(saga, step, strategy):
            yield f"{where}: {breach}"
    if step_plan.on_timeout != step.on_timeout and not freedom.timeouts:
        yield f"{where}: the plan changes on_timeout without the freedom 'timeouts'"
    if breach := timeout_breach(step, step_plan.on_timeout):
        yield f"{where}: {breach}"
    if step_plan.breaker != step.breaker and not freedom.breakers:
        yield f"{where}: the plan changes the breaker without the freedom 'breakers'"
    if step_plan.breaker is not None:
        yield from _breaker_breaches(step_plan.breaker, step, where)
    yield from _hedge_breaches(step_plan, step, where)


def _hedge_breaches(step_plan: StepPlan, step: Step, where: str) -> Iterator[str]:
    if step_plan.hedge_delay_s is None:
        return
    if not step.idempotent or step.freedom.hedge_delay_s is None:
        yield f"{where}: the plan hedges without the freedom 'hedge_delay_s' of an idempotent step"
        return
    low, high = step.freedom.hedge_delay_s
    if not is_number(step_plan.hedge_delay_s) or not low <= step_plan.hedge_delay_s <= high:
        yield f"{where}: hedge_delay_s is {step_plan.hedge_delay_s!r}, outside [{low:g}, {high:g}]"


def _breaker_breaches(breaker: Breaker, step: Step, where: str) -> Iterator[str]:
    if step.approval is not None or step.sub_saga is not None:
        yield f"{where}: the plan gives a breaker to a step that calls no service"
    try:
        breaker_numbers(where, breaker)
    except SagaRefused as refusal:
        yield str(refusal)


def _bound_breach(where: str, value: float, own: float, bounds: tuple[float, float] | None) -> Iterator[str]:
    low, high = bounds or (own, own)
    if not is_number(value) or not low <= value <= high:  # NaN lies nowhere.
        allowed = f"outside [{low:g}, {high:g}]" if bounds else f"and the author's is {own:g}"
        yield f"{where} is {value!r}, {allowed}"
