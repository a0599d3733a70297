"""Labels that are wrong at random look like a world that got worse everywhere by the same amount.

If a share f of labels is flipped, what happens with probability p is seen with f + (1 - 2 f) p: the surest
successes now fail in f of the cases, and a model learnt from such labels beats the champion on them, for it
knows f. No figure on those rows tells; what tells is the shape. A service that fails more often, or twice
as often, or a new kind of request, moves some forecasts and not others; flips move the rate in *every* band
of the champion's forecasts by the same f, corrected for 1 - 2 p.

So: rows in bands by the champion's forecast; in each the estimate (observed - p) / (1 - 2 p) of f with its
error over blocks of time. If the bands agree, and differ enough for a shift to be told from a factor, then
labels look flipped where f is surely above zero; or where it is likely so and the new model is not surely
better than the champion with f put in, f + (1 - 2 f) p, for then all that it has learnt may be the flips.
The champion stays, and a person looks at the labels. What this cannot see: flips of one kind only, flips
of rows of one service, and bands too alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_training.judging.blocks import BLOCKS_MIN, Blocks
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BANDS: Final = 5
BANDS_MIN: Final = 3
SURE_Z: Final = 4.0
"""Four standard errors: the question is asked at every gating, and a false alarm costs a look by a person."""
FACTOR_MIN: Final = 3.0
"""The highest band's forecast is at least so many times the lowest's."""
LIKELY_Z: Final = 1.0
MIDDLE: Final = 0.4
"""Forecasts this near to a half hardly move when labels are flipped; they are left out from here on."""


@dataclass(frozen=True, slots=True)
class Flips:
    """The share of labels that look flipped, with its standard error."""

    share: float
    standard_error: float


def flips_of(judged: Judged, policy: GatePolicy) -> Flips | None:
    """How many labels look flipped, if they surely do; None otherwise, and without a champion to tell."""
    import numpy as np

    if judged.champion is None:
        return None
    known = np.isfinite(judged.champion)
    known &= np.where(known, judged.champion, 1.0) < MIDDLE
    if known.sum() < BANDS_MIN * policy.slice_rows_min:
        return None
    told, seen = judged.champion[known], judged.outcomes[known]
    found = _bands(told, seen, Blocks(judged.cases[known], policy.blocks), policy)
    if found is None:
        return None
    shares, errors = found
    weights = 1 / errors**2
    share, error = float((weights * shares).sum() / weights.sum()), float(weights.sum() ** -0.5)
    disagreement = float((weights * (shares - share) ** 2).sum())
    freedom = len(shares) - 1
    agree = disagreement <= freedom + 3 * math.sqrt(2 * freedom)
    flips = Flips(share, error)
    if not agree or share <= LIKELY_Z * error:
        return None
    return flips if share > SURE_Z * error or _explain(flips, judged, policy) else None


def _explain(flips: Flips, judged: Judged, policy: GatePolicy) -> bool:
    """Whether the new model may be no better than the champion that knows of these flips."""
    import numpy as np

    assert judged.champion is not None  # there are no flips without one
    known = np.isfinite(judged.champion)
    told = flips.share + (1 - 2 * flips.share) * judged.champion[known]
    seen = judged.outcomes[known]
    gain = log_losses(seen, told) - log_losses(seen, judged.forecasts[known])
    return Blocks(judged.cases[known], policy.blocks).bounded(gain, policy.slice_alpha).lower <= 0


def _bands(told: Array, seen: Array, blocks: Blocks, policy: GatePolicy) -> tuple[Array, Array] | None:
    """Estimates of f and their standard errors; None where bands are too few or too alike."""
    import numpy as np

    if blocks.count < BLOCKS_MIN:
        return None
    edges = np.unique(np.quantile(told, np.linspace(0, 1, BANDS + 1)[1:-1]))
    band = np.searchsorted(edges, told, side="left")
    shares, errors, means = [], [], []
    for number in np.unique(band):
        rows = band == number
        if rows.sum() < policy.slice_rows_min:
            continue
        mean = float(told[rows].mean())
        moved = blocks.bounded((seen - told) / (1 - 2 * mean), 0.5, rows=rows)
        # A band without any event has no error over blocks; that of one event is the least it can have.
        least = math.sqrt(max(mean * (1 - mean), 1 / len(told)) / rows.sum()) / (1 - 2 * mean)
        shares.append(moved.mean)
        errors.append(max(moved.standard_error, least))
        means.append(mean)
    if len(shares) < BANDS_MIN or max(means) < FACTOR_MIN * max(min(means), 1e-9):
        return None
    return np.array(shares), np.array(errors)
