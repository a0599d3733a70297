"""Orders and lower bounds for sagas with more ideals than the exact recursion may visit.

Both work on folded costs (`index`). The order comes from a beam search over ideals, scored by the cost so
far plus the index-sorted cost of the rest, which never overestimates. The bound drops precedence until a
forest is left (every step keeps one predecessor, or one successor) and solves that exactly: strings of
steps are merged while the one of lowest cost per probability to stop may not come first. Seeded changes of
the kept arcs raise the bound. The steps before the pivot and those after it are bounded apart. A step that
may run on either side of the pivot (retriable with a compensation) makes the split invalid; then nothing is
proven and the bound is 0.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sagacity_optimizer.index import Folded, chain_cost, folded, index_order
from sagacity_optimizer.options import Terms
from sagacity_optimizer.problem import Problem, Structure

BEAM, BEAM_EXACT = 8, 40
CHANGES, CHANGES_EXACT = 20, 400
BEAM_STEPS_MAX = 62
SEED = 3


def bounded_order(
    problem: Problem, terms: Terms, *, exact: bool, joined: bool
) -> tuple[tuple[int, ...], float]:
    """A good order under fixed options, and the share of its cost that a better one could save at most."""
    values = folded(problem, terms)
    structure, names = problem.structure, problem.saga.names
    order = good_order(values, structure.before, names, BEAM_EXACT if exact else BEAM)
    lower = folded(problem, terms, timed=False) if joined else values
    changes = CHANGES_EXACT if exact else CHANGES
    bound = lower_bound(lower, structure, changes if len(order) <= BEAM_STEPS_MAX else 0)
    if bound <= 0.0:
        return order, 1.0
    least = bound - credit(problem, terms, lower)
    cost = chain_cost(values, order) - credit(problem, terms, values)
    return order, min(1.0, max(0.0, (cost - least) / cost)) if cost > 0 else 0.0


def credit(problem: Problem, terms: Terms, values: Folded) -> float:
    """What folding counts too much: every undo, whenever the run gets past the point where it turns back."""
    pivot = problem.structure.pivot
    before = [i for i in range(len(values.cost)) if pivot < 0 or problem.structure.ancestors[pivot] >> i & 1]
    reach = math.prod(values.goes_on[i] for i in before)
    stays = 1.0 if pivot < 0 else 1.0 - float(terms.back[pivot])
    return sum(values.credit) * reach * stays


def good_order(values: Folded, before: Sequence[int], names: Sequence[str], width: int) -> tuple[int, ...]:
    """A feasible order by beam search; by list scheduling when there are too many steps for it."""
    listed = _list_schedule(values, before, names)
    if len(before) > BEAM_STEPS_MAX:
        return listed
    beamed = _beam(values, before, names, width)
    return min((beamed, listed), key=lambda order: chain_cost(values, order))


def lower_bound(values: Folded, structure: Structure, changes: int) -> float:
    """A cost along the chain that no legal order undercuts; 0 when nothing can be proven."""
    pivot, ancestors = structure.pivot, structure.ancestors
    everyone = range(len(values.cost))
    if pivot < 0:
        return forest_bound(values, list(everyone), ancestors, changes)
    before = [i for i in everyone if ancestors[pivot] >> i & 1]
    after = [i for i in everyone if ancestors[i] >> pivot & 1]
    if len(before) + len(after) + 1 < len(values.cost):
        return 0.0
    reach = math.prod(values.goes_on[i] for i in before)
    rest = values.cost[pivot] + values.goes_on[pivot] * forest_bound(values, after, ancestors, changes)
    return forest_bound(values, before, ancestors, changes) + reach * rest


def forest_bound(values: Folded, steps: Sequence[int], ancestors: Sequence[int], changes: int) -> float:
    """The best bound over forests inside the transitive closure of the order on `steps`."""
    if not steps:
        return 0.0
    earlier = {i: [b for b in steps if ancestors[i] >> b & 1] for i in steps}
    later = {i: [a for a in steps if ancestors[a] >> i & 1] for i in steps}
    best = chain_cost(values, index_order(values, steps, [str(i).zfill(4) for i in range(len(values.cost))]))
    for choices, solve in ((earlier, out_forest_cost), (later, in_forest_cost)):
        best = max(best, _climbed(values, steps, choices, solve, changes))
    return best


def _climbed(
    values: Folded,
    steps: Sequence[int],
    choices: dict[int, list[int]],
    solve: Callable[[Folded, Sequence[int], dict[int, int]], float],
    changes: int,
) -> float:
    """Hill climbing over which single arc each step keeps; every forest on the way is a valid bound."""
    generator = random.Random(SEED)
    kept = {
        i: (max if solve is out_forest_cost else min)(options, key=lambda k: (values.index(k), k))
        for i, options in choices.items()
        if options
    }
    best = solve(values, steps, kept)
    open_choices = [i for i in steps if len(choices[i]) > 1]
    for _ in range(changes if open_choices else 0):
        i = generator.choice(open_choices)
        tried = {**kept, i: generator.choice(choices[i])}
        if (cost := solve(values, steps, tried)) > best:
            best, kept = cost, tried
    return best


class _String(NamedTuple):
    """Steps that run one after the other: cost along them, probability to get through."""

    cost: float
    goes_on: float
    member: int  # the smallest step in it, which breaks ties

    def then(self, other: _String) -> _String:
        return _String(
            self.cost + self.goes_on * other.cost,
            self.goes_on * other.goes_on,
            min(self.member, other.member),
        )

    @property
    def ratio(self) -> float:
        return self.cost / (1 - self.goes_on) if self.goes_on < 1 else math.inf


def out_forest_cost(values: Folded, steps: Sequence[int], parent: dict[int, int]) -> float:
    """The least cost when step i must come after `parent[i]` and nothing else is ordered; exact."""
    strings = {i: _String(values.cost[i], values.goes_on[i], i) for i in steps}
    above, home = dict(parent), {i: i for i in steps}
    done = _String(0.0, 1.0, -1)
    while strings:
        i = min(strings, key=lambda k: (strings[k].ratio, strings[k].member))
        string = strings.pop(i)
        target = _root(home, above[i]) if i in above else None
        if target is not None and target in strings:
            strings[target] = strings[target].then(string)
            home[i] = target
        else:
            done = done.then(string)
    return done.cost


def in_forest_cost(values: Folded, steps: Sequence[int], child: dict[int, int]) -> float:
    """The least cost when step i must come before `child[i]` and nothing else is ordered; exact."""
    strings = {i: _String(values.cost[i], values.goes_on[i], i) for i in steps}
    below, home = dict(child), {i: i for i in steps}
    tail = _String(0.0, 1.0, -1)
    while strings:
        i = max(strings, key=lambda k: (strings[k].ratio, strings[k].member))
        string = strings.pop(i)
        target = _root(home, below[i]) if i in below else None
        if target is not None and target in strings:
            strings[target] = string.then(strings[target])
            home[i] = target
        else:
            tail = string.then(tail)
    return tail.cost


def _root(home: dict[int, int], i: int) -> int:
    while home[i] != i:
        i = home[i]
    return i


def _list_schedule(values: Folded, before: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """Always the ready step of lowest index."""
    done, order, left = 0, [], set(range(len(before)))
    while left:
        ready = [i for i in left if before[i] & done == before[i]]
        i = min(ready, key=lambda k: (values.index(k), names[k]))
        order.append(i)
        left.remove(i)
        done |= 1 << i
    return tuple(order)


class _Partial(NamedTuple):
    score: float
    cost: float
    reach: float
    done: int
    order: tuple[int, ...]


def _beam(values: Folded, before: Sequence[int], names: Sequence[str], width: int) -> tuple[int, ...]:
    """Beam search over ideals; of two ways to the same ideal the cheaper survives."""
    ranked = index_order(values, range(len(before)), names)
    beam = [_Partial(0.0, 0.0, 1.0, 0, ())]
    for _ in before:
        reached: dict[int, _Partial] = {}
        for partial in beam:
            for i in ranked:
                if partial.done >> i & 1 or before[i] & partial.done != before[i]:
                    continue
                done = partial.done | 1 << i
                cost = partial.cost + partial.reach * values.cost[i]
                known = reached.get(done)
                if known is None or cost < known.cost:
                    reach = partial.reach * values.goes_on[i]
                    reached[done] = _Partial(0.0, cost, reach, done, (*partial.order, i))
        scored = [
            p._replace(score=p.cost + p.reach * _rest(values, ranked, p.done)) for p in reached.values()
        ]
        beam = sorted(scored)[:width]
    return min(beam).order


def _rest(values: Folded, ranked: Sequence[int], done: int) -> float:
    """The cost of the steps not done in index order, which no order undercuts."""
    total, reach = 0.0, 1.0
    for i in ranked:
        if not done >> i & 1:
            total += reach * values.cost[i]
            reach *= values.goes_on[i]
    return total
