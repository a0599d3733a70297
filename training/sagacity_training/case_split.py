"""Which cases of an event log are learnt from, and which are kept to judge: by time, never at random.

Cases are sorted by start, then id. The last part is the test; its first start is the cut. Training may use a
case only if its outcome was final before the cut: what was still open then was not known then. The same holds
inside the training part, which is sliced by time once more: models are fitted on the first slice, calibrated
on the second, chosen on the third, and each slice uses only outcomes that were final before the next starts.

A follow-up window is for outcomes that take time to show. At any moment, the log's end among them, a case
counts only if it started at least that long before: of younger cases only the fast ones are known, and these
are no fair sample. The window is the rule's own (`outcomes.follow_up_s`) or a longer one that the user names.
Each source of a dataset ends at its own last event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
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
    too_young: int = 0
    """Cases with an outcome that started within the follow-up window before the log's end."""


def split_cases(summaries: Sequence[CaseSummary], test_share: float, follow_up_s: float = 0.0) -> CaseSplit:
    """The split; `test_share` of the cases with an outcome, rounded up, are the test.

    Cases that started less than `follow_up_s` seconds before the end of their log are left out. Raises
    `ValueError` if `test_share` is not inside (0, 1), the window is negative, or no case is left.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test share {test_share} is not inside (0, 1)")
    if not 0 <= follow_up_s < inf:
        raise ValueError(f"a follow-up window of {follow_up_s} s is not 0 or longer")
    window_us = round(follow_up_s * 1_000_000)
    known = in_order(summaries)
    ordered = _followed(known, summaries, window_us)
    if not known:
        raise ValueError("no case has an outcome")
    if not ordered:
        raise ValueError(
            f"no case started {follow_up_s:g} s or more before its log ends, so no outcome is known yet; "
            "import a longer log"
        )
    before = min(int(len(ordered) * (1 - test_share) + 1e-9), len(ordered) - 1)
    test = ordered[before:]
    cut_us = test[0].start_us
    train = _final_before(ordered[:before], cut_us, window_us)
    first, second = int(len(train) * FIT_SHARE), int(len(train) * (FIT_SHARE + CALIBRATE_SHARE))
    fit, calibrate, select = train[:first], train[first:second], train[second:]
    return CaseSplit(
        cut_us,
        before,
        train,
        test,
        _final_before(fit, calibrate[0].start_us, window_us) if calibrate else (),
        _final_before(calibrate, select[0].start_us, window_us) if select else (),
        select,
        len(known) - len(ordered),
    )


def in_order(summaries: Sequence[CaseSummary]) -> tuple[OpenCase, ...]:
    """The cases that have an outcome, by start, then id (then number, for ids that occur twice)."""
    known = [
        OpenCase(summary.number, summary.case_id, summary.start_us, summary.outcome)
        for summary in summaries
        if summary.outcome is not None
    ]
    return tuple(sorted(known, key=lambda case: (case.start_us, case.case_id, case.number)))


def _final_before(cases: Sequence[OpenCase], moment_us: int, window_us: int) -> tuple[OpenCase, ...]:
    """Those whose outcome was final, and which had been in view for the whole window, before the moment."""
    return tuple(
        case for case in cases if case.outcome.last_us < moment_us and case.start_us + window_us <= moment_us
    )


def _followed(
    cases: Sequence[OpenCase], summaries: Sequence[CaseSummary], window_us: int
) -> tuple[OpenCase, ...]:
    """The cases that were in view for the whole window before their source ended."""
    ends_us: dict[int, int] = {}
    for summary in summaries:
        ends_us[summary.source] = max(summary.end_us, ends_us.get(summary.source, summary.end_us))
    source_of = {summary.number: summary.source for summary in summaries}
    return tuple(case for case in cases if case.start_us + window_us <= ends_us[source_of[case.number]])
