"""The best legal plan we can find for one run, judged by the one yardstick.

Alternates the order (exact over ideals, or beam search with a bound beyond the cap) and the options of
every step (strategies and numbers together, exact along the order, under the saga's deadline a knapsack)
until nothing improves. Whatever comes out is judged by `evaluate` and dropped unless it is cheaper than the
author's plan. A timeout is never used to fail on purpose (`options.honest`). A plan with stages keeps its
stages: its options are chosen along its listing.

With a saga deadline the options first have to fit under it in the worst case; only where the author's plan
does not fit either is a plan considered that does not.

`gap` bounds what a better *order* could save with the chosen options, as a share of the cost; 0 means
proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagacity_engine.plan import Plan, check
from sagacity_engine.saga import Saga
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer import bounds, deadline, ideals, knapsack
from sagacity_optimizer.build import built_plan
from sagacity_optimizer.evaluate import is_sequential, judge, laws_of
from sagacity_optimizer.evaluation import Evaluation
from sagacity_optimizer.options import (
    Effects,
    cost_at,
    effects_along,
    option_table,
    terms_of,
)
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.reasons import Reason, reasons_for

ROUNDS_MAX = 4
IDEALS_PER_REQUEST = 20_000
"""Up to this many ideals an order is proven optimal within a few milliseconds; `exact` goes to the cap."""

BETTER = 1e-9  # relative; less is rounding


@dataclass(frozen=True, slots=True)
class Proposal:
    """The advised plan beside the author's, both by the same yardstick."""

    plan: Plan
    author: Evaluation
    advised: Evaluation
    gap: float
    reasons: tuple[Reason, ...]


def optimize(saga: Saga, forecast: SagaForecast, *, exact: bool = False) -> Proposal:
    """The cheapest legal plan found; never dearer than the author's by `evaluate`. Raises `ForecastRefused`.

    `exact` searches orders up to the cap of `ideals` and chooses options with CP-SAT.
    """
    problem = Problem(saga, forecast)
    author = problem.structure.author
    before = judge(author, problem)
    plan, after, gap = author, before, 0.0
    if _may_change(saga):
        found, gap = _candidates(problem, before, exact=exact)
        plan, after = _best(before, author, found)
    breaches = check(plan, saga)
    assert not breaches, f"the optimizer built an illegal plan: {breaches}"
    return Proposal(plan, before, after, gap, reasons_for(problem, plan, before, after))


def _may_change(saga: Saga) -> bool:
    freedom = saga.freedom
    return freedom.reorder or freedom.timeouts or freedom.retries or freedom.compensation


def _best(
    before: Evaluation, author: Plan, found: Sequence[tuple[Plan, Evaluation]]
) -> tuple[Plan, Evaluation]:
    """The cheapest plan found, or the author's where none is cheaper."""
    best, best_evaluation = author, before
    for plan, evaluation in found:
        if evaluation.expected_cost < best_evaluation.expected_cost * (1 - BETTER):
            best, best_evaluation = plan, evaluation
    return best, best_evaluation


def _candidates(
    problem: Problem, before: Evaluation, *, exact: bool
) -> tuple[list[tuple[Plan, Evaluation]], float]:
    """Plans the search ends with, judged, and the largest gap of their orders."""
    saga, author = problem.saga, problem.structure.author
    search = _Search(problem, reorders=saga.freedom.reorder and is_sequential(author), exact=exact)
    found = [search.plan(saga.deadline_s)]
    if saga.deadline_s is not None and not search.author_fits(before):
        found.append(search.plan(None))
    return [(plan, judge(plan, problem)) for plan, _ in found], max(gap for _, gap in found)


class _Search:
    """Alternation of order and options for one problem."""

    def __init__(self, problem: Problem, *, reorders: bool, exact: bool) -> None:
        self.problem, self.reorders, self.exact = problem, reorders, exact
        self.joined = problem.saga.freedom.compensation and problem.per_s > 0
        self.table = option_table(problem, problem.structure.author, joined=self.joined)
        most = ideals.IDEALS_MAX if exact else IDEALS_PER_REQUEST
        self.lattice = problem.structure.lattice(most) if reorders else None

    def author_fits(self, before: Evaluation) -> bool:
        """Whether the author's plan keeps the saga's deadline in the worst case."""
        problem = self.problem
        deadline_s = problem.saga.deadline_s
        if deadline_s is None or before.worst_case_s <= deadline_s:
            return True
        order = range(len(problem.steps))
        return is_sequential(problem.structure.author) and deadline.within_worst_case(
            problem, order, laws_of(problem.structure.author, problem)
        )

    def plan(self, budget_s: float | None) -> tuple[Plan, float]:
        """The plan the alternation ends with, and the gap of its order."""
        order = tuple(range(len(self.problem.steps)))
        picks, gap = [0] * len(order), 0.0
        for _ in range(ROUNDS_MAX):
            was = picks
            if self.reorders:
                order, gap = self._order(picks)
            effects = effects_along(self.problem, self.table, picks, order)
            picks = self._options(order, effects, budget_s)
            if picks == was:  # the order is best for these options, and they for the order
                break
        else:
            if self.reorders:
                order, gap = self._order(picks)
        effects = effects_along(self.problem, self.table, picks, order)
        return built_plan(self.problem, self.table, order, picks, effects, joined=self.joined), gap

    def _order(self, picks: Sequence[int]) -> tuple[tuple[int, ...], float]:
        terms = terms_of(self.problem, self.table, picks)
        if self.lattice is None:
            return bounds.bounded_order(self.problem, terms, exact=self.exact, joined=self.joined)
        order, _ = ideals.best_order(self.problem, terms, self.lattice)
        return order, 0.0

    def _options(self, order: Sequence[int], effects: Sequence[Effects], budget_s: float | None) -> list[int]:
        """The picks by step position; the author's when nothing fits the budget."""
        links = []
        for i, effect in zip(order, effects, strict=True):
            weight = self.table[i].worst_s * (0.0 if effect.committed else 1.0)
            links.append(knapsack.Link(cost_at(self.table[i], effect), self.table[i].go, weight))
        along = self._solver()(links, budget_s)
        picks = [0] * len(order)
        for i, pick in zip(order, along or picks, strict=True):
            picks[i] = pick
        return picks

    def _solver(self) -> Callable[[Sequence[knapsack.Link], float | None], list[int] | None]:
        if not self.exact:
            return knapsack.choose
        from sagacity_optimizer import cpsat  # OR-Tools takes a while to import

        return cpsat.choose
