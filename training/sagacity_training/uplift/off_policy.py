"""What a policy that never ran would have cost, from runs of the one that did and its propensities.

With w = P(candidate does what was done) / P(it was done):

    IPS   = mean(w Y)                                     unbiased, noisy
    SNIPS = sum(w Y) / sum(w)                             a little biased, less noisy
    DR    = mean(sum_a P(a) m(x, a) + w (Y - m(x, a_i)))  unbiased whatever m is; as good as m is right

m is the mean of each arm in each saga type, drawn towards the arm's mean, learnt on the other half of the
days than those it is used on. An answer is refused where the log cannot carry it: fewer than `ESS_MIN` runs'
worth of evidence, (sum w)^2 / sum w^2, or more than `UNSUPPORTED_MAX` of the candidate's decisions such as
were never taken. Then the estimate would be an invention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.shrinkage import shrunk
from sagacity_training.errors import TrainingError
from sagacity_training.uplift.blocks import Blocks, Estimate
from sagacity_training.uplift.candidate import Candidate
from sagacity_training.uplift.trial import Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ESS_MIN: Final = 100.0
UNSUPPORTED_MAX: Final = 0.05
_CELL_RUNS: Final = 20.0


class OffPolicyRefused(TrainingError):
    """The log does not support the question; the message says by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicy:
    """One metric under the candidate by each estimator, beside its mean under the policy that ran."""

    metric: str
    n: int
    effective_n: float
    unsupported_share: float
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        told = {name: getattr(self, name).as_json() for name in ("logged", "ips", "snips", "dr")}
        return {
            "metric": self.metric,
            "n": self.n,
            "effective_n": self.effective_n,
            "unsupported_share": self.unsupported_share,
            **told,
        }


def off_policy(trial: Trial, candidate: Candidate, metric: str = "cost", *, alpha: float = 0.05) -> OffPolicy:
    """The candidate's mean of `metric`. Raises `OffPolicyRefused` where the log does not support it."""
    import numpy as np

    values = trial.metrics[metric]
    known = np.isfinite(values)
    wanted = np.array(list(map(candidate.advised_probability, trial.sagas, trial.contexts)))
    logged = trial.advised_probability
    done = np.where(trial.advised, logged, 1 - logged)
    weights = np.where(trial.advised, wanted, 1 - wanted) / done
    lacking = np.where(logged <= 0, wanted, np.where(logged >= 1, 1 - wanted, 0.0))
    unsupported = float(lacking[known].mean()) if known.any() else 1.0
    effective = _effective(weights[known])
    _require(metric, int(known.sum()), effective, unsupported)
    told, one = np.where(known, values, 0.0), known.astype(np.float64)
    weights = weights * one
    blocks = Blocks(trial.blocks, alpha=alpha)
    model = reward_model(trial, told, known)
    expected = wanted * model[1] + (1 - wanted) * model[0]
    residual = weights * (told - np.where(trial.advised, model[1], model[0]))
    return OffPolicy(
        metric=metric,
        n=int(known.sum()),
        effective_n=effective,
        unsupported_share=unsupported,
        logged=blocks.difference((told, one)),
        ips=blocks.difference((weights * told, one)),
        snips=blocks.difference((weights * told, weights)),
        dr=blocks.difference(((expected + residual) * one, one)),
    )


def reward_model(trial: Trial, values: Array, known: NDArray[np.bool_]) -> Array:
    """Each run's expected metric under author and advised, learnt on the other blocks: two rows of n."""
    import numpy as np

    model = np.zeros((2, len(trial)))
    sagas, codes = np.unique(np.array(trial.sagas), return_inverse=True)
    for half in (0, 1):
        used, learnt = trial.blocks % 2 == half, known & (trial.blocks % 2 != half)
        for arm in (0, 1):
            own = learnt & (trial.advised == bool(arm))
            mean = float(values[own].mean()) if own.any() else float(values[known].mean())
            sums = np.bincount(codes[own], weights=values[own], minlength=len(sagas))
            counts = np.bincount(codes[own], minlength=len(sagas))
            cells = np.array([shrunk(top, n, mean, _CELL_RUNS) for top, n in zip(sums, counts, strict=True)])
            model[arm, used] = cells[codes[used]]
    return model


def _effective(weights: Array) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum() ** 2 / squares) if squares else 0.0


def _require(metric: str, n: int, effective: float, unsupported: float) -> None:
    if unsupported > UNSUPPORTED_MAX:
        raise OffPolicyRefused(
            f"{unsupported:.1%} of the candidate's decisions were never taken in this log (at most "
            f"{UNSUPPORTED_MAX:.0%}); let both arms run where it wants them, with a holdout, and ask again"
        )
    if effective < ESS_MIN:
        raise OffPolicyRefused(
            f"the {n} runs that tell their {metric} are worth {effective:.0f} runs under the candidate "
            f"(at least {ESS_MIN:.0f}); record more, or ask about a policy closer to the one that ran"
        )
