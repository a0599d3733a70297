"""The cheapest order of a saga's steps, exactly: a recursion over the sets of steps that can be done first.

A set that holds the predecessors of its members is an ideal (down-set). With V the cost still to come,

    V(S) = min over the steps j whose predecessors are in S of  cost_j(S) + go_j * V(S + j),     V(all) = 0,

where `options.Terms` gives cost_j(S). This holds for any undo cost that depends on S alone, so it covers
side-by-side undos (thinned samples) and the pivot. The lattice of a saga depends on its arcs only; it is
built layer by layer with numpy and kept. Ties go to the smaller step name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sagacity_optimizer.options import Terms
    from sagacity_optimizer.problem import Problem

IDEALS_MAX = 200_000  # about a second; a service must answer within its time budget
STEPS_MAX = 62  # one bit each, in a signed 64-bit integer
THIN, THINNER = 8, 64  # every 8th (64th) sample of side-by-side undo times serves the search
WIDE = 20_000
TIE = 1e-12
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """Ideals of one size and the steps that lead out of them, sorted by source, then by step name."""

    source: Ints
    target: Ints
    step: Ints
    starts: Ints  # where each ideal's moves begin
    committed: Floats  # per ideal, 1 when the pivot is in it
    entry_source: Ints  # for each ideal of the next layer, one ideal it comes from
    entry_step: Ints  # and the step that was added


@dataclass(frozen=True, slots=True)
class Lattice:
    """All ideals of a partial order, by size."""

    layers: tuple[Layer, ...]
    ideals: int


def lattice_of(before: Sequence[int], by_name: Sequence[int], pivot: int, most: int) -> Lattice | None:
    """The ideals when step j needs the mask `before[j]`; None when there are more than `most`."""
    if len(before) > STEPS_MAX:
        return None
    current, count, layers = np.zeros(1, dtype=np.int64), 1, []
    for _ in range(len(before)):
        sources, steps, masks = [], [], []
        for j in by_name:
            ready = np.flatnonzero((current & before[j] == before[j]) & (current >> j & 1 == 0))
            sources.append(ready)
            steps.append(np.full(len(ready), j))
            masks.append(current[ready] | (1 << j))
        source, step = np.concatenate(sources), np.concatenate(steps)
        following, entry, target = np.unique(np.concatenate(masks), return_index=True, return_inverse=True)
        count += len(following)
        if count > most:
            return None
        by_source = np.argsort(source, kind="stable")
        moves = source[by_source]
        layers.append(
            Layer(
                moves,
                target[by_source],
                step[by_source],
                np.searchsorted(moves, np.arange(len(current))),
                (current >> pivot & 1).astype(float) if pivot >= 0 else np.zeros(len(current)),
                source[entry],
                step[entry],
            )
        )
        current = following
    return Lattice(tuple(layers), count)


def best_order(problem: Problem, terms: Terms, lattice: Lattice) -> tuple[tuple[int, ...], float]:
    """The order of least expected cost under fixed options, and that cost."""
    undo_cost = _undo_costs(problem, terms, lattice)
    values: list[Floats] = [np.zeros(1)]
    moves: list[Floats] = []
    for layer, costs in zip(reversed(lattice.layers), reversed(undo_cost), strict=True):
        step = layer.step
        committed = layer.committed[layer.source]
        cost = terms.base[step] + costs
        if committed.any():
            cost = np.where(committed > 0, terms.base_committed[step], cost)
        total = cost + terms.go[step] * values[-1][layer.target]
        moves.append(total)
        values.append(np.minimum.reduceat(total, layer.starts))
    return _walk(lattice, moves[::-1]), float(values[-1][0])


def _undo_costs(problem: Problem, terms: Terms, lattice: Lattice) -> list[Floats]:
    """Per layer and move, the expected cost of undoing what is done if the step fails."""
    together = bool(problem.per_s > 0 and (terms.together.any() or terms.together_own.any()))
    paths = problem.undo_paths[:, :: THINNER if lattice.ideals > WIDE else THIN] if together else None
    money, time = np.zeros(1), np.zeros(1)
    longest = np.zeros((1, paths.shape[1])) if paths is not None else None
    costs = []
    for layer in lattice.layers:
        step, source = layer.step, layer.source
        cost = terms.back[step] * money[source] + terms.apart[step] * time[source]
        money = money[layer.entry_source] + terms.undo_money[layer.entry_step]
        time = time[layer.entry_source] + terms.undo_time_cost[layer.entry_step]
        if longest is not None and paths is not None:
            mean = longest.mean(axis=1)
            longest = np.maximum(longest[layer.entry_source], paths[layer.entry_step])
            mean_with = longest.mean(axis=1)
            cost += problem.per_s * (
                terms.together[step] * mean[source] + terms.together_own[step] * mean_with[layer.target]
            )
        costs.append(cost)
    return costs


def _walk(lattice: Lattice, moves: Sequence[Floats]) -> tuple[int, ...]:
    """The cheapest path through the lattice; of equal moves the first, which has the smallest name."""
    order, at = [], 0
    for layer, total in zip(lattice.layers, moves, strict=True):
        low = int(layer.starts[at])
        high = int(layer.starts[at + 1]) if at + 1 < len(layer.starts) else len(total)
        here = total[low:high]
        best = here.min()
        pick = low + int(np.argmax(here <= best + TIE * (1 + abs(best))))
        order.append(int(layer.step[pick]))
        at = int(layer.target[pick])
    return tuple(order)
