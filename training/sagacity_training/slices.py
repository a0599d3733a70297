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
from collections.abc import Callable
from dataclasses import dataclass

from sagacity_training.config import SliceConfig
from sagacity_training.step_table import StepRow, StepTable


@dataclass(frozen=True, slots=True)
class Slices:
    """Four slices in time order, and the instants (seconds since 1970) at which each but the first begins."""

    fit: StepTable
    tune: StepTable
    calibrate: StepTable
    select: StepTable
    cuts: tuple[float, float, float]

    def targets(
        self, keep: Callable[[StepRow], bool], known_at: Callable[[StepRow], float], end: float
    ) -> Slices:
        """The rows that hold a target, each known when its slice was over; the last one is over at `end`."""

        def kept(part: StepTable, cut: float) -> StepTable:
            return part.where(lambda row: keep(row) and known_at(row) <= cut)

        return Slices(
            kept(self.fit, self.cuts[0]),
            kept(self.tune, self.cuts[1]),
            kept(self.calibrate, self.cuts[2]),
            kept(self.select, end),
            self.cuts,
        )


def slice_by_time(table: StepTable, config: SliceConfig | None = None) -> Slices:
    """The four slices of a table; all steps of a run, and all runs of one instant, stay together."""
    settings = config or SliceConfig()
    gap_s = settings.embargo_s
    launches = sorted({row.run_id: row.launch_at for row in table}.values())
    if not launches:
        return Slices(table, table, table, table, (math.inf, math.inf, math.inf))
    first, second, third = (
        launches[min(int(share * len(launches)), len(launches) - 1)] for share in settings.ends
    )
    return Slices(
        table.where(lambda row: row.launch_at < first - gap_s),
        table.where(lambda row: first <= row.launch_at < second - gap_s),
        table.where(lambda row: second <= row.launch_at < third - gap_s),
        table.where(lambda row: third <= row.launch_at),
        (first, second, third),
    )
