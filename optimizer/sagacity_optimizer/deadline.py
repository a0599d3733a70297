"""Plans that run one step at a time when the saga's deadline may turn the run back.

If every attempt at its timeout and every wait at its ceiling still fit, the deadline never matters and
nothing here is used. Otherwise the recursion of `sequential` carries the law of the elapsed time on a grid
(`elapsed`). Past the deadline an attempt in flight settles (and is undone if it succeeded), a backing-off
step gives up, undos run side by side. A pivot in flight that succeeds wins, and a pivot whose outcome is
uncertain is asked to the end of its attempts.

Money and forward times use exact means, so only the probability of passing the deadline carries the grid's
error: rounding to cells moves the deadline by about deadline / CELLS per attempt, at random and not in one
direction. Whether an optional step's effect is there is taken as independent of the elapsed time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagacity_engine.plan import Plan, StepPlan
from sagacity_optimizer.elapsed import CELLS, Grid, StepOnGrid
from sagacity_optimizer.evaluation import Evaluation
from sagacity_optimizer.outcomes import ByClass, StepLaw, parallel_flags
from sagacity_optimizer.problem import Floats, Problem
from sagacity_optimizer.sequential import (
    Booking,
    Walk,
    carry_committed,
    finished,
    worst_case_s,
    worst_step_s,
)


def within_worst_case(problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> bool:
    """Whether the saga's deadline can never turn a run back, even with every attempt at its timeout."""
    if problem.saga.deadline_s is None:
        return True
    return worst_to_pivot_s(problem, order, laws) <= problem.saga.deadline_s


def worst_to_pivot_s(problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> float:
    """The longest time until the pivot has succeeded, or until the end of a saga without one."""
    total = 0.0
    for i in order:
        total += worst_step_s(problem, i, laws[i])
        if i == problem.structure.pivot:
            break
    return total


def evaluated(plan: Plan, problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> Evaluation:
    """The evaluation of a plan that runs its steps one at a time; the saga must have a deadline."""
    assert problem.saga.deadline_s is not None
    grid, walk = Grid(problem.saga.deadline_s), Walk(problem)
    elapsed = np.zeros(CELLS)
    elapsed[0] = 1.0
    committed: float | None = None  # P(the pivot has succeeded), once it has been reached
    for step_plan, i in zip(plan.steps, order, strict=True):
        if committed is not None:
            committed = carry_committed(walk, i, laws[i], committed)
            continue
        elapsed = _carry(walk, i, step_plan, elapsed, grid)
        if i == problem.structure.pivot:
            committed = float(elapsed.sum())
    walk.arrive(float(elapsed.sum()) if committed is None else committed)
    ends = walk.ends
    lost = abs(1 - ends.success - ends.compensated - ends.attention)
    assert lost < 1e-6, f"{lost} of the runs were lost on the grid"
    return finished(ends, problem, walk.steps, worst_s=worst_case_s(problem, order, laws))


def _carry(walk: Walk, i: int, plan: StepPlan, elapsed: Floats, grid: Grid) -> Floats:
    """Books a step before the commit; returns the law of the elapsed time after it."""
    problem = walk.problem
    run = StepOnGrid(problem, i, plan, elapsed, grid)
    pivot = i == problem.structure.pivot
    refused, tainted = run.refused.sum(axis=1), run.tainted.sum(axis=1)
    booking = Booking(i, float(elapsed.sum()), run.attempts, run.successes, run.seconds)
    booking.fails = float(refused.sum() + tainted.sum())
    goes_on, late_clean = run.won.copy(), run.late_clean
    if problem.steps[i].optional:
        walk.leave_out(booking, float(tainted.sum()))
        left_out = run.refused.sum(axis=0) + grid.spread(
            run.tainted.sum(axis=0), grid.fixed(problem.undos[i].seconds)
        )
        late_clean += max(0.0, booking.fails - float(left_out.sum()))  # its undo passes the deadline
        goes_on += left_out
    else:
        flags = parallel_flags(plan.on_failure)
        walk.turn_back(booking, _by_class(refused), _by_class(tainted), side_by_side=flags)
    late_won = run.late_won
    if pivot:  # one in flight at the deadline wins; elapsed time no longer matters
        goes_on[0] += late_won
        late_won = 0.0
    walk.turn_back(
        booking,
        (0.0, 0.0, 0.0, late_clean),
        (0.0, 0.0, 0.0, late_won + run.late_tainted),
        side_by_side=(True, True, True, True),
    )
    if problem.structure.undoable[i]:
        walk.ends.wasted += late_won * problem.steps[i].cost
    walk.ends.deadline += late_clean + late_won + run.late_tainted
    walk.book(booking)
    on = float(goes_on.sum())
    if not pivot and on > 0:
        walk.done.add(i, min(1.0, float(run.won.sum()) / on) if problem.steps[i].optional else 1.0)
    return goes_on


def _by_class(masses: Floats) -> ByClass:
    a, b, c, d = (float(mass) for mass in masses)
    return a, b, c, d
