"""The time of undos side by side."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sagacity_models.shape_arrays import normal_quantiles
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.rollback import Done


def simulated_undo_s(problem: Problem, i: int, generator: random.Random) -> float:
    """One compensation's duration, attempt by attempt."""
    undo, forecast = problem.steps[i].compensation, problem.forecast.steps[problem.saga.names[i]].undo
    assert undo is not None
    total = 0.0
    for attempt in range(1, undo.retry.maximum_attempts + 1):
        took = forecast.latency.median_s * math.exp(forecast.latency.sigma * generator.gauss(0, 1))
        total += min(took, undo.start_to_close_timeout_s)
        if took <= undo.start_to_close_timeout_s and generator.random() >= forecast.failure_probability:
            return total
        if attempt < undo.retry.maximum_attempts:
            total += generator.random() * undo.retry.ceiling_s(attempt)
    return total


def test_every_undo_has_its_exact_mean(random_case: Callable[..., Any]) -> None:
    """The sampled durations of a compensation average to the closed form."""
    for seed in range(10):
        case = random_case(seed)
        problem = Problem(case.saga, case.forecast)
        means = problem.undo_samples.mean(axis=1)
        assert means == pytest.approx([undo.seconds for undo in problem.undos])


def test_undos_side_by_side_take_the_longest_chain(random_case: Callable[..., Any]) -> None:
    """E[time] of all undos side by side is within 3 % of a simulation with 6,000 runs."""
    generator = random.Random(1)
    for seed in (2, 4, 9):
        case = random_case(seed, steps=(6, 6), pivot=False, optional=0.0, density=0.3)
        problem = Problem(case.saga, case.forecast)
        done = Done(problem)
        for i in range(len(problem.steps)):
            done.add(i, 1.0)
        totals = []
        for _ in range(6_000):
            ends: list[float] = []
            for i, before in enumerate(problem.structure.before_lists):
                own = simulated_undo_s(problem, i, generator) if problem.structure.undoable[i] else 0.0
                ends.append(own + max((ends[b] for b in before), default=0.0))
            totals.append(max(ends))
        assert done.side_by_side_s() == pytest.approx(np.mean(totals), rel=0.03)
        assert done.side_by_side_s() <= done.one_by_one_s + 1e-9


def test_a_chain_of_undos_takes_the_sum(random_case: Callable[..., Any]) -> None:
    """Where every undo waits for the next, side by side is one at a time, exactly."""
    case = random_case(2, steps=(5, 5), pivot=False, optional=0.0, density=0.0)
    steps = tuple(replace(s, after=(f"s{i - 1}",) if i else ()) for i, s in enumerate(case.saga.steps))
    problem = Problem(replace(case.saga, steps=steps), case.forecast)
    done = Done(problem)
    for i in range(5):
        done.add(i, 1.0)
    assert done.side_by_side_s() == pytest.approx(done.one_by_one_s)


def test_normal_quantiles_are_exact_enough() -> None:
    """The table agrees with the standard library within 1e-5 over the whole range that is drawn from."""
    from statistics import NormalDist

    levels = np.array([1e-8, 1e-4, 0.01, 0.3, 0.5, 0.77, 0.99, 0.9999, 1 - 1e-8])
    exact = [NormalDist().inv_cdf(float(level)) for level in levels]
    assert normal_quantiles(levels) == pytest.approx(exact, abs=1e-5)
