"""The order of steps: folding, the index, the recursion over ideals, bounds and degenerate cases."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine.parts import Kind
from sagacity_engine.plan import Plan, author_plan, staged_steps
from sagacity_optimizer import bounds, evaluate, ideals, optimize
from sagacity_optimizer.index import Folded, chain_cost, folded, index_order
from sagacity_optimizer.options import Terms, option_table, terms_of
from sagacity_optimizer.problem import Problem

Rows = list[tuple[float, float, float, tuple[int, ...]]]


def rows_of(generator: random.Random, count: int, density: float) -> Rows:
    """Random (cost, failure, undo cost, after) rows."""
    return [
        (
            generator.uniform(0.1, 5),
            generator.uniform(0, 0.6),
            generator.uniform(0, 8),
            tuple(j for j in range(i) if generator.random() < density),
        )
        for i in range(count)
    ]


def extensions(rows: Rows) -> Iterator[tuple[int, ...]]:
    """Every order that keeps the rows' precedence."""
    for order in itertools.permutations(range(len(rows))):
        place = {j: k for k, j in enumerate(order)}
        if all(place[b] < place[j] for j, row in enumerate(rows) for b in row[3]):
            yield order


def direct_cost(rows: Rows, order: tuple[int, ...], penalty: float) -> float:
    """The expected cost by its definition: what was spent, and the undos of what was done."""
    total, reach, spent, undo = 0.0, 1.0, 0.0, 0.0
    for j in order:
        cost, failure, undo_cost, _ = rows[j]
        spent += cost
        total += reach * failure * (spent + undo + penalty)
        reach *= 1 - failure
        undo += undo_cost
    return total + reach * spent


def terms(case: Any) -> tuple[Problem, Terms]:
    """The problem of a case and the terms of its author's options."""
    problem = Problem(case.saga, case.forecast)
    table = option_table(problem, author_plan(case.saga), joined=False)
    return problem, terms_of(problem, table, [0] * len(table))


def test_folded_costs_equal_direct_costs_on_every_linear_extension(plain_case: Callable[..., Any]) -> None:
    """Folding the undo into each step's own cost changes no order's expected cost (300 instances)."""
    generator = random.Random(1)
    for _ in range(300):
        rows = rows_of(generator, generator.randint(1, 5), 0.3)
        problem, own = terms(plain_case(rows, penalty=7.0))
        values = folded(problem, own)
        constant = bounds.credit(problem, own, values)
        for order in extensions(rows):
            assert chain_cost(values, order) - constant == pytest.approx(direct_cost(rows, order, 7.0))


def test_the_evaluator_equals_direct_costs(plain_case: Callable[..., Any]) -> None:
    """`evaluate` of a sequential plan in any legal order is the expected cost by its definition."""
    generator = random.Random(2)
    for _ in range(40):
        rows = rows_of(generator, 4, 0.3)
        case = plain_case(rows, penalty=3.0)
        for order in extensions(rows):
            stages = tuple((case.saga.names[j],) for j in order)
            plan = Plan(
                saga="plain",
                definition_hash=case.saga.definition_hash,
                steps=staged_steps(case.saga, stages),
            )
            cost = evaluate(plan, case.saga, case.forecast).expected_cost
            assert cost == pytest.approx(direct_cost(rows, order, 3.0))


def test_the_index_order_is_best_among_all_permutations(plain_case: Callable[..., Any]) -> None:
    """Without precedence, rising c/q is optimal (100 instances, six steps)."""
    generator = random.Random(3)
    for _ in range(100):
        rows = rows_of(generator, 6, 0.0)
        problem, own = terms(plain_case(rows))
        values = folded(problem, own)
        order = index_order(values, range(6), problem.saga.names)
        best = min(direct_cost(rows, other, 0.0) for other in itertools.permutations(range(6)))
        assert direct_cost(rows, order, 0.0) == pytest.approx(best)


def test_the_recursion_over_ideals_is_brute_force(plain_case: Callable[..., Any]) -> None:
    """The order over ideals has the least cost of all linear extensions, and says what it costs."""
    generator = random.Random(4)
    for _ in range(100):
        rows = rows_of(generator, generator.randint(1, 6), 0.3)
        problem, own = terms(plain_case(rows))
        lattice = problem.structure.lattice(10_000)
        assert lattice is not None
        order, value = ideals.best_order(problem, own, lattice)
        best = min(direct_cost(rows, other, 0.0) for other in extensions(rows))
        assert direct_cost(rows, order, 0.0) == pytest.approx(best)
        assert value == pytest.approx(best)


def test_the_recursion_is_brute_force_for_every_kind_of_step(random_case: Callable[..., Any]) -> None:
    """With pivots, read-only steps and retries no legal order is cheaper by `evaluate`."""
    for seed in range(25):
        case = random_case(seed, steps=(2, 5), optional=0.0)
        saga = replace(case.saga, freedom=replace(case.saga.freedom, timeouts=False, retries=False))
        saga = replace(saga, freedom=replace(saga.freedom, compensation=False))
        rows: Rows = [(0, 0, 0, tuple(saga.names.index(b) for b in saga.arcs[n])) for n in saga.names]
        costs = []
        for order in extensions(rows):
            plan = Plan(
                saga=saga.name,
                definition_hash=saga.definition_hash,
                steps=staged_steps(saga, tuple((saga.names[j],) for j in order)),
            )
            costs.append(evaluate(plan, saga, case.forecast).expected_cost)
        assert optimize(saga, case.forecast).advised.expected_cost == pytest.approx(min(costs))


def test_ideals_are_counted_before_they_are_searched() -> None:
    """An antichain of n has 2^n ideals; the cap refuses more, and a chain has n + 1."""
    names = range(10)
    full = ideals.lattice_of([0] * 10, names, -1, 1024)
    assert full is not None
    assert full.ideals == 1024
    assert ideals.lattice_of([0] * 10, names, -1, 1023) is None
    chain = ideals.lattice_of([(1 << i) >> 1 for i in names], names, -1, 11)
    assert chain is not None
    assert chain.ideals == 11


def test_every_lower_bound_is_below_the_optimum_and_every_order_above(plain_case: Callable[..., Any]) -> None:
    """Forest bound <= optimum <= searched order, and the reported gap covers the difference."""
    generator = random.Random(5)
    for _ in range(60):
        rows = rows_of(generator, 7, 0.25)
        problem, own = terms(plain_case(rows))
        values = folded(problem, own)
        lattice = problem.structure.lattice(10_000)
        assert lattice is not None
        _, best = ideals.best_order(problem, own, lattice)
        constant = bounds.credit(problem, own, values)
        assert bounds.lower_bound(values, problem.structure, 30) - constant <= best + 1e-9
        order, gap = bounds.bounded_order(problem, own, exact=False, joined=False)
        cost = direct_cost(rows, order, 0.0)
        assert best <= cost + 1e-9
        assert cost * (1 - gap) <= best + 1e-9


def test_forests_are_solved_exactly(plain_case: Callable[..., Any]) -> None:
    """Merging strings gives the least cost over all orders of random out- and in-forests."""
    generator = random.Random(6)
    for _ in range(60):
        rows = rows_of(generator, 5, 0.0)
        values = Folded(
            tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(1 - r[1] for r in rows), (0.0,) * 5
        )
        arcs = {j: generator.randrange(j) for j in range(1, 5) if generator.random() < 0.7}
        out_rows: Rows = [(0, 0, 0, (arcs[j],) if j in arcs else ()) for j in range(5)]
        best = min(chain_cost(values, order) for order in extensions(out_rows))
        assert bounds.out_forest_cost(values, range(5), arcs) == pytest.approx(best)
        in_rows: Rows = [(0, 0, 0, tuple(k for k in arcs if arcs[k] == j and k != j)) for j in range(5)]
        order_best = min(
            chain_cost(values, order)
            for order in itertools.permutations(range(5))
            if all(order.index(b) < order.index(j) for j in range(5) for b in in_rows[j][3])
        )
        assert bounds.in_forest_cost(values, range(5), arcs) == pytest.approx(order_best)


def test_a_wide_saga_beyond_the_cap_gets_an_order_with_a_small_proven_gap(
    plain_case: Callable[..., Any],
) -> None:
    """Twenty-four nearly unordered steps are past the cap of a request; the gap that is left is reported."""
    rows = rows_of(random.Random(7), 24, 0.03)
    proposal = optimize(plain_case(rows).saga, plain_case(rows).forecast)
    assert proposal.advised.expected_cost < proposal.author.expected_cost
    assert 0 <= proposal.gap < 0.05


def test_plans_keep_every_arc_of_the_pivot(random_case: Callable[..., Any]) -> None:
    """Fallible steps that do not follow the pivot stay before it, retriable ones without undo after it."""
    for seed in range(40):
        case = random_case(seed, pivot=True, steps=(3, 7))
        plan = optimize(case.saga, case.forecast).plan
        place = {name: k for k, name in enumerate(plan.names)}
        assert case.saga.pivot is not None
        for step in case.saga.steps:
            if step.kind in (Kind.COMPENSATABLE, Kind.READ_ONLY):
                assert place[step.name] < place[case.saga.pivot.name]
            if step.kind is Kind.RETRIABLE and step.compensation is None:
                assert place[step.name] > place[case.saga.pivot.name]


def test_degenerate_steps(plain_case: Callable[..., Any]) -> None:
    """Certain success, certain failure, enormous undo costs and a single step give finite, right orders."""
    sure_last = plain_case([(1.0, 0.0, 9.0, ()), (1.0, 0.5, 1.0, ())])
    assert optimize(sure_last.saga, sure_last.forecast).plan.names == ("s1", "s0")
    doomed_first = plain_case([(1.0, 0.2, 9.0, ()), (5.0, 1.0, 1.0, ())], penalty=100.0)
    doomed = optimize(doomed_first.saga, doomed_first.forecast)
    assert doomed.plan.names == ("s1", "s0")
    assert doomed.advised.expected_cost == pytest.approx(105.0)
    huge = plain_case([(1.0, 0.5, 1e12, ()), (1.0, 0.1, 1.0, ())])
    assert optimize(huge.saga, huge.forecast).plan.names == ("s1", "s0")
    single = plain_case([(1.0, 0.3, 1.0, ())])
    proposal = optimize(single.saga, single.forecast)
    assert proposal.plan == author_plan(single.saga)
    assert math.isfinite(proposal.advised.expected_cost)


def test_equal_steps_are_ordered_by_name(plain_case: Callable[..., Any]) -> None:
    """Steps with the same index come in name order from the recursion and from the index."""
    case = plain_case([(1.0, 0.3, 2.0, ())] * 5)
    problem, own = terms(case)
    lattice = problem.structure.lattice(1_000)
    assert lattice is not None
    assert ideals.best_order(problem, own, lattice)[0] == (0, 1, 2, 3, 4)
    assert index_order(folded(problem, own), range(5), problem.saga.names) == (0, 1, 2, 3, 4)
