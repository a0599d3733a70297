"""Which telling of a run counts, where a run is told again: the one that tells more.

A history that is written while its run is under way tells it as open, and a later one how it ended. So an
ended telling takes the place of an open one, whichever comes first, and of two open ones that with more
attempts settled, else with more attempts at all, takes the place of the other. Of two ended ones the first
counts, row by row: the store sees to that.

Memory holds a number for each open run of the dataset, and eight bytes for each ended one, from the first
open run that is imported on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row, RunRow
from sagacity_data.store import DatasetStore
from sagacity_engine import Status

if TYPE_CHECKING:
    import numpy as np


class Telling(NamedTuple):
    """How much is told of a run; the larger one tells more."""

    ended: bool
    settled: int = 0  # Attempts, counted only while the run is open.
    attempts: int = 0


ENDED: Final = Telling(True)


def telling_of(rows: Sequence[Row]) -> Telling:
    """What one run's rows tell, its own last."""
    run = rows[-1]
    if isinstance(run, RunRow) and run.status.ended:
        return ENDED
    attempts = [row for row in rows if isinstance(row, AttemptRow)]
    settled = sum(row.outcome is not AttemptOutcome.OPEN for row in attempts)
    return Telling(False, settled, len(attempts))


class HeldRuns:
    """What the dataset held of its runs when it was first asked."""

    def __init__(self, store: DatasetStore) -> None:
        self._store = store
        self._open: set[int] | None = None  # Hashes of the ids of open runs,
        self._tellings: dict[int, Telling] | None = None  # and how much is told of each.
        self._ended: np.ndarray[Any, np.dtype[np.int64]] | None = None  # Hashes of the others, sorted.

    def telling(self, run_id: str, now: Telling) -> Telling | None:
        """How much the dataset tells of a run that is now told so; None where it makes no difference."""
        if self._open is None:
            self._open = self._hashes(ended=False)
        key = hash(run_id)
        if now.ended:
            return Telling(False) if key in self._open else None
        if key in self._open and not self._is_ended(key):
            return self._told(key)
        return ENDED if self._is_ended(key) else None

    def _is_ended(self, key: int) -> bool:
        import numpy as np

        if self._ended is None:
            hashes = self._hashes(ended=True)
            self._ended = np.sort(np.fromiter(hashes, np.int64, len(hashes)))
        place = int(np.searchsorted(self._ended, key))
        return place < len(self._ended) and int(self._ended[place]) == key

    def _told(self, key: int) -> Telling:
        if self._tellings is None:
            self._tellings = self._weighed(self._open or set())
        return self._tellings.get(key, Telling(False))

    def _hashes(self, *, ended: bool) -> set[int]:
        wanted = {status.value for status in Status if status.ended is ended}
        return {
            hash(run_id)
            for batch in self._store.scan(RunRow, ("run_id", "status"))
            for run_id, status in zip(*(column.to_pylist() for column in batch.columns), strict=True)
            if status in wanted
        }

    def _weighed(self, keys: set[int]) -> dict[int, Telling]:
        settled, attempts = Counter[int](), Counter[int]()
        for batch in self._store.scan(AttemptRow, ("run_id", "outcome")):
            for run_id, outcome in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if (key := hash(run_id)) in keys:
                    attempts[key] += 1
                    settled[key] += outcome != AttemptOutcome.OPEN.value
        return {key: Telling(False, settled[key], attempts[key]) for key in keys}
