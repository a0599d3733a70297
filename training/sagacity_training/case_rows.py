"""The rows that an outcome model learns from and is judged by: one for each prefix of each case.

A row is the first k events of a case, in file order, k = 1 to `PREFIX_EVENTS_MAX`, of those strictly earlier
in time than the case's first outcome event. Events of the same instant as that one are out: which of them
came first is not known, and their names often tell the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from sagacity_data.case_store import EventLogDataset
from sagacity_data.event_log import Case

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_models.prefix_features import PrefixLayout
    from sagacity_training.case_split import OpenCase

PREFIX_EVENTS_MAX: Final = 40
TRAIN_CASES_MAX: Final = 60_000
"""More training cases than this are thinned to it, evenly over time, so that they fit into memory."""
CELLS_MAX: Final = 32_000_000
"""Rows times columns of one training matrix (four bytes each); beyond it cases are thinned again."""
_BATCH_CASES: Final = 2_000


@dataclass(frozen=True, slots=True)
class KnownCase:
    """A case cut down to what may be used to predict it, and what became of it."""

    number: int
    prefix: Case
    success: bool


@dataclass(frozen=True, slots=True)
class PrefixRows:
    """Feature rows with their labels (1 succeeded, 0 failed) and the position of their case."""

    features: NDArray[np.float32]
    labels: NDArray[np.float64]
    cases: NDArray[np.int64]


def known_cases(dataset: EventLogDataset, cases: Sequence[OpenCase]) -> Iterator[KnownCase]:
    """These cases cut down to what may be used, by number; one whose first event tells all has no events."""
    wanted: Mapping[int, OpenCase] = {case.number: case for case in cases}
    for number, case in dataset.cases(wanted):
        outcome = wanted[number].outcome
        earlier = (event for event in case.events if event.at_us < outcome.first_us)
        events = tuple(islice(earlier, PREFIX_EVENTS_MAX))
        yield KnownCase(number, Case(case.case_id, events, case.attributes), outcome.success)


def rows_of_cases(cases: Sequence[KnownCase], layout: PrefixLayout) -> PrefixRows:
    """One row for each prefix of each case, in the order of `cases`."""
    import numpy as np

    lengths = [len(case.prefix.events) for case in cases]
    features = np.empty((sum(lengths), layout.width), dtype=np.float32)
    at = 0
    for case in cases:
        for row in layout.rows(case.prefix):
            features[at] = row
            at += 1
    labels = np.repeat(np.array([case.success for case in cases], dtype=np.float64), lengths)
    return PrefixRows(features, labels, np.repeat(np.arange(len(cases)), lengths))


def batches(cases: Iterator[KnownCase]) -> Iterator[list[KnownCase]]:
    """The cases in lists of a bounded length, so that a test of any size fits into memory."""
    while batch := list(islice(cases, _BATCH_CASES)):
        yield batch


def thinned(cases: Sequence[KnownCase], columns: int) -> Sequence[KnownCase]:
    """Every k-th case where the rows of all of them would exceed `CELLS_MAX` cells."""
    cells = sum(len(case.prefix.events) for case in cases) * columns
    return cases if cells <= CELLS_MAX else cases[:: -(-cells // CELLS_MAX)]
