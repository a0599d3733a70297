"""All figures of one task: the selected forecaster's, beside the base rate's and the champion's.

Log loss and Brier judge the number itself, ECE its honesty, AUC only the ranking; the optimizer uses numbers,
so AUC decides nothing. Intervals are 95 % bootstrap intervals over blocks of time of whole cases.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_training.judging.blocks import Blocks, Interval, interval_of
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.judging.reliability import (
    BrierParts,
    ReliabilityPoint,
    brier_parts,
    calibration_interval,
    reliability_points,
)
from sagacity_training.judging.slices import SliceFigures, slices_of
from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

AUC_WORK_MAX: Final = 20_000_000
"""Rows times resamplings that an interval of the AUC may take; with more rows it is resampled less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One forecaster on the held-out rows."""

    log_loss: Interval
    brier: Interval
    auc: Interval | None  # None where one outcome only occurred
    ece: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """One task. `scores` has "chosen", "base" and, where there is one, "champion"; empty without rows.

    `gains` are log loss of the base rate, or the champion, minus the chosen one's: positive is better. The
    champion's are over the rows that it had not learnt from.
    """

    task: str
    chosen: str
    reason: str
    n_train: int
    n_test: int
    events: int
    scores: dict[str, Scores]
    gains: dict[str, Interval]
    brier_parts: BrierParts | None
    points: tuple[ReliabilityPoint, ...]
    slices: tuple[SliceFigures, ...]
    at: tuple[float, float] | None  # the held-out stretch, seconds since 1970

    def summary(self) -> dict[str, float | int | None]:
        """The figures that `sagacity train --json` ends with; what is absent is None."""
        chosen, base = self.scores.get("chosen"), self.scores.get("base")
        return {
            "auc": chosen.auc.value if chosen and chosen.auc else None,
            "log_loss": chosen.log_loss.value if chosen else None,
            "log_loss_base": base.log_loss.value if base else None,
            "brier": chosen.brier.value if chosen else None,
            "brier_base": base.brier.value if base else None,
            "ece": chosen.ece.value if chosen else None,
            "n_train": self.n_train,
            "n_test": self.n_test,
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "chosen": self.chosen,
            "reason": self.reason,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "events": self.events,
            "held_out": self.at,
            "scores": {who: _scores_as_json(each) for who, each in self.scores.items()},
            "gains": {who: each.as_json() for who, each in self.gains.items()},
            "brier_parts": self.brier_parts.as_json() if self.brier_parts else None,
            "reliability": [asdict(point) for point in self.points],
            "slices": [part.as_json() for part in self.slices],
        }

    def metrics(self) -> dict[str, float]:
        """Named numbers for a registry."""
        told = {f"{self.task}.{name}": value for name, value in self.summary().items() if value is not None}
        return {name: float(value) for name, value in told.items()}


def figures_of(judged: Judged, policy: GatePolicy, *, draws: int, seed: int) -> TaskFigures:
    """All figures of one task, from `draws` resamplings seeded by `seed`."""
    import numpy as np

    if not len(judged):
        return _without_rows(judged)
    blocks = Blocks(judged.cases, policy.blocks)
    drawn = blocks.draws(draws, seed)
    losses = {name: log_losses(judged.outcomes, told) for name, told in judged.forecasters().items()}
    gains = {}
    for name in ("base", "champion"):
        rows = np.isfinite(losses[name]) if name in losses else np.zeros(len(judged), dtype=bool)
        if rows.any():
            part = Blocks(judged.cases[rows], policy.blocks)
            gain = (losses[name] - losses["chosen"])[rows]
            gains[name] = part.interval(gain, part.draws(draws, seed))
    return TaskFigures(
        task=judged.task,
        chosen=judged.chosen,
        reason=judged.reason,
        n_train=judged.n_train,
        n_test=len(judged),
        events=int(judged.outcomes.sum()),
        scores=_all_scores(judged, blocks, drawn),
        gains=gains,
        brier_parts=brier_parts(judged.outcomes, judged.forecasts),
        points=reliability_points(judged.outcomes, judged.forecasts),
        slices=slices_of(judged, policy),
        at=(float(judged.at[0]), float(judged.at[-1])),
    )


def scores_of(outcomes: Array, forecasts: Array, blocks: Blocks, drawn: Array) -> Scores:
    """The scores of one forecaster's probabilities; at least one row."""
    return Scores(
        log_loss=blocks.interval(log_losses(outcomes, forecasts), drawn),
        brier=blocks.interval((forecasts - outcomes) ** 2, drawn),
        auc=auc_interval(outcomes, forecasts, blocks, drawn),
        ece=calibration_interval(outcomes, forecasts, blocks, drawn),
    )


def auc_interval(outcomes: Array, forecasts: Array, blocks: Blocks, drawn: Array) -> Interval | None:
    """P(an event is forecast above a non-event), ties one half, with its interval; None without either."""
    import numpy as np

    rank = np.unique(forecasts, return_inverse=True)[1]
    whole = _weighted_auc(rank, outcomes, np.ones(len(outcomes)))
    if whole is None:
        return None
    few = drawn[: max(20, AUC_WORK_MAX // len(outcomes))]
    told = [_weighted_auc(rank, outcomes, weights[blocks.of_row]) for weights in few]
    known = np.array([value for value in told if value is not None], dtype=np.float64)
    return interval_of(whole, known, blocks.count)


def _weighted_auc(rank: NDArray[np.int64], outcomes: Array, weights: Array) -> float | None:
    import numpy as np

    events = np.bincount(rank, weights=weights * outcomes)
    others = np.bincount(rank, weights=weights * (1 - outcomes))
    total = float(events.sum() * others.sum())
    if total <= 0:
        return None
    return float(events @ (np.cumsum(others) - others / 2)) / total


def _all_scores(judged: Judged, blocks: Blocks, drawn: Array) -> dict[str, Scores]:
    """The champion's are over the rows it had not learnt from, so they are no equals of the others'."""
    import numpy as np

    told = {
        "chosen": scores_of(judged.outcomes, judged.forecasts, blocks, drawn),
        "base": scores_of(judged.outcomes, judged.base, blocks, drawn),
    }
    if judged.champion is not None and (known := np.isfinite(judged.champion)).any():
        part = Blocks(judged.cases[known], max(blocks.count, 1))
        again = part.draws(len(drawn), 0)
        told["champion"] = scores_of(judged.outcomes[known], judged.champion[known], part, again)
    return told


def _scores_as_json(scores: Scores) -> dict[str, Any]:
    names = ("log_loss", "brier", "auc", "ece")
    told = {name: getattr(scores, name) for name in names}
    return {name: None if value is None else value.as_json() for name, value in told.items()}


def _without_rows(judged: Judged) -> TaskFigures:
    return TaskFigures(
        task=judged.task, chosen=judged.chosen, reason=judged.reason, n_train=judged.n_train, n_test=0,
        events=0, scores={}, gains={}, brier_parts=None, points=(), slices=(), at=None,
    )  # fmt: skip
