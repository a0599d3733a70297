"""The runs that a listener follows, and never more than a stated number of them.

When there is no room, the run that has been quiet for longest is let go: it is the likeliest to wait for a
person, or to have ended unheard. Should it speak again it is followed again, from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from sagacity_engine import SagaRefused

T = TypeVar("T")


class OpenRuns(Generic[T]):
    """What a listener keeps for each run it follows, by run id; at most `runs_max`."""

    def __init__(self, runs_max: int) -> None:
        if runs_max < 1:
            raise SagaRefused(f"runs_max is {runs_max!r}; it must be at least 1")
        self._runs_max = runs_max
        self._runs: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> T | None:
        """What is kept for a run; it counts as heard from."""
        kept = self._runs.get(run_id)
        if kept is not None:
            self._runs.move_to_end(run_id)
        return kept

    def add(self, run_id: str, kept: T) -> tuple[str, T] | None:
        """Follows one more run; returns the run that had to make room, with what was kept for it."""
        self._runs[run_id] = kept
        self._runs.move_to_end(run_id)
        return self._runs.popitem(last=False) if len(self._runs) > self._runs_max else None

    def values(self) -> Iterable[T]:
        """What is kept for every run; none of them counts as heard from."""
        return self._runs.values()

    def pop(self, run_id: str) -> T | None:
        """Follows a run no longer."""
        return self._runs.pop(run_id, None)

    def drain(self) -> Iterator[tuple[str, T]]:
        """Follows none any longer, one after the other."""
        while self._runs:
            yield self._runs.popitem(last=False)
