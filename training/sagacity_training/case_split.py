"""Which cases of an event log are learnt from, and which are kept to judge: by time, never at random.

Cases are sorted by start, then id. The last part is the test; its first start is the cut. Training may use a
case only if its outcome was final before the cut: what was still open then was not known then. The same holds
inside the training part, which is sliced by time once more: models are fitted on the first slice, calibrated
on the second, chosen on the third, and each slice uses only outcomes that were final before the next starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sagacity_data.case_tables import CaseSummary
from sagacity_data.outcomes import Outcome

FIT_SHARE: Final = 0.6
CALIBRATE_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that has an outcome, as far as the split needs to know it."""

    number: int
    case_id: str
    start_us: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CaseSplit:
    """`train` holds the usable cases before the cut; `fit`, `calibrate` and `select` are slices of it."""

    cut_us: int
    before_cut: int
    train: tuple[OpenCase, ...]
    test: tuple[OpenCase, ...]
    fit: tuple[OpenCase, ...]
    calibrate: tuple[OpenCase, ...]
    select: tuple[OpenCase, ...]


def split_cases(summaries: Sequence[CaseSummary], test_share: float) -> CaseSplit:
    """The split; `test_share` of the cases with an outcome, rounded up, are the test.

    Raises `ValueError` if `test_share` is not inside (0, 1) or no case has an outcome.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test share {test_share} is not inside (0, 1)")
    ordered = in_order(summaries)
    if not ordered:
        raise ValueError("no case has an outcome")
    before = min(int(len(ordered) * (1 - test_share) + 1e-9), len(ordered) - 1)
    test = ordered[before:]
    cut_us = test[0].start_us
    train = _final_before(ordered[:before], cut_us)
    first, second = int(len(train) * FIT_SHARE), int(len(train) * (FIT_SHARE + CALIBRATE_SHARE))
    fit, calibrate, select = train[:first], train[first:second], train[second:]
    return CaseSplit(
        cut_us,
        before,
        train,
        test,
        _final_before(fit, calibrate[0].start_us) if calibrate else (),
        _final_before(calibrate, select[0].start_us) if select else (),
        select,
    )


def in_order(summaries: Sequence[CaseSummary]) -> tuple[OpenCase, ...]:
    """The cases that have an outcome, by start, then id (then number, for ids that occur twice)."""
    known = [
        OpenCase(summary.number, summary.case_id, summary.start_us, summary.outcome)
        for summary in summaries
        if summary.outcome is not None
    ]
    return tuple(sorted(known, key=lambda case: (case.start_us, case.case_id, case.number)))


def _final_before(cases: Sequence[OpenCase], moment_us: int) -> tuple[OpenCase, ...]:
    return tuple(case for case in cases if case.outcome.last_us < moment_us)
