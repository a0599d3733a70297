"""Random legal plans for a saga: any order, any grouping and any numbers that its freedoms allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from sagacity_engine.parts import Breaker
from sagacity_engine.plan import Plan, StepPlan, author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy


def random_plan(saga: Saga, rng: Random) -> Plan:
    """A plan that `check` has nothing against; the author's own one time in four."""
    author = author_plan(saga)
    if rng.random() < 0.25:
        return author
    after = _order(saga, author, rng)
    steps = [replace(author.by_name[name], after=before) for name, before in after.items()]
    wait_s_max = saga.freedom.launch.wait_s_max
    return replace(
        author,
        steps=tuple(_numbers(saga, saga.by_name[step.name], step, rng) for step in steps),
        launch_delay_s=wait_s_max * rng.random() if wait_s_max and rng.random() < 0.2 else 0.0,
    )


def _order(saga: Saga, author: Plan, rng: Random) -> Mapping[str, tuple[str, ...]]:
    """For each step, predecessors first, what it waits for: the arcs, and some of what comes earlier."""
    freedom = saga.freedom
    if not freedom.parallel or saga.stages:
        return {step.name: step.after for step in author.steps}
    names = _shuffled(saga, rng) if freedom.reorder else list(saga.names)
    joined = rng.choice((0.0, 0.2, 1.0))
    after: dict[str, tuple[str, ...]] = {}
    for place, name in enumerate(names):
        extra = {before for before in names[max(0, place - 3) : place] if rng.random() < joined}
        after[name] = tuple(sorted(saga.arcs[name] | extra))
    return after


def _shuffled(saga: Saga, rng: Random) -> list[str]:
    names: list[str] = []
    waiting = {name: set(before) for name, before in saga.arcs.items()}
    while waiting:
        free = [name for name, before in waiting.items() if not before]
        name = rng.choice(free)
        del waiting[name]
        for before in waiting.values():
            before.discard(name)
        names.append(name)
    return names


def _numbers(saga: Saga, step: Step, plan: StepPlan, rng: Random) -> StepPlan:
    freedom, own = saga.freedom, step.freedom
    if rng.random() < 0.5:
        return plan
    if freedom.timeouts and own.start_to_close_timeout_s:
        plan = replace(plan, start_to_close_timeout_s=rng.uniform(*own.start_to_close_timeout_s))
    calls = step.approval is None and step.sub_saga is None
    if freedom.timeouts and calls and step.idempotent and rng.random() < 0.2:
        plan = replace(plan, on_timeout=rng.choice((OnTimeout.RETRY, None)))
    if freedom.retries and own.maximum_attempts:
        attempts = rng.randint(*own.maximum_attempts)
        plan = replace(plan, retry=replace(plan.retry, maximum_attempts=attempts))
    if freedom.compensation and rng.random() < 0.3:
        plan = replace(plan, on_failure=_ways(saga, step, rng))
    if freedom.breakers and calls and rng.random() < 0.1:
        plan = replace(plan, breaker=Breaker(failure_threshold=rng.randint(1, 5)))
    if own.hedge_delay_s and rng.random() < 0.5:
        plan = replace(plan, hedge_delay_s=rng.uniform(*own.hedge_delay_s))
    return plan


def _ways(saga: Saga, step: Step, rng: Random) -> OnFailure:
    ways = [each for each in Strategy if _possible(saga, step, each)]
    return OnFailure(**{each: rng.choice(ways) for each in OnFailure.__slots__})


def _possible(saga: Saga, step: Step, strategy: Strategy) -> bool:
    if strategy is Strategy.FORWARD_RECOVERY:
        return step.name in saga.alternatives
    if strategy is not Strategy.ROLLBACK_TO_SAVEPOINT:
        return True
    later = saga.dependants[step.name] | {step.name}
    reachable = any(other.savepoint and other.name not in later for other in saga.steps)
    return reachable and not (step is saga.pivot or step.optional or saga.follows_pivot(step.name))
