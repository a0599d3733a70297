"""The optimizer's numbers for durations that are not log-normal, against an independent simulation."""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from sagacity_engine.plan import Plan, author_plan, staged_steps
from sagacity_models.forecast import Latency, SagaForecast, StepForecast
from sagacity_models.shape import Shape
from sagacity_optimizer import evaluate
from sagacity_optimizer.choices import slowest_latency, timeout_choices
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.rollback import Done

RUNS = 2_500


def stalling() -> Shape:
    """Nine calls in ten are quick, one takes fifteen times as long; around the median of all."""
    law, slow = NormalDist(0.0, 0.3), math.log(15)
    grid = [*np.linspace(-1.0, 1.0, 60).tolist(), *np.linspace(slow - 1, slow + 1, 60).tolist()]
    levels = [0.9 * law.cdf(z) + 0.1 * law.cdf(z - slow) for z in grid]
    middle = float(np.interp(0.5, levels, grid))
    knots = sorted([(0.0, -1.2), *zip(levels, grid, strict=True), (0.5, middle)])
    return Shape(tuple(p for p, _ in knots), tuple(z - middle for _, z in knots), tail_rate=10.0)


STALLING = stalling()


def shaped(latency: Latency) -> Latency:
    """The stall mixture with the latency's median, so slow that timeouts cut some stalls off."""
    return Latency(latency.median_s / 2, 1.0, STALLING)


def stalled(case: Any) -> Any:
    """The same case with stall mixtures for successes, refusals and compensations."""
    steps: dict[str, StepForecast] = {}
    for name, step in case.forecast.steps.items():
        regimes = tuple(
            replace(each, latency=shaped(each.latency), failure_latency=shaped(each.failure_latency))
            for each in step.regimes
        )
        steps[name] = StepForecast(
            regimes=regimes, undo=replace(step.undo, latency=shaped(step.undo.latency))
        )
    return replace(case, forecast=SagaForecast(steps=steps, model_version="test"))


def side_by_side(case: Any) -> Plan:
    """Every step as early as the saga's arcs let it start."""
    saga = case.saga
    depth: dict[str, int] = {}
    for name in saga.names:
        depth[name] = 1 + max((depth[b] for b in saga.arcs[name]), default=-1)
    stages = tuple(tuple(n for n in saga.names if depth[n] == d) for d in range(max(depth.values()) + 1))
    return Plan(saga=saga.name, definition_hash=saga.definition_hash, steps=tuple(staged_steps(saga, stages)))


@pytest.mark.parametrize("kind", ["one by one", "side by side"])
@pytest.mark.parametrize("deadline", [False, True])
@pytest.mark.parametrize("seed", [401, 402, 403])
def test_stalls_agree_with_the_simulation(
    kind: str, deadline: bool, seed: int, random_case: Callable[..., Any], simulate: Callable[..., Any]
) -> None:
    """Cost, time and ends under a bimodal stall are within 3.3 standard errors of simulated runs."""
    case = stalled(random_case(seed, deadline=deadline))
    plan = author_plan(case.saga) if kind == "one by one" else side_by_side(case)
    told = evaluate(plan, case.saga, case.forecast)
    runs = simulate(case, plan, RUNS, seed)
    pairs = {
        "cost": (told.expected_cost, [r.cost for r in runs], told.error),
        "success": (told.success_probability, [float(r.end == "completed") for r in runs], 0.0),
        "attention": (told.attention_probability, [float(r.end == "attention") for r in runs], 0.0),
        "latency": (told.latency_s_mean, [r.seconds for r in runs], 0.0),
        "wasted": (told.wasted_cost, [r.wasted for r in runs], 0.0),
        "late": (told.deadline_probability, [float(r.late) for r in runs], 0.0),
    }
    far = {}
    for name, (expected, values, own_error) in pairs.items():
        spread = max(statistics.pstdev(values), 0.02) / math.sqrt(len(values))
        far[name] = (expected - statistics.mean(values)) / math.hypot(spread, own_error)
    assert {name: z for name, z in far.items() if abs(z) > 3.3} == {}


def test_undos_that_stall_take_the_longest_chain(random_case: Callable[..., Any]) -> None:
    """E[time] of stalling undos side by side is within 6 % of 6,000 simulated ones."""
    case = stalled(random_case(2, steps=(6, 6), pivot=False, optional=0.0, density=0.3))
    problem = Problem(case.saga, case.forecast)
    done = Done(problem)
    for i in range(len(problem.steps)):
        done.add(i, 1.0)
    draw = np.random.default_rng(4)
    durations = np.zeros((len(problem.steps), 6_000))
    for i, step in enumerate(problem.steps):
        undo, law = step.compensation, problem.forecast.steps[step.name].undo
        if undo is None:
            continue
        for column in range(durations.shape[1]):
            for attempt in range(1, undo.retry.maximum_attempts + 1):
                took = law.latency.quantile(1 - draw.random())
                durations[i, column] += min(took, undo.start_to_close_timeout_s)
                if took <= undo.start_to_close_timeout_s and draw.random() >= law.failure_probability:
                    break
                if attempt < undo.retry.maximum_attempts:
                    durations[i, column] += draw.random() * undo.retry.ceiling_s(attempt)
    ends = durations.copy()
    for i, before in enumerate(problem.structure.before_lists):
        for b in before:
            ends[i] = np.maximum(ends[i], ends[b] + durations[i])
    assert problem.undo_samples.mean(axis=1) == pytest.approx([undo.seconds for undo in problem.undos])
    assert done.side_by_side_s() == pytest.approx(ends.max(axis=0).mean(), rel=0.06)


def test_a_timeout_before_the_stall_is_a_choice(random_case: Callable[..., Any]) -> None:
    """Where calls stall, a timeout between the quick calls and the stall can be chosen."""
    case = stalled(random_case(401))
    problem = Problem(case.saga, case.forecast)
    seen = 0
    for step, own in zip(problem.steps, author_plan(case.saga).steps, strict=True):
        latency = slowest_latency(case.forecast.steps[step.name])
        low, high = 1.3 * latency.median_s, 8 * latency.median_s
        if low > 1.0:  # the owner's least timeout
            seen += 1
            assert any(low <= value <= high for value in timeout_choices(step, problem, own)[1:])
    assert seen >= 2
