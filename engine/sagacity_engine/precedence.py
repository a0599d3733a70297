"""Partial orders over named steps, as bit masks.

Step i is bit i of an integer, in the order of the listing. A set of predecessors, a closure or a done-set is
then one integer, and "is a an ancestor of b" is one `&`. Knows nothing of sagas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def listing_breach(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> tuple[str, str] | None:
    """The first (step, predecessor) where the predecessor is not listed earlier, or None."""
    seen: set[str] = set()
    for name in names:
        for before in after[name]:
            if before not in seen:
                return name, before
        seen.add(name)
    return None


def cycle(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The steps of one cycle, each following the next one's result; empty when there is none.

    >>> cycle(["a", "b"], {"a": ["b"], "b": ["a"]})
    ('a', 'b')
    """
    remaining = {name: set(after[name]) & set(names) for name in names}
    while free := [name for name, before in remaining.items() if not before]:
        for name in free:
            del remaining[name]
        for before in remaining.values():
            before.difference_update(free)
    if not remaining:
        return ()
    path = [next(iter(remaining))]
    while (towards := min(remaining[path[-1]])) not in path:
        path.append(towards)
    return tuple(path[path.index(towards) :])


def topological(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The names, predecessors first; ties keep the listing. The order must have no cycle."""
    waiting = {name: set(after[name]) for name in names}
    done: dict[str, None] = {}
    while waiting:
        ready = next(name for name, before in waiting.items() if before <= done.keys())
        done[ready] = None
        del waiting[ready]
    return tuple(done)


def ancestors(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """For each name, the mask of everything that must come before it, directly or not.

    >>> ancestors(["a", "b", "c"], {"a": [], "b": ["a"], "c": ["b"]})
    {'a': 0, 'b': 1, 'c': 3}
    """
    bit = {name: 1 << position for position, name in enumerate(names)}
    masks: dict[str, int] = {}
    for name in topological(names, after):
        masks[name] = 0
        for before in after[name]:
            masks[name] |= bit[before] | masks[before]
    return {name: masks[name] for name in names}
