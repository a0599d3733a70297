"""Slices of history in time order: what is fitted, what stops the fit, what calibrates, what judges.

| slice | share of runs, if nobody says otherwise | for |
|---|---|---|
| fit | first 60 % | learning |
| tune | next 12 % | when to stop boosting, how much to shrink |
| calibrate | next 13 % | the map from scores to honest probabilities |
| select | last 15 % | the figures that are reported and the choice among recipes; nothing is fitted on it |

A row belongs to the slice of its *launch* and is used there only if what it tells was known when the next
slice begins: a label that took until later would carry the next slice's future into this one. Runs launched
in the `embargo_s` seconds before a cut are in no slice: what they met, such as an outage, may not have been
over in the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagacity_training.config import SliceConfig
from sagacity_training.step_table import StepTable

if TYPE_CHECKING:
    from sagacity_training.stages import Known


@dataclass(frozen=True, slots=True)
class Slices:
    """Four slices in time order, and the instants (seconds since 1970) at which each but the first begins."""

    fit: StepTable
    tune: StepTable
    calibrate: StepTable
    select: StepTable
    cuts: tuple[float, float, float]

    def targets(self, known: Known, end: float) -> Slices:
        """The rows that hold a target, each known when its slice was over; the last one is over at `end`."""
        return Slices(
            known.by(self.fit, self.cuts[0]),
            known.by(self.tune, self.cuts[1]),
            known.by(self.calibrate, self.cuts[2]),
            known.by(self.select, end),
            self.cuts,
        )


def slice_by_time(table: StepTable, config: SliceConfig | None = None) -> Slices:
    """The four slices of a table; all steps of a run, and all runs of one instant, stay together."""
    import numpy as np

    settings = config or SliceConfig()
    gap_s = settings.embargo_s
    if not len(table):
        return Slices(table, table, table, table, (math.inf, math.inf, math.inf))
    at = table.launch_at
    _, begins = np.unique(table.run, return_index=True)
    launches = np.sort(at[begins])
    first, second, third = (
        float(launches[min(int(share * len(launches)), len(launches) - 1)]) for share in settings.ends
    )
    return Slices(
        table.where(at < first - gap_s),
        table.where((first <= at) & (at < second - gap_s)),
        table.where((second <= at) & (at < third - gap_s)),
        table.where(third <= at),
        (first, second, third),
    )
