"""Proper scores of forecasts, and the rule that says whether one beats another beyond chance.

Log loss and Brier judge the number itself; ECE (bins of equal mass) its honesty; AUC only the ranking, and
the optimizer uses numbers, so AUC decides nothing. Runs that share an outage fail together, hence errors
are not independent: a difference is judged over contiguous blocks of time, each counted as one observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BLOCKS: Final = 30
SIGNAL_Z: Final = 2.0
"""An improvement counts from two standard errors on: chance alone gets there one time in forty."""
ECE_BINS: Final = 10
_CLIP: Final = 1e-6


@dataclass(frozen=True, slots=True)
class BinaryScores:
    """Scores of probabilities for yes/no outcomes. `auc` is None where only one outcome occurred."""

    n: int
    events: int
    log_loss: float
    brier: float
    ece: float
    auc: float | None


@dataclass(frozen=True, slots=True)
class Improvement:
    """By how much a mean loss is lower than another, with the standard error over blocks of time."""

    mean: float
    standard_error: float

    @property
    def is_signal(self) -> bool:
        """Whether the improvement is more than chance explains."""
        return self.mean > 0 and self.mean >= SIGNAL_Z * self.standard_error


def log_losses(outcomes: Array, probabilities: Array) -> Array:
    """The loss of each yes/no forecast, in nats."""
    import numpy as np

    clipped = np.clip(probabilities, _CLIP, 1 - _CLIP)
    losses: Array = -(outcomes * np.log(clipped) + (1 - outcomes) * np.log1p(-clipped))
    return losses


def binary_scores(outcomes: Array, probabilities: Array) -> BinaryScores:
    """All scores of yes/no forecasts; both arrays hold floats, `outcomes` only 0 and 1. At least one row."""
    import numpy as np

    return BinaryScores(
        n=len(outcomes),
        events=int(outcomes.sum()),
        log_loss=float(log_losses(outcomes, probabilities).mean()),
        brier=float(np.mean((outcomes - probabilities) ** 2)),
        ece=calibration_error(outcomes, probabilities),
        auc=auc(outcomes, probabilities),
    )


def auc(outcomes: Array, scores: Array) -> float | None:
    """P(an event is scored above a non-event), ties counted half; None without both kinds."""
    import numpy as np

    events = int(outcomes.sum())
    others = len(outcomes) - events
    if not events or not others:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[outcomes == 1].sum() - events * (events + 1) / 2) / (events * others))


def calibration_bins(
    outcomes: Array, probabilities: Array, bins: int = ECE_BINS
) -> list[tuple[float, float, int]]:
    """(mean forecast, observed rate, rows) in bins of equal mass, lowest forecasts first."""
    import numpy as np

    order = np.argsort(probabilities, kind="stable")
    return [
        (float(probabilities[part].mean()), float(outcomes[part].mean()), len(part))
        for part in np.array_split(order, bins)
        if len(part)
    ]


def calibration_error(outcomes: Array, probabilities: Array) -> float:
    """The mean distance between forecast and observed rate over bins of equal mass (ECE)."""
    bins = calibration_bins(outcomes, probabilities)
    return sum(rows * abs(told - seen) for told, seen, rows in bins) / len(outcomes)


def pinball_losses(values: Array, quantiles: Array, level: float) -> Array:
    """The loss of each quantile forecast at `level`."""
    import numpy as np

    over = values - quantiles
    losses: Array = np.maximum(level * over, (level - 1) * over)
    return losses


def improvement(losses_before: Array, losses_after: Array) -> Improvement:
    """How much lower the second losses are, row by row; rows must be in time order.

    The standard error is that of the mean of `BLOCKS` contiguous blocks, so that failures that come together
    count once.
    """
    import numpy as np

    gain = losses_before - losses_after
    if len(gain) < 2 * BLOCKS:
        return Improvement(float(gain.mean()) if len(gain) else 0.0, float("inf"))
    blocks = np.array([part.mean() for part in np.array_split(gain, BLOCKS)])
    return Improvement(float(gain.mean()), float(blocks.std(ddof=1) / np.sqrt(BLOCKS)))
