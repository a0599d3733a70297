"""What more history would bring: the held-out loss of the same learner, fitted on growing shares of the rows.

A curve that still falls at its end says that more runs would help; a flat one that better features would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The log loss and Brier score on the same held-out rows after fitting on `rows` rows."""

    rows: int
    log_loss: float
    brier: float


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The points of one task by rising number of rows, and what the base rate has on the same rows."""

    task: str
    points: tuple[CurvePoint, ...]
    log_loss_base: float

    @property
    def last_gain(self) -> float | None:
        """By how much the last step lowered the log loss; None with fewer than two points."""
        if len(self.points) < 2:
            return None
        return self.points[-2].log_loss - self.points[-1].log_loss

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "task": self.task,
            "log_loss_base": self.log_loss_base,
            "points": [
                {"rows": each.rows, "log_loss": each.log_loss, "brier": each.brier} for each in self.points
            ],
        }


def learning_curve(
    task: str, outcomes: Array, base: Array, fits: Sequence[tuple[int, Array]]
) -> LearningCurve:
    """The curve of `fits`: (rows fitted on, forecasts of the held-out rows). There must be held-out rows."""
    points = tuple(
        CurvePoint(rows, float(log_losses(outcomes, told).mean()), float(((told - outcomes) ** 2).mean()))
        for rows, told in sorted(fits, key=lambda fit: fit[0])
    )
    return LearningCurve(task, points, float(log_losses(outcomes, base).mean()))
