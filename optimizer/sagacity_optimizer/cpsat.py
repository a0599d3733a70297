"""The same choice of options as `knapsack`, solved by CP-SAT: the check of the fast one, and `exact=True`.

One Boolean per position and useful option, one integer V_k per position for the cost to come, and for every
option  SCALE * V_k >= cost + go * V_(k+1)  if it is chosen. Costs are scaled to `UNITS` of the largest
possible value and rounded up, so V_0 is at most a few units (2e-6 of that value per position) too high. One
worker, a fixed seed and a deterministic time limit: the same question gets the same answer on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ortools.sat.python import cp_model

from sagacity_optimizer import knapsack
from sagacity_optimizer.knapsack import Link

UNITS = 10**6
SHARES = 10**6
WEIGHT_UNITS = 10**6
DETERMINISTIC_SECONDS = 0.5


def choose(links: Sequence[Link], budget_s: float | None) -> list[int] | None:
    """The number of the chosen option per position, or None when nothing fits."""
    free = knapsack.modest(links)
    if budget_s is None or knapsack.weight_s(links, free) <= budget_s:
        return free
    if sum(float(link.weight_s.min()) for link in links) > budget_s:
        return None
    fast = knapsack.choose(links, budget_s)
    solved = _solved(links, budget_s, hint=fast)
    candidates = [picks for picks in (fast, solved) if picks is not None]
    return min(candidates, key=lambda picks: knapsack.value_of(links, picks), default=None)


def _solved(links: Sequence[Link], budget_s: float, hint: Sequence[int] | None) -> list[int] | None:
    model = cp_model.CpModel()
    ranges = knapsack.value_ranges(links)
    top = max(
        float((link.cost + link.go * high).max()) for link, (_, high) in zip(links, ranges, strict=True)
    )
    unit = top / UNITS if top > 0 else 1.0
    values = [model.new_int_var(0, 2 * UNITS, f"v{k}") for k in range(len(links) + 1)]
    model.add(values[-1] == 0)
    chosen: list[dict[int, cp_model.IntVar]] = []
    used = []
    for k, (link, bounds) in enumerate(zip(links, ranges, strict=True)):
        picks = {o: model.new_bool_var(f"x{k}_{o}") for o in knapsack.useful(link, *bounds)}
        model.add_exactly_one(picks.values())
        for o, picked in picks.items():
            cost = math.ceil(float(link.cost[o]) / unit * SHARES)
            share = math.ceil(float(link.go[o]) * SHARES)
            model.add(SHARES * values[k] >= cost + share * values[k + 1]).only_enforce_if(picked)
            used.append(math.ceil(float(link.weight_s[o]) / budget_s * WEIGHT_UNITS - 1e-6) * picked)
            if hint is not None:
                model.add_hint(picked, hint[k] == o)
        chosen.append(picks)
    model.add(sum(used) <= WEIGHT_UNITS)
    model.minimize(values[0])
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = DETERMINISTIC_SECONDS
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [next(o for o, picked in picks.items() if solver.boolean_value(picked)) for picks in chosen]
