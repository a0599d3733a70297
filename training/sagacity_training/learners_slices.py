"""A table's rows in four slices of time: fit, tune, calibrate, select, as `slices` cuts the step table.

A case (a run, or a group of rows that say the same thing) lies in the slice in which it begins, whole. A row
is used in its slice only if what it tells was known when the next slice begins: an answer that took until
later would carry the next slice's future into this one.

Rows that have no time are cut into folds instead, in the order in which they come: each fold judges once,
while the next one tunes, the one after that calibrates, and the rest is fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TableSlices:
    """The places of each slice's rows, in time order."""

    fit: Places
    tune: Places
    calibrate: Places
    select: Places

    @property
    def parts(self) -> tuple[Places, Places, Places, Places]:
        """All four, in time order."""
        return self.fit, self.tune, self.calibrate, self.select

    @property
    def earlier(self) -> Places:
        """All rows that the forecasts of the last slice may rest on."""
        import numpy as np

        return np.concatenate([self.fit, self.tune, self.calibrate])


def slices_of(at: Array, known_at: Array, cases: Places, shares: Sequence[float]) -> TableSlices:
    """The slices of rows that are in time order; cases that begin at one instant stay together."""
    import numpy as np

    _numbers, first, which = np.unique(cases, return_index=True, return_inverse=True)
    begins = at[first][which]  # Rows are in time order, so a case's first row is where it begins.
    starts = np.sort(at[first])
    cuts = starts[np.minimum((np.array(shares) * len(starts)).astype(int), len(starts) - 1)]
    slice_of = np.searchsorted(cuts, begins, side="right")
    ends = np.append(cuts, np.inf)
    parts = [np.flatnonzero((slice_of == number) & (known_at <= ends[number])) for number in range(4)]
    return TableSlices(*parts)


def folds_of(cases: Places, folds: int) -> list[TableSlices]:
    """As many sets of slices, in which each case is in `select` once; cases stay whole."""
    import numpy as np

    _numbers, first, which = np.unique(cases, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(first))
    fold = (ranks * folds // len(first))[which]
    turns = []
    for turn in range(folds):
        role = (fold - turn) % folds
        places = [np.flatnonzero(role == number) for number in range(3)]
        turns.append(TableSlices(np.flatnonzero(role >= 3), places[1], places[2], places[0]))
    return turns
