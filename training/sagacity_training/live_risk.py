"""A dataset of runs in, judged live risk out: P(success) of a run under way, and how long it still takes.

Runs are split by time as cases of event logs are (`case_split`). P(success) comes from the base rate of the
saga type as of the latest slice of training, from the rates by steps done, or from a model of prefixes: which
of them is decided inside the training part (`live_risk_source`). What was chosen is judged once, on the test
runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagacity_data.event_log import CaseEvent
from sagacity_data.store import DatasetStore
from sagacity_models.case_outcome import CaseModelKind
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_models.live_risk_events import UNDOS, saga_of
from sagacity_training.case_choice import (
    Candidate,
    Slices,
    choose,
    fit_model,
    latest_rate,
)
from sagacity_training.case_judged import HeldOutRows, held_out_rows
from sagacity_training.case_rows import KnownCase
from sagacity_training.case_scores import CaseScores, auc, score_cases
from sagacity_training.case_split import CaseSplit, OpenCase, split_cases
from sagacity_training.errors import NothingToLearn
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.live_risk_remaining import RemainingPart, train_remaining
from sagacity_training.live_risk_rows import TimedCase
from sagacity_training.live_risk_runs import LiveRun, live_runs
from sagacity_training.live_risk_source import choose_source, live_rates, risk_forecaster

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRiskResult:
    """Live risk, and how it did on test runs. `risk.texts()` is the part of a bundle.

    `scores` and `judged` are of P(success) over all prefixes; `launch_auc` is the AUC, over the same rows, of
    what was said at each run's launch, and `forward_auc` that of what is chosen, on rows before any undo.
    Both are None where one outcome only occurs. `remaining` is None where no run had ended.
    """

    risk: LiveRisk
    reason: str
    scores: CaseScores
    judged: tuple[Judged, ...]
    candidates: tuple[Candidate, ...]
    launch_auc: float | None
    forward_auc: float | None
    remaining: RemainingPart | None
    runs: int

    @property
    def signal(self) -> bool:
        """Whether anything beat the base rate of P(success)."""
        return self.risk.source is not LiveSource.BASE


def train_live_risk(
    dataset_dir: str | os.PathLike[str],
    *,
    seed: int,
    at: float = math.inf,
    test_share: float = 0.2,
    drop_last_s: float = 0.0,
    champion: LiveRisk | None = None,
    progress: Callable[[str], None] | None = None,
) -> LiveRiskResult:
    """Train on what the dataset knew at `at` (seconds since 1970); the same data and seed, the same result.

    `drop_last_s` leaves out runs launched so short a time before the history's end, or before a cut within
    it. Raises `NothingToLearn` where there are too few runs that ended, and what the store raises.
    """
    tell = progress or _silent
    tell("reading runs")
    return fit_live_risk(
        live_runs(DatasetStore(dataset_dir), at),
        seed=seed,
        test_share=test_share,
        drop_last_s=drop_last_s,
        champion=champion,
        progress=progress,
    )


def fit_live_risk(
    runs: Sequence[LiveRun],
    *,
    seed: int,
    test_share: float = 0.2,
    drop_last_s: float = 0.0,
    champion: LiveRisk | None = None,
    progress: Callable[[str], None] | None = None,
) -> LiveRiskResult:
    """The same from runs that were read already, in the order of their launches."""
    tell = progress or _silent
    split = _split(runs, test_share, drop_last_s)
    slices = Slices(*(_known(runs, part) for part in (split.fit, split.calibrate, split.select)))
    train = _known(runs, split.train)
    tell("choosing where the probability of success comes from")
    choice = choose(slices, frozenset(), seed)
    source, reason = choose_source(slices, choice, seed)
    kind = choice.kind if source is LiveSource.MODEL else CaseModelKind.BASE_RATE
    tell("fitting it on all training runs")
    model = fit_model(
        kind, train, frozenset(), choice.calibration, seed, base_rate=latest_rate(train, slices.select)
    )
    tell("learning how long runs still take")
    test = [runs[case.number] for case in split.test]
    before = [run for run in runs if run.case.start_us < split.cut_us]
    moments_us = (split.cut_us, max(run.summary.end_us for run in runs))
    remaining = train_remaining(_timed(before), _timed(test), model.layout, moments_us, seed)
    good = train_remaining(_timed(run for run in before if run.success), (), model.layout, moments_us, seed)
    risk = LiveRisk(
        model,
        source,
        rates=live_rates(train, slices.select),
        remaining=remaining.choice.remaining if remaining is not None else None,
        remaining_good=good.choice.remaining if good is not None else None,
        cases=len(train),
    )
    tell("judging it on the test runs")
    rows = _judged(test, risk, champion)
    said = rows.forecasts["chosen"]
    return LiveRiskResult(
        risk=risk,
        reason=reason,
        scores=score_cases(rows.labels, said, rows.cases, rows.forecasts["base"], seed),
        judged=(rows.judged(chosen=_chosen(risk), n_train=len(train), reason=reason),),
        candidates=choice.candidates,
        launch_auc=auc(rows.labels, _as_of_launch(rows)),
        forward_auc=_forward_auc(rows),
        remaining=remaining,
        runs=len(train) + len(test),
    )


def _judged(test: Sequence[LiveRun], risk: LiveRisk, champion: LiveRisk | None) -> HeldOutRows:
    base = LiveRisk(risk.outcome, LiveSource.BASE, rates=risk.rates)
    forecasters = {"chosen": risk_forecaster(risk), "base": risk_forecaster(base)}
    if champion is not None:
        forecasters["champion"] = risk_forecaster(champion)
    groups = {"saga": saga_of, "phase": _phase_of}
    rows = held_out_rows((run.known for run in test), forecasters, groups)
    if not len(rows.labels):
        raise NothingToLearn("no test run has an event before its end, so nothing can be judged")
    return rows


def _chosen(risk: LiveRisk) -> str:
    if risk.source is LiveSource.MODEL:
        return risk.outcome.kind.value
    return BASE if risk.source is LiveSource.BASE else risk.source.value


def _phase_of(events: Sequence[CaseEvent]) -> str:
    return "undoing" if events[-1].attributes.get(UNDOS) else "forward"


def _as_of_launch(rows: HeldOutRows) -> NDArray[np.float64]:
    """For each row what was said at the first row of its run."""
    import numpy as np

    first = np.zeros(int(rows.cases.max()) + 1)
    begun = rows.lengths == 1
    first[rows.cases[begun]] = rows.forecasts["chosen"][begun]
    return first[rows.cases]


def _forward_auc(rows: HeldOutRows) -> float | None:
    import numpy as np

    forward = np.array([phase == "forward" for phase in rows.groups["phase"]])
    return auc(rows.labels[forward], rows.forecasts["chosen"][forward])


def _split(runs: Sequence[LiveRun], test_share: float, drop_last_s: float) -> CaseSplit:
    try:
        split = split_cases([run.summary for run in runs], test_share, drop_last_s)
    except ValueError as error:
        raise NothingToLearn(f"no live risk can be learnt: {error} (of {len(runs)} runs)") from None
    if not split.train:
        raise NothingToLearn(
            f"no live risk can be learnt: none of {split.before_cut} earlier runs had ended when the test "
            "runs begin; record more runs"
        )
    return split


def _known(runs: Sequence[LiveRun], cases: Sequence[OpenCase]) -> list[KnownCase]:
    return [runs[case.number].known for case in cases]


def _timed(runs: Iterable[LiveRun]) -> list[TimedCase]:
    return [TimedCase(run.case, run.end_us) for run in runs]


def _silent(message: str) -> None:
    del message
