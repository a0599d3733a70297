"""The index of a step: what it costs to try, per unit of probability to turn the run back.

Compensation folds exactly into a cost of the step itself. With a the cost of trying step j (its own
clean-up and the penalty included), g what undoing it costs once it succeeded, q its probability to turn the
run back and p = 1 - q,

    E[cost] = sum over the order of P(the earlier steps go on) * c_j  -  constant,      c_j = a_j + p_j * g_j,

so ordering is least-cost fault detection, and without precedence c/q in rising order is optimal (steps that
cannot fail go last). The folding is exact for steps before the pivot whose undo costs add up; steps after
the pivot have g = 0. Ties go to the smaller step name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sagacity_optimizer.options import Terms
from sagacity_optimizer.problem import Problem


@dataclass(frozen=True, slots=True)
class Folded:
    """Folded costs c, probabilities q to turn back, and the probabilities p to go on; by step position."""

    cost: tuple[float, ...]
    stops: tuple[float, ...]
    goes_on: tuple[float, ...]
    credit: tuple[float, ...]  # undo cost g of each step's effect, paid back when every step has gone on

    def index(self, i: int) -> float:
        """c/q, infinite for a step that cannot turn the run back."""
        return self.cost[i] / self.stops[i] if self.stops[i] > 0 else math.inf


def folded(problem: Problem, terms: Terms, *, timed: bool = True) -> Folded:
    """The folded costs of the steps under chosen options.

    `timed` counts the time of undoing one step after another; without it the costs bound from below those of
    plans that undo side by side.
    """
    structure = problem.structure
    after = [bool(structure.pivot >= 0 and mask >> structure.pivot & 1) for mask in structure.ancestors]
    late = np.array([done or i == structure.pivot for i, done in enumerate(after)])
    undo = terms.undo_money + (terms.undo_time_cost if timed else 0.0)
    credit = np.where(late, 0.0, undo)
    attempt = np.where(np.array(after), terms.base_committed, terms.base)
    cost = attempt + terms.go * credit
    return Folded(
        tuple(cost.tolist()), tuple((1 - terms.go).tolist()), tuple(terms.go.tolist()), tuple(credit.tolist())
    )


def index_order(values: Folded, steps: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """`steps` by rising index, which is optimal when nothing orders them. Ties go to the smaller name."""
    return tuple(sorted(steps, key=lambda i: (values.index(i), names[i])))


def chain_cost(values: Folded, order: Sequence[int]) -> float:
    """sum of P(the earlier steps go on) * c along `order`: the expected cost but for the constant credit."""
    reach = total = 0.0
    reach = 1.0
    for i in order:
        total += reach * values.cost[i]
        reach *= values.goes_on[i]
    return total
