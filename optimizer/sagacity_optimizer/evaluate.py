"""The one yardstick: what a plan is expected to cost, and how its run ends.

cost of a run = attempts + undos + latency_cost_per_s * (launch to terminal) + failure_penalty unless it
COMPLETES. Three evaluators share the closed forms of `outcomes`:

- `sequential`: a plan that runs one step at a time, by an exact recursion over its order. The one
  approximation is the time of side-by-side undos (`undo_times`).
- `deadline`: the same when the saga's deadline could be met in the worst case, by a grid over elapsed time.
- `concurrent`: a plan in which steps run side by side, by sampled durations and exact failures.
"""

from __future__ import annotations

from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer import concurrent, deadline, sequential
from sagacity_optimizer.errors import PlanNotEvaluable
from sagacity_optimizer.evaluation import Evaluation
from sagacity_optimizer.outcomes import StepLaw, step_law
from sagacity_optimizer.problem import Problem


def evaluate(plan: Plan, saga: Saga, forecast: SagaForecast) -> Evaluation:
    """The expectations of a legal plan. Raises `PlanNotEvaluable` or `ForecastRefused`."""
    return judge(plan, Problem(saga, forecast))


def judge(plan: Plan, problem: Problem) -> Evaluation:
    """`evaluate` for a problem that is already set up."""
    order = order_of(plan, problem)
    laws = laws_of(plan, problem)
    if not is_sequential(plan):
        return concurrent.evaluated(plan, problem, order, laws)
    if deadline.within_worst_case(problem, order, laws):
        return sequential.evaluated(plan, problem, order, laws)
    return deadline.evaluated(plan, problem, order, laws)


def order_of(plan: Plan, problem: Problem) -> tuple[int, ...]:
    """The positions of the plan's steps in its listing, which puts predecessors first."""
    position = problem.structure.position
    if len(plan.steps) != len(position) or any(step.name not in position for step in plan.steps):
        raise PlanNotEvaluable(
            f"the plan's steps are {', '.join(plan.names)}; saga {problem.saga.name!r} "
            f"has {', '.join(problem.saga.names)}"
        )
    return tuple(position[step.name] for step in plan.steps)


def laws_of(plan: Plan, problem: Problem) -> list[StepLaw]:
    """The law of every step under the plan, by position in the author's order."""
    by_name, forecasts = plan.by_name, problem.forecast.steps
    return [step_law(step, by_name[step.name], forecasts[step.name], problem.cuts) for step in problem.steps]


def is_sequential(plan: Plan) -> bool:
    """Whether the plan runs one step at a time: each step waits for the one listed before it."""
    steps = plan.steps
    return all(steps[i - 1].name in steps[i].after for i in range(1, len(steps)))
