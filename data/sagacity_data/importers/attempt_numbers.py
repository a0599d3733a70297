"""Which step an attempt's name means, in which direction, and the attempt's number there.

A history that tells no attempt numbers tells an order. Attempts of one step in one direction are numbered in
it from 1, over retries, loops and rework alike: a second execution of a step goes on where the first ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sagacity_data.importers.compensations import UndoNames
from sagacity_data.importers.compensations_words import segments, undoing
from sagacity_engine import Direction


class AttemptNumbers:
    """The numbers given in one run so far; `said` maps compensating steps to the steps that they undo."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said = said
        self._names = UndoNames()
        self._new: list[str] = []  # Forward names that the above has not been told yet.
        self._given: dict[tuple[str, Direction], int] = {}

    def next(self, name: str, at_least: int = 1) -> tuple[str, Direction, int]:
        """Step, direction and number of the next attempt called `name`; a name once forward stays so.

        >>> numbers = AttemptNumbers({})
        >>> [numbers.next(name)[0::2] for name in ("BookFlight", "BookFlight", "CancelFlight")]
        [('BookFlight', 1), ('BookFlight', 2), ('BookFlight', 1)]
        """
        forward = (name, Direction.FORWARD)
        given = self._given.get(forward)
        if given is None:
            undone = self._undone(name)
            if undone is not None:
                return undone, Direction.UNDO, self._number((undone, Direction.UNDO), at_least)
            self._new.append(name)
        return name, Direction.FORWARD, self._number(forward, at_least)

    def _undone(self, name: str) -> str | None:
        said = self._said.get(name, name)
        if said != name:
            return said
        if not _may_undo(name):
            return None
        for new in self._new:
            self._names.add(new)
        self._new = []
        return self._names.undone_by(name)

    def _number(self, key: tuple[str, Direction], at_least: int) -> int:
        number = max(self._given.get(key, 0) + 1, at_least)
        self._given[key] = number
        return number


@lru_cache(maxsize=8192)
def _may_undo(name: str) -> bool:
    """Whether any word of the name speaks of undoing: most names need no closer look."""
    return any(undoing(word) is not None for part in segments(name) for word in part)
