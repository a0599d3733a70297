"""What one logged run would have cost under another plan, as far as its attempts tell.

Each attempt of a step that was made says how it ended and how long it took. Under another plan the same
attempts are met again, in their order, as far as that plan's timeout, number of attempts and strategies let
them: the step's law is then certain, and the optimizer's own evaluator prices the plan with it. A step that
the run never reached has no attempts, and keeps the law of the mean rates.

What is assumed: a call ends as it did whenever and after whatever it is made, and attempts that the log's
plan did not allow would have failed as the last one did. The first is wrong where plans move load or wait
out an outage, the second is unkind to plans with more attempts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sagacity_engine.errors import FailureClass
from sagacity_engine.plan import Plan, StepPlan
from sagacity_engine.saga import Step
from sagacity_optimizer import sequential
from sagacity_optimizer.evaluate import laws_of, order_of
from sagacity_optimizer.outcomes import (
    CLASSES,
    UNKNOWN,
    StepLaw,
    half_ceilings_s,
    retry_rules,
    worst_waits_s,
)
from sagacity_optimizer.problem import Problem

CALLS_MAX = 1_000
"""The most attempts of one step that are looked at."""


@dataclass(frozen=True, slots=True)
class SeenCall:
    """One attempt as it ended. `failure_class` is None where it succeeded or nobody knows how it ended."""

    succeeded: bool
    failure_class: FailureClass | None
    seconds: float  # Until its end; until it was cut off, where `known` is false.
    known: bool = True  # Whether it ended, rather than being cut off or lost.


def realised_cost(plan: Plan, problem: Problem, seen: Mapping[str, Sequence[SeenCall]]) -> float:
    """The cost of a plan that runs one step at a time, met by what was `seen` of each step.

    `problem` holds the saga under its mean rates, which price what was not seen.
    """
    order, laws = order_of(plan, problem), laws_of(plan, problem)
    for place, step in enumerate(problem.steps):
        if calls := seen.get(step.name):
            laws[place] = law_of_calls(step, plan.by_name[step.name], calls)
    return sequential.evaluated(plan, problem, order, laws).expected_cost


def law_of_calls(step: Step, plan: StepPlan, calls: Sequence[SeenCall]) -> StepLaw:
    """What a step comes to under `plan` that meets these calls; the last one repeats."""
    rules = retry_rules(step.kind, step.idempotent, plan.on_failure)
    timeout_s, most = plan.start_to_close_timeout_s, min(plan.retry.maximum_attempts, CALLS_MAX)
    waits_s = half_ceilings_s(plan.retry)
    seconds, tainted, made = 0.0, False, 0
    while True:
        call = calls[min(made, len(calls) - 1)]
        made += 1
        in_time = call.known and call.seconds <= timeout_s
        # A call that was cut off earlier than this plan would have is taken to last until this timeout.
        seconds += min(call.seconds, timeout_s) if call.known else timeout_s
        if in_time and call.succeeded:
            return _law(step, plan, made=made, seconds=seconds)
        place = CLASSES.index(call.failure_class or FailureClass.UNKNOWN) if in_time else UNKNOWN
        if in_time:
            again = (rules.tainted if tainted else rules.clean)[place]
        else:
            again = rules.unknown_again if tainted else rules.unknown
            tainted = tainted or rules.taints
        if not again or made >= most:
            return _law(step, plan, made=made, seconds=seconds, failed=place, tainted=tainted)
        seconds += waits_s[made - 1]


def _law(
    step: Step, plan: StepPlan, *, made: int, seconds: float, failed: int | None = None, tainted: bool = False
) -> StepLaw:
    a, b, c, d = (float(place == failed) for place in range(4))
    mass, none = (a, b, c, d), (0.0, 0.0, 0.0, 0.0)
    worst_s = plan.retry.maximum_attempts * plan.start_to_close_timeout_s + worst_waits_s(plan.retry)
    return StepLaw(
        float(failed is None),
        float(made),
        seconds,
        made * step.cost,
        none if tainted else mass,
        mass if tainted else none,
        worst_s,
    )
