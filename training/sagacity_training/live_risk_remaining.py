"""Learning how long cases still take, where some had not ended when the history was written.

The law of a residual is Kaplan and Meier's estimate (1958), its quantiles by bucket; trees learn the location
from ended rows with their weights (`live_risk_rows`), so that long cases, which are oftener cut off, are not
underrated. Which kind of law is used is decided on a later slice; the law that knows nothing of a case is
kept unless another surely beats it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.live_risk_remaining import (
    PROBABILITIES,
    RemainingKind,
    RemainingTime,
    ResidualLaw,
)
from sagacity_models.prefix_features import PrefixLayout
from sagacity_training.case_fit import LEAF_ROWS_MIN, LEAF_SHARE_MIN, TREE_PARAMS, TREES
from sagacity_training.case_scores import CaseBootstrap, Interval
from sagacity_training.case_split import CALIBRATE_SHARE, FIT_SHARE
from sagacity_training.live_risk_rows import (
    RemainingRows,
    TimedCase,
    joined,
    mean_remaining_s,
    remaining_rows,
)
from sagacity_training.live_risk_scores import RemainingScores, pinball, score_remaining

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BUCKETS: Final = 8
BUCKET_ROWS_MIN: Final = 50
ENDED_CASES_MIN: Final = 20
"""Ended cases that each slice needs before anything but the pooled law is considered."""

TAIL: Final = 0.01


@dataclass(frozen=True, slots=True)
class RemainingPart:
    """The law to serve, why it was chosen, and how it did on the cases after the cut, if any ended."""

    choice: RemainingChoice
    scores: RemainingScores | None


@dataclass(frozen=True, slots=True)
class RemainingChoice:
    """The law to use, and why. `gain` is pooled minus best in pinball loss; None where nothing was tried."""

    remaining: RemainingTime
    reason: str
    gain: Interval | None


def train_remaining(
    train: Sequence[TimedCase],
    test: Sequence[TimedCase],
    layout: PrefixLayout,
    moments_us: tuple[int, int],
    seed: int,
    *,
    silence_us: int = 0,
) -> RemainingPart | None:
    """The law learnt from `train`, judged on `test`; both in the order of their starts.

    `moments_us` are the cut, when everything that is learnt was known, and the end of what is known of the
    test cases. `silence_us` is for logs that tell no ends: only after so long a silence is it known that a
    case has ended, so everything is learnt as of that long before each moment. None where no training case
    had ended by the cut.
    """
    cut_us, end_us = moments_us
    first, second = int(len(train) * FIT_SHARE), int(len(train) * (FIT_SHARE + CALIBRATE_SHARE))
    parts = (train[:first], train[first:second], train[second:])
    ends = [part[0].case.start_us if part else cut_us for part in parts[1:]]
    slices = [
        remaining_rows(part, layout, until_us - silence_us)
        for part, until_us in zip(parts, (*ends, cut_us), strict=True)
    ]
    choice = learn_remaining(slices[0], slices[1], slices[2], seed)
    if choice is None:
        return None
    whole = joined(joined(slices[0], slices[1]), slices[2])
    pooled = fit_law(RemainingKind.POOLED, whole, whole, seed)
    held_out = remaining_rows(test, layout, end_us - silence_us)
    return RemainingPart(
        choice, score_remaining(choice.remaining, pooled, held_out, mean_remaining_s(whole), seed)
    )


def learn_remaining(
    fit: RemainingRows, calibrate: RemainingRows, select: RemainingRows, seed: int
) -> RemainingChoice | None:
    """The law that these slices, each later than the one before, justify; None where no case has ended.

    What is served has its trees from the first two slices and its residuals from the last.
    """
    import numpy as np

    earlier = joined(fit, calibrate)
    everything = joined(earlier, select)
    if not everything.ended_cases:
        return None
    pooled = RemainingTime(RemainingKind.POOLED, _law(np.log1p(everything.remaining_s), everything.ended), {})
    if min(part.ended_cases for part in (fit, calibrate, select)) < ENDED_CASES_MIN:
        return RemainingChoice(pooled, "too few cases have ended to learn more than one law of all", None)
    bootstrap, weights = CaseBootstrap(select.cases, seed), select.weights()
    base = pinball(fit_law(RemainingKind.POOLED, fit, calibrate, seed), select)
    tried = {
        kind: pinball(fit_law(kind, fit, calibrate, seed), select)
        for kind in (RemainingKind.STAGE, RemainingKind.TREES)
    }
    best = min(tried, key=lambda kind: float((weights * tried[kind]).sum()))
    gain = bootstrap.mean(weights * (base - tried[best]), TAIL)
    if gain.low <= 0:
        return RemainingChoice(pooled, f"nothing surely beats one law of all; the best was {best}", gain)
    served = everything if best is RemainingKind.STAGE else select
    reason = f"{best} gains {gain.value:.4f} pinball loss a row over one law of all on later cases"
    return RemainingChoice(fit_law(best, earlier, served, seed), reason, gain)


def fit_law(kind: RemainingKind, fit: RemainingRows, later: RemainingRows, seed: int) -> RemainingTime:
    """A law of `kind`: trees from `fit`, residuals from `later`, which must not have been fitted on."""
    import numpy as np

    text, edges = None, np.empty(0)
    if kind is RemainingKind.TREES:
        text = _trees(fit, seed)
        empty = ResidualLaw((0.0,) * len(PROBABILITIES), 0)
        raw = RemainingTime(kind, empty, {}, trees=text)
        locations = raw.locations(later.features)
        edges = np.unique(np.quantile(locations, np.linspace(0, 1, BUCKETS + 1)[1:-1]))
    else:
        locations = np.zeros(len(later))
    residuals = np.log1p(later.remaining_s) - locations
    pooled = _law(residuals, later.ended)
    bare = RemainingTime(kind, pooled, {}, edges=edges.tolist(), trees=text)
    buckets = np.array([bare.bucket(*each) for each in zip(locations.tolist(), later.steps, strict=True)])
    laws = {
        str(bucket): _law(residuals[held], later.ended[held])
        for bucket in np.unique(buckets)
        if int(later.ended[held := buckets == bucket].sum()) >= BUCKET_ROWS_MIN
    }
    return RemainingTime(kind, pooled, laws, edges=edges.tolist(), trees=text)


def _law(residuals: Array, ended: NDArray[np.bool_]) -> ResidualLaw:
    """Kaplan and Meier's quantiles; what is left beyond the last end is put at the last end or censoring."""
    import numpy as np

    order = np.lexsort((~ended, residuals))
    values, events = residuals[order], ended[order]
    at_risk = len(values) - np.arange(len(values))
    done = 1 - np.cumprod(np.where(events, 1 - 1 / at_risk, 1.0))
    places = np.minimum(np.searchsorted(done, np.asarray(PROBABILITIES) - 1e-12), len(values) - 1)
    return ResidualLaw(tuple(np.maximum.accumulate(values[places]).tolist()), int(events.sum()))


def _trees(rows: RemainingRows, seed: int) -> str:
    import lightgbm as lgb
    import numpy as np

    params = {
        **TREE_PARAMS,
        "objective": "regression",
        "min_data_in_leaf": max(LEAF_ROWS_MIN, int(len(rows) * LEAF_SHARE_MIN)),
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    ended = rows.ended
    target, weights = np.log1p(rows.remaining_s[ended]), rows.weights()[ended]
    return lgb.train(
        params, lgb.Dataset(rows.features[ended], target, weight=weights), TREES
    ).model_to_string()
