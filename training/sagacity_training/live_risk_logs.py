"""An imported event log in, live risk of its cases out: P(success), and how long a case still takes.

P(success) is the model of case outcomes (`cases`), with all its honesty. The remaining time is that to a
case's last event. A log does not tell that a case has ended, only that nothing has come for long: the gap
that one in a hundred gaps between events exceeds is taken for silence, and what happened later than that long
before a moment is taken as not yet known then. Cases whose last event lies there are open, hence censored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sagacity_data.case_store import EventLogDataset
from sagacity_models.case_outcome import CaseModelKind
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_training.case_rows import TRAIN_CASES_MAX
from sagacity_training.cases import CaseTrainingResult, train_cases
from sagacity_training.live_risk_remaining import RemainingPart, train_remaining
from sagacity_training.live_risk_rows import TimedCase

SILENCE_SHARE: Final = 0.99


@dataclass(frozen=True, slots=True)
class LogRiskResult:
    """Live risk of a log's cases, and how both of its parts did on the test cases.

    `remaining` is None where no case can be known to have ended before the cut.
    """

    risk: LiveRisk
    outcome: CaseTrainingResult
    remaining: RemainingPart | None
    silence_s: float


def train_log_risk(
    dataset_dir: str | os.PathLike[str],
    *,
    seed: int,
    test_share: float = 0.2,
    ignore_attributes: Iterable[str] = (),
    drop_last_s: float = 0.0,
    progress: Callable[[str], None] | None = None,
) -> LogRiskResult:
    """Train on the dataset in `dataset_dir`; arguments and errors are those of `train_cases`."""
    outcome = train_cases(
        dataset_dir,
        seed=seed,
        test_share=test_share,
        ignore_attributes=ignore_attributes,
        drop_last_s=drop_last_s,
        progress=progress,
    )
    if progress is not None:
        progress("learning how long cases still take")
    cases = _timed(EventLogDataset.open(dataset_dir))
    before = [timed for timed in cases if timed.case.start_us < outcome.cut_us]
    test = cases[len(before) :]
    silence_us = _silence_us(before, outcome.cut_us)
    ends_us = (outcome.cut_us, max(timed.case.end_us for timed in cases))
    layout = outcome.model.layout
    remaining = train_remaining(before, test, layout, ends_us, seed, silence_us=silence_us)
    learnt = outcome.model.kind is not CaseModelKind.BASE_RATE
    risk = LiveRisk(
        outcome.model,
        LiveSource.MODEL if learnt else LiveSource.BASE,
        remaining=remaining.choice.remaining if remaining is not None else None,
        cases=int(outcome.params["train_cases"]),
    )
    return LogRiskResult(risk, outcome, remaining, silence_us / 1e6)


def _timed(dataset: EventLogDataset) -> list[TimedCase]:
    """All cases by start, thinned evenly to `TRAIN_CASES_MAX`; each ends with its last event."""
    summaries = sorted(dataset.summaries(), key=lambda each: (each.start_us, each.case_id, each.number))
    kept = summaries[:: -(-len(summaries) // TRAIN_CASES_MAX)]
    held = dict(dataset.cases({summary.number for summary in kept}))
    return [TimedCase(held[summary.number], summary.end_us) for summary in kept]


def _silence_us(cases: Sequence[TimedCase], until_us: int) -> int:
    """The gap that one in a hundred gaps between events before `until_us` exceeds."""
    import numpy as np

    gaps = [
        np.diff(np.sort([event.at_us for event in timed.case.events if event.at_us < until_us]))
        for timed in cases
    ]
    joined = np.concatenate(gaps) if gaps else np.zeros(0)
    return int(np.quantile(joined, SILENCE_SHARE)) if len(joined) else 0
