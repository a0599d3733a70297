"""A saga's precedence as a networkx graph, at the edge: for people, off the path of a request.

The optimizer itself works on bit masks; nothing here is needed to find or judge a plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from sagacity_engine.saga import Saga

if TYPE_CHECKING:
    Graph = nx.DiGraph[str]


def precedence_graph(saga: Saga) -> Graph:
    """An arc from every step to each step that must come after it (data, and what the pivot adds)."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(saga.names)
    graph.add_edges_from((before, name) for name in saga.names for before in sorted(saga.arcs[name]))
    return graph


def fixed_arcs(saga: Saga) -> tuple[tuple[str, str], ...]:
    """What no plan may turn round, told shortest: the arcs that no longer path implies, sorted."""
    return tuple(sorted(nx.transitive_reduction(precedence_graph(saga)).edges))
