"""Live risk as one task of a training on attempts: learnt from the latest runs, judged, and kept with care.

It is served if it is surely better than the base rate of each saga type on held-out runs, in log loss; else
that rate is. It is another question than what plans need, so it must not stand in their way: where the gate
could not judge it on so few rows, or would find it uncalibrated there, it is told of but has no say. What is
served is what was judged; it is not fitted again on the test runs, because no later runs would be left to
learn its calibration from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX
from sagacity_data.rows import Row, RunRow
from sagacity_engine import Saga
from sagacity_models.bundle import Bundle
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_training.config import TrainingConfig
from sagacity_training.errors import NothingToLearn
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.judging.reliability import calibration_error
from sagacity_training.live_risk import LiveRiskResult, fit_live_risk
from sagacity_training.live_risk_runs import LiveRun, runs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TASK: Final = "live_risk"


@dataclass(frozen=True, slots=True)
class LiveRiskTask:
    """The part to keep in a bundle, and how it did on test runs."""

    risk: LiveRisk
    judged: Judged


def learn_live_risk(
    rows: Iterable[Row],
    definitions: Mapping[str, Saga],
    config: TrainingConfig,
    *,
    at: float,
    champion: Bundle | None = None,
    tell: Callable[[str], None],
) -> LiveRiskTask | None:
    """Live risk from what these rows tell of runs launched before `at`; None where it cannot be learnt.

    `definitions` are by hash. It cannot be learnt where it is switched off, or too few runs have ended. The
    same rows and configuration give the same result.
    """
    if not config.live_risk.runs_max:
        return None
    seen = _without(rows, frozenset(config.features.ignore))
    runs = runs_of(seen, definitions, at, config.live_risk.runs_max)
    if not any(run.end_us is not None for run in runs):
        return None
    tell("learning how running sagas end")
    try:
        result = _fitted(runs, config, champion)
    except NothingToLearn:
        return None
    (judged,) = result.judged
    return _kept(result, _told(judged, champion), config.gate)


def _fitted(runs: list[LiveRun], config: TrainingConfig, champion: Bundle | None) -> LiveRiskResult:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    import_module("lightgbm")  # First, so that the threads of all that it brings are limited, too.
    slices = config.slices
    with threadpool_limits(1):
        return fit_live_risk(
            runs,
            seed=config.seed,
            test_share=1 - slices.ends[2],
            drop_last_s=slices.embargo_s,
            champion=None if champion is None else champion.live_risk,
        )


def _told(judged: Judged, champion: Bundle | None) -> Judged:
    """The same as this task; the champion is asked about runs launched after it was made only."""
    known = judged.champion
    if champion is not None and known is not None:
        made_at = datetime.fromisoformat(champion.created_at).replace(tzinfo=UTC).timestamp()
        known = _later(judged, known, made_at)
    return replace(judged, task=TASK, champion=known)


def _later(judged: Judged, told: NDArray[np.float64], made_at: float) -> NDArray[np.float64]:
    import numpy as np

    launched = np.full(int(judged.cases.max()) + 1, np.inf)
    np.minimum.at(launched, judged.cases, judged.at)
    return np.where(launched[judged.cases] >= made_at, told, np.nan)


def _kept(result: LiveRiskResult, judged: Judged, gate: GatePolicy) -> LiveRiskTask:
    """What is served, and what say it has at the gate."""
    if not judged.has_signal:
        return LiveRiskTask(result.risk, judged)
    if result.scores.log_loss_gain.low <= 0:
        return _base(result.risk, judged)
    against = _against(judged, gate)
    said = f"{judged.reason}; no say at the gate: {against}" if against else judged.reason
    return LiveRiskTask(result.risk, replace(judged, reason=said, advisory=bool(against)))


def _base(risk: LiveRisk, judged: Judged) -> LiveRiskTask:
    reason = f"{judged.chosen} is not surely better than the base rate on held-out runs, so that is kept"
    base = LiveRisk(
        risk.outcome,
        LiveSource.BASE,
        rates=risk.rates,
        remaining=risk.remaining,
        remaining_good=risk.remaining_good,
        cases=risk.cases,
    )
    return LiveRiskTask(base, replace(judged, forecasts=judged.base, chosen=BASE, reason=reason))


def _against(judged: Judged, gate: GatePolicy) -> str:
    """Why the gate would not have it; empty where nothing is known against it."""
    events = int(judged.outcomes.sum())
    if len(judged) < gate.test_rows_min or min(events, len(judged) - events) < gate.test_events_min:
        return f"{len(judged)} held-out rows, {events} of runs that complete, are too few"
    error = calibration_error(judged.outcomes, judged.forecasts)
    return f"calibration error {error:.4f} is above {gate.ece_max:g}" if error > gate.ece_max else ""


def _without(rows: Iterable[Row], ignored: frozenset[str]) -> Iterator[Row]:
    """The rows; of runs' context without what no model may use."""
    for row in rows:
        if ignored and isinstance(row, RunRow):
            kept = {
                name: value for name, value in row.context.items() if CONTEXT_PREFIX + name not in ignored
            }
            yield replace(row, context=kept)
        else:
            yield row
