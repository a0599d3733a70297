"""What must hold for the plan a run is pinned to, whoever chose it: advice cannot break the saga."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import RunStarted
from sagacity_engine.plan import StepPlan
from sagacity_engine.saga import Saga, Step


def plan_breaches(saga: Saga, started: RunStarted) -> Iterator[str]:
    """Breaches by the plan, whatever its steps then do."""
    plan = started.plan
    if not started.definition_hash == plan.definition_hash == saga.definition_hash:
        yield "I12 the run is pinned to another definition"
    if sorted(plan.names) != sorted(saga.names):
        yield "I12 the plan drops or adds a step"
        return
    if not 0 <= plan.launch_delay_s <= saga.freedom.launch.wait_s_max:
        yield f"I12 the plan delays the launch by {plan.launch_delay_s:g} s"
    for step in plan.steps:
        for missing in sorted(saga.arcs[step.name] - set(step.after)):
            yield f"I12 in the plan step {step.name!r} does not wait for {missing!r}"
        yield from _number_breaches(step, saga.by_name[step.name])


def _number_breaches(step: StepPlan, declared: Step) -> Iterator[str]:
    own, freedom = declared.retry.maximum_attempts, declared.freedom
    low, high = freedom.maximum_attempts or (own, own)
    if not low <= step.retry.maximum_attempts <= high:
        yield f"I12 the plan gives step {step.name!r} {step.retry.maximum_attempts} attempts"
    own_s = declared.start_to_close_timeout_s
    low_s, high_s = freedom.start_to_close_timeout_s or (own_s, own_s)
    if not low_s <= step.start_to_close_timeout_s <= high_s:
        yield f"I12 the plan gives step {step.name!r} {step.start_to_close_timeout_s:g} s"
    if step.hedge_delay_s is not None and not declared.idempotent:
        yield f"I12 the plan hedges step {step.name!r}, which is not idempotent"
