"""Advised against the permanent holdout, by assignment: what the advice changes, and how sure that is.

The effect on a metric is the difference of two means, each weighted by one over the probability of the
assignment, so that a holdout share that changed over time does no harm (Hajek's estimator):

    sum(A/p Y) / sum(A/p)  -  sum((1-A)/(1-p) Y) / sum((1-A)/(1-p))

It compares arms as they ran. Where the runs of both load the same services, each arm's runs also feel what
the other's do to them; an effect on the load itself is not told apart here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sagacity_training.uplift.blocks import Blocks, Estimate
from sagacity_training.uplift.trial import METRICS, NoTrial, Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ARM_RUNS_MIN: Final = 20
"""Runs that each arm needs before its mean is worth telling."""


class Verdict(StrEnum):
    """What the interval that holds at every look says of the advised arm."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "open"  # Zero is still possible.


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One metric: both arms' means, and advised minus author. `n` are the randomised runs that tell it."""

    metric: str
    n: tuple[int, int]
    advised: float
    author: float
    difference: Estimate
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "advised": self.advised,
            "author": self.author,
            "n_advised": self.n[0],
            "n_author": self.n[1],
            "difference": self.difference.as_json(),
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """The effects by metric; metrics that too few runs tell are missing. `judged_by` decides the verdict."""

    runs: int
    randomised: int
    fallback_share: float
    alpha: float
    effects: Mapping[str, Effect]
    judged_by: str

    @property
    def verdict(self) -> Verdict:
        """What is said of the advice as a whole."""
        return self.effects[self.judged_by].verdict

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "runs": self.runs,
            "randomised": self.randomised,
            "fallback_share": self.fallback_share,
            "alpha": self.alpha,
            "effects": {name: effect.as_json() for name, effect in self.effects.items()},
            "judged_by": self.judged_by,
            "verdict": self.verdict.value,
        }


def uplift(trial: Trial, *, alpha: float = 0.05) -> Uplift:
    """The effect of being assigned to advice. Raises `NoTrial` where either arm has too few runs.

    The cost decides, or success where no costs are told.
    """
    randomised = trial.randomised
    blocks = Blocks(trial.blocks, alpha=alpha)
    effects = {
        name: effect for name in METRICS if (effect := _effect(trial, name, randomised, blocks)) is not None
    }
    if not effects:
        counts = int((randomised & trial.advised).sum()), int((randomised & ~trial.advised).sum())
        raise NoTrial(
            f"of {len(trial)} runs {counts[0]} were assigned at random to advice and {counts[1]} to the "
            f"author's plan; each arm needs {ARM_RUNS_MIN}: run an engine with an advisor and a holdout_share"
        )
    advised = randomised & trial.advised
    return Uplift(
        runs=len(trial),
        randomised=int(randomised.sum()),
        fallback_share=float(trial.fallback[advised].mean()),
        alpha=alpha,
        effects=effects,
        judged_by=next(iter(effects)),
    )


def _effect(trial: Trial, metric: str, randomised: NDArray[np.bool_], blocks: Blocks) -> Effect | None:
    import numpy as np

    values = trial.metrics[metric]
    known = randomised & np.isfinite(values)
    arms = known & trial.advised, known & ~trial.advised
    counts = int(arms[0].sum()), int(arms[1].sum())
    if min(counts) < ARM_RUNS_MIN:
        return None
    told = np.where(known, values, 0.0)
    p = np.where(known, trial.advised_probability, 0.5)
    weights = np.where(arms[0], 1 / p, 0.0), np.where(arms[1], 1 / (1 - p), 0.0)
    difference = blocks.difference((weights[0] * told, weights[0]), (weights[1] * told, weights[1]))
    means = [float((weight * told).sum() / weight.sum()) for weight in weights]
    return Effect(
        metric=metric,
        n=counts,
        advised=means[0],
        author=means[1],
        difference=difference,
        verdict=_verdict(difference, more_is_better=metric == "success"),
    )


def _verdict(difference: Estimate, *, more_is_better: bool) -> Verdict:
    if difference.always_low > 0:
        return Verdict.BETTER if more_is_better else Verdict.WORSE
    if difference.always_high < 0:
        return Verdict.WORSE if more_is_better else Verdict.BETTER
    return Verdict.OPEN
