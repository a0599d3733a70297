"""A saga's precedence as a networkx graph: for display and explanation, off the path of a request.

The optimizer itself works on bit masks; nothing here is needed to find or judge a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import networkx as nx

from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga

if TYPE_CHECKING:
    Graph = nx.DiGraph[str]


def precedence_graph(saga: Saga) -> Graph:
    """An arc from every step to each step that must come after it (data, and what the pivot adds)."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(saga.names)
    graph.add_edges_from((before, name) for name in saga.names for before in sorted(saga.arcs[name]))
    return graph


def plan_graph(plan: Plan) -> Graph:
    """An arc from every step to each step that waits for it under the plan."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(plan.names)
    graph.add_edges_from((before, step.name) for step in plan.steps for before in step.after)
    return graph


def shown_arcs(graph: Graph) -> tuple[tuple[str, str], ...]:
    """The arcs worth drawing: those that no longer path implies, sorted."""
    return tuple(sorted(nx.transitive_reduction(graph).edges))


def critical_path(graph: Graph, seconds: Mapping[str, float]) -> tuple[tuple[str, ...], float]:
    """The longest chain of steps and its seconds: no plan with these waits can be shorter.

    Give it the waits and the expected seconds of a plan. Of equally long chains the first by name is taken.
    """
    best: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in nx.lexicographical_topological_sort(graph):
        before = [best[b] for b in sorted(graph.predecessors(name))]
        length, path = max(before, key=lambda item: item[0], default=(0.0, ()))
        best[name] = (length + seconds[name], (*path, name))
    length, path = max((best[name] for name in sorted(best)), key=lambda item: item[0], default=(0.0, ()))
    return path, length


def longest_undo_path(saga: Saga, seconds: Mapping[str, float]) -> tuple[tuple[str, ...], float]:
    """The longest chain of undos that must follow one another, first undo first, and its seconds.

    `seconds` holds the expected seconds per undo; steps without one count as 0.
    """
    known = {name: seconds.get(name, 0.0) for name in saga.names}
    return critical_path(precedence_graph(saga).reverse(copy=True), known)
