"""How good laws of remaining time are, beside one law for all and beside always saying the mean.

Laws are compared by the mean pinball loss of five quantiles of log(1 + remaining seconds), so that no single
long case decides. Ended rows alone are judged, weighted for those that were cut off (`live_risk_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.live_risk_remaining import RemainingTime
from sagacity_training.case_scores import CaseBootstrap, Interval
from sagacity_training.live_risk_rows import RemainingRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The quantiles that laws are compared by."""


@dataclass(frozen=True, slots=True)
class RemainingScores:
    """A law on later cases, ended rows weighted; seconds. `mean_error_s` is of always saying the mean."""

    rows: int
    error_s: float
    mean_error_s: float
    pinball_gain: Interval
    covered: tuple[tuple[float, float], ...]  # (level, share of rows below that quantile)


def score_remaining(
    law: RemainingTime, pooled: RemainingTime, rows: RemainingRows, mean_s: float, seed: int
) -> RemainingScores | None:
    """How `law` does beside the `pooled` one and the mean of training; None without an ended row."""
    import numpy as np

    weights = rows.weights()
    if not weights.sum():
        return None
    said = quantiles(law, rows)
    errors = np.abs(said[:, LEVELS.index(0.5)] - rows.remaining_s)
    gain = CaseBootstrap(rows.cases, seed).mean(weights * (pinball(pooled, rows) - pinball(law, rows)))
    below = rows.remaining_s[:, None] <= said
    return RemainingScores(
        int(rows.ended.sum()),
        float(np.average(errors, weights=weights)),
        float(np.average(np.abs(mean_s - rows.remaining_s), weights=weights)),
        gain,
        tuple(zip(LEVELS, np.average(below, axis=0, weights=weights).tolist(), strict=True)),
    )


def pinball(law: RemainingTime, rows: RemainingRows) -> Array:
    """The mean pinball loss of each ended row over `LEVELS`, of log(1 + seconds); unweighted."""
    import numpy as np

    said = quantiles(law, rows)
    errors = np.log1p(rows.remaining_s)[:, None] - np.log1p(said)
    levels = np.asarray(LEVELS)
    return np.asarray(np.maximum(levels * errors, (levels - 1) * errors).mean(axis=1), dtype=np.float64)


def quantiles(law: RemainingTime, rows: RemainingRows) -> Array:
    """The quantiles of every row at `LEVELS`, in seconds."""
    import numpy as np

    told = [
        law.law_at(location, step)
        for location, step in zip(law.locations(rows.features).tolist(), rows.steps, strict=True)
    ]
    return np.array([[each.quantile_s(level) for level in LEVELS] for each in told]).reshape(-1, len(LEVELS))
