"""How good probabilities of case outcomes are, beside the base rate, and how sure that is.

All figures are over rows (prefixes), unweighted. Rows of one case share its outcome, so uncertainty is over
cases: the bootstrap draws whole cases, and a figure's interval is what it is for 95 of 100 such draws.

log loss = -mean(y log p + (1-y) log(1-p)); Brier = mean((p-y)^2); AUC = P(p of a success > p of a failure),
ties one half; calibration error = mean |mean p - share of successes| over ten bins of equal size by p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS: Final = 1_000
BINS: Final = 10
_P_MIN: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its interval over resampled cases."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """One bin of rows with similar probabilities: what was predicted, and what happened."""

    rows: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Rows by what was predicted (success where p >= 0.5) and what happened."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


@dataclass(frozen=True, slots=True)
class CaseScores:
    """A model and the base rate on the same rows. Gains are base rate minus model: positive is better.

    `auc` is None where the rows hold one outcome only.
    """

    rows: int
    cases: int
    positive_share: float
    auc: Interval | None
    log_loss: float
    brier: float
    base_rate: float
    base_log_loss: float
    base_brier: float
    log_loss_gain: Interval
    brier_gain: Interval
    calibration_error: float
    calibration: tuple[CalibrationPoint, ...]
    confusion: Confusion


def score_cases(
    labels: Floats, predicted: Floats, cases: NDArray[np.int64], base_rate: float | Floats, seed: int
) -> CaseScores:
    """All figures of `predicted` beside those of the base rate, one for all rows or one for each.

    There must be at least one row.
    """
    import numpy as np

    base = np.broadcast_to(np.asarray(base_rate, dtype=np.float64), labels.shape)
    log_loss, base_log_loss = log_losses(labels, predicted), log_losses(labels, base)
    brier, base_brier = (predicted - labels) ** 2, (base - labels) ** 2
    points = calibration_points(labels, predicted)
    bootstrap = CaseBootstrap(cases, seed)
    return CaseScores(
        len(labels),
        bootstrap.cases,
        float(labels.mean()),
        bootstrap.auc(labels, predicted),
        float(log_loss.mean()),
        float(brier.mean()),
        float(base.mean()),
        float(base_log_loss.mean()),
        float(base_brier.mean()),
        bootstrap.mean(base_log_loss - log_loss),
        bootstrap.mean(base_brier - brier),
        sum(point.rows * abs(point.predicted - point.observed) for point in points) / len(labels),
        points,
        confusion_of(labels, predicted),
    )


class CaseBootstrap:
    """Draws of whole cases with replacement, the same draws for every figure asked of it."""

    def __init__(self, cases: NDArray[np.int64], seed: int) -> None:
        import numpy as np

        _numbers, self._case = np.unique(cases, return_inverse=True)
        self.cases = int(self._case.max()) + 1
        self._rng_seed = seed

    def mean(self, values: Floats, tail: float = 0.025) -> Interval:
        """The mean over rows, with bounds that `tail` of the draws pass on either side."""
        import numpy as np

        sums = np.bincount(self._case, weights=values, minlength=self.cases)
        rows = np.bincount(self._case, minlength=self.cases)
        means = [float(drawn @ sums / (drawn @ rows)) for drawn in self._draws()]
        return _interval(float(values.mean()), means, tail)

    def auc(self, labels: Floats, predicted: Floats) -> Interval | None:
        """The AUC; draws with one outcome only are left out."""
        import numpy as np

        _values, rank = np.unique(predicted, return_inverse=True)
        whole = _auc(rank, labels, np.ones(len(labels)))
        if whole is None:
            return None
        drawn = (_auc(rank, labels, weight[self._case]) for weight in self._draws())
        return _interval(whole, [value for value in drawn if value is not None], 0.025)

    def _draws(self) -> list[Floats]:
        """How often each case was drawn, in each of the draws."""
        import numpy as np

        rng = np.random.default_rng(self._rng_seed)
        even = np.full(self.cases, 1 / self.cases)
        return [rng.multinomial(self.cases, even).astype(np.float64) for _ in range(DRAWS)]


def auc(labels: Floats, predicted: Floats) -> float | None:
    """The AUC over rows; None where there is one outcome only."""
    import numpy as np

    _values, rank = np.unique(predicted, return_inverse=True)
    return _auc(rank, labels, np.ones(len(labels)))


def log_losses(labels: Floats, predicted: Floats) -> Floats:
    """The log loss of each row."""
    import numpy as np

    p = np.clip(predicted, _P_MIN, 1 - _P_MIN)
    return np.asarray(-(labels * np.log(p) + (1 - labels) * np.log1p(-p)), dtype=np.float64)


def calibration_points(labels: Floats, predicted: Floats) -> tuple[CalibrationPoint, ...]:
    """Up to ten bins of rows, equal in size, by rising probability; equal probabilities share a bin."""
    import numpy as np

    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, predicted, side="left")
    points = []
    for number in np.unique(bins):
        held = bins == number
        mean_predicted, observed = float(predicted[held].mean()), float(labels[held].mean())
        points.append(CalibrationPoint(int(held.sum()), mean_predicted, observed))
    return tuple(points)


def confusion_of(labels: Floats, predicted: Floats) -> Confusion:
    """Counts at the threshold 0.5."""
    yes, happened = predicted >= 0.5, labels == 1
    return Confusion(
        int((yes & happened).sum()),
        int((yes & ~happened).sum()),
        int((~yes & ~happened).sum()),
        int((~yes & happened).sum()),
    )


def _auc(rank: NDArray[np.int64], labels: Floats, weights: Floats) -> float | None:
    """The weighted AUC from the rank of each row's probability (equal probabilities, equal rank)."""
    import numpy as np

    positives = np.bincount(rank, weights=weights * labels)
    negatives = np.bincount(rank, weights=weights * (1 - labels))
    total = positives.sum() * negatives.sum()
    if total == 0:
        return None
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / total)


def _interval(value: float, drawn: list[float], tail: float) -> Interval:
    import numpy as np

    low, high = np.quantile(drawn, [tail, 1 - tail]) if drawn else (value, value)
    return Interval(value, float(low), float(high))
