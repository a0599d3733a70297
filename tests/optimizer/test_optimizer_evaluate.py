"""The yardstick against an independent simulation of the engine's rules."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine.plan import Plan, author_plan, staged_steps
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_optimizer import Evaluation, evaluate, optimize
from sagacity_optimizer.errors import ForecastRefused, PlanNotEvaluable

RUNS = 1_500


def plan_of(case: Any, kind: str) -> Plan:
    """The author's plan, the advised one, or everything side by side with mixed strategies."""
    saga = case.saga
    if kind == "author":
        return author_plan(saga)
    if kind == "advised":
        return optimize(saga, case.forecast).plan
    depth: dict[str, int] = {}
    for name in saga.names:
        depth[name] = 1 + max((depth[b] for b in saga.arcs[name]), default=-1)
    stages = tuple(tuple(n for n in saga.names if depth[n] == d) for d in range(max(depth.values()) + 1))
    mixed = OnFailure(
        permanent=Strategy.IMMEDIATE_FULL_COMPENSATION, transient=Strategy.RETRY_WITH_COMPENSATION
    )
    steps = tuple(replace(step, on_failure=mixed) for step in staged_steps(saga, stages))
    return Plan(saga=saga.name, definition_hash=saga.definition_hash, steps=steps)


def deviations(evaluation: Evaluation, runs: Sequence[Any]) -> dict[str, float]:
    """How many standard errors each expectation is away from the simulated mean."""

    def away(expected: float, values: Sequence[float], own_error: float = 0.0) -> float:
        spread = max(statistics.pstdev(values), 0.02)
        return (expected - statistics.mean(values)) / math.hypot(spread / math.sqrt(len(values)), own_error)

    return {
        "cost": away(evaluation.expected_cost, [r.cost for r in runs], evaluation.error),
        "success": away(evaluation.success_probability, [r.end == "completed" for r in runs]),
        "compensated": away(evaluation.compensated_probability, [r.end == "compensated" for r in runs]),
        "attention": away(evaluation.attention_probability, [r.end == "attention" for r in runs]),
        "latency": away(evaluation.latency_s_mean, [r.seconds for r in runs]),
        "wasted": away(evaluation.wasted_cost, [r.wasted for r in runs]),
        "undo": away(evaluation.undo_cost, [r.undo_cost for r in runs]),
        "late": away(evaluation.deadline_probability, [r.late for r in runs]),
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["author", "advised"])
def test_sequential_plans_agree_with_the_simulation(
    kind: str, seed: int, random_case: Callable[..., Any], simulate: Callable[..., Any]
) -> None:
    """Every expectation of a sequential plan is within four standard errors of simulated runs."""
    case = random_case(seed)
    plan = plan_of(case, kind)
    far = deviations(evaluate(plan, case.saga, case.forecast), simulate(case, plan, RUNS, seed))
    assert {name: z for name, z in far.items() if abs(z) > 4} == {}


@pytest.mark.parametrize("seed", range(100, 106))
def test_deadlines_agree_with_the_simulation(
    seed: int, random_case: Callable[..., Any], simulate: Callable[..., Any]
) -> None:
    """The grid recursion turns back as often, and at the cost, that simulated runs do."""
    case = random_case(seed, deadline=True)
    plan = author_plan(case.saga)
    evaluation = evaluate(plan, case.saga, case.forecast)
    assert evaluation.deadline_probability > 0
    far = deviations(evaluation, simulate(case, plan, RUNS, seed))
    assert {name: z for name, z in far.items() if abs(z) > 4} == {}


@pytest.mark.parametrize("deadline", [False, True])
@pytest.mark.parametrize("seed", range(200, 205))
def test_side_by_side_plans_agree_with_the_simulation(
    seed: int, deadline: bool, random_case: Callable[..., Any], simulate: Callable[..., Any]
) -> None:
    """The sampled evaluator agrees with simulated runs, deadline or not."""
    case = random_case(seed, deadline=deadline)
    plan = plan_of(case, "side by side")
    evaluation = evaluate(plan, case.saga, case.forecast)
    far = deviations(evaluation, simulate(case, plan, RUNS, seed))
    assert {name: z for name, z in far.items() if abs(z) > 4.5} == {}


@pytest.mark.parametrize("kind", ["author", "side by side"])
@pytest.mark.parametrize("deadline", [False, True])
def test_the_parts_sum_to_the_whole(kind: str, deadline: bool, random_case: Callable[..., Any]) -> None:
    """End probabilities sum to 1 and the steps' costs to the expected cost; asking twice changes nothing."""
    for seed in range(300, 308):
        case = random_case(seed, deadline=deadline)
        plan = plan_of(case, kind)
        evaluation = evaluate(plan, case.saga, case.forecast)
        ends = (
            evaluation.success_probability,
            evaluation.compensated_probability,
            evaluation.attention_probability,
        )
        assert sum(ends) == pytest.approx(1, abs=1e-6)
        assert min(ends) >= -1e-9
        assert sum(step.cost for step in evaluation.steps) == pytest.approx(evaluation.expected_cost)
        assert evaluate(plan, case.saga, case.forecast) == evaluation


def test_a_deadline_that_always_holds_is_ignored_exactly(random_case: Callable[..., Any]) -> None:
    """A deadline at the worst case gives the same evaluation as none."""
    case = random_case(5, pivot=False)
    free = evaluate(author_plan(case.saga), case.saga, case.forecast)
    held = replace(case.saga, deadline_s=free.worst_case_s)
    assert evaluate(author_plan(held), held, case.forecast) == free


def test_a_deadline_that_hardly_binds_changes_hardly_anything(random_case: Callable[..., Any]) -> None:
    """The grid of a deadline far away, though below the worst case, reproduces the closed recursion."""
    for seed in (1, 2, 3):
        case = random_case(seed, optional=0.0)
        free = evaluate(author_plan(case.saga), case.saga, case.forecast)
        held = replace(case.saga, deadline_s=free.worst_case_s * 0.999)
        on_grid = evaluate(author_plan(held), held, case.forecast)
        assert on_grid.expected_cost == pytest.approx(free.expected_cost, rel=1e-3)
        assert on_grid.latency_s_mean == pytest.approx(free.latency_s_mean, rel=1e-3)


def test_what_cannot_be_evaluated_is_refused(random_case: Callable[..., Any]) -> None:
    """A forecast without a step and a plan without one are refused by name."""
    case = random_case(1)
    short = replace(case.forecast, steps={k: v for k, v in case.forecast.steps.items() if k != "s1"})
    with pytest.raises(ForecastRefused, match="'s1'"):
        evaluate(author_plan(case.saga), case.saga, short)
    plan = author_plan(case.saga)
    with pytest.raises(PlanNotEvaluable):
        evaluate(replace(plan, steps=plan.steps[1:]), case.saga, case.forecast)
