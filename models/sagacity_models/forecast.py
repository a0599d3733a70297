"""What a model says about one run's steps, in the form the optimizer computes with.

Attempts of one step within one run are alike but not independent: a sold-out hotel stays sold out, a service
that is down stays down for a while. So a step is a *mixture of regimes*: with probability `weight` the run
meets that regime, and within it attempts are independent. Then everything about r retries is a closed form,
for instance P(all r+1 attempts fail) = sum over regimes of weight * failure^(r+1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from sagacity_engine.errors import FailureClass
from sagacity_models.shape import NORMAL, Shape

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Latency:
    """A duration median_s * exp(sigma * Z): `median_s` in seconds, `sigma` the scale of its logarithm.

    Z follows `shape`; of the default, a log-normal duration, `sigma` is the logarithm's deviation. A `sigma`
    of 0 is a duration that never varies.
    """

    median_s: float
    sigma: float
    shape: Shape = NORMAL

    def survival(self, t_s: float) -> float:
        """P(duration > t_s)."""
        if t_s <= 0:
            return 1.0
        if self.sigma <= 0:
            return float(t_s < self.median_s)
        if self.shape.levels:
            return self.shape.survival(math.log(t_s / self.median_s) / self.sigma)
        return 0.5 * math.erfc((math.log(t_s / self.median_s)) / (self.sigma * math.sqrt(2)))

    def mean_until(self, t_s: float) -> float:
        """E[min(duration, t_s)] in seconds: the time an attempt with timeout `t_s` takes.

        >>> round(Latency(1.0, 0.5).mean_until(1e9), 6) == round(math.exp(0.125), 6)
        True
        """
        if t_s <= 0:
            return 0.0
        if self.sigma <= 0:
            return min(self.median_s, t_s)
        z = math.log(t_s / self.median_s) / self.sigma
        if self.shape.levels:
            return self.median_s * self.shape.mean_until(self.sigma, z)
        below = 0.5 * math.erfc(-(z - self.sigma) / math.sqrt(2))
        return self.median_s * math.exp(self.sigma**2 / 2) * below + t_s * self.survival(t_s)

    def quantile(self, level: float) -> float:
        """The duration below which a share `level` (in (0, 1)) of calls ends."""
        if self.shape.levels:
            return self.median_s * math.exp(self.sigma * self.shape.quantile(level))
        return self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(level))

    def done_by(self, t_s: float) -> float:
        """P(duration <= t_s)."""
        return 1.0 - self.survival(t_s)


@dataclass(frozen=True, slots=True)
class Regime:
    """One state of affairs a run may meet at a step; within it attempts are independent.

    `failures` holds, per class the engine will *see*, the probability that an attempt is definitely refused;
    what is missing to 1 succeeds (if the timeout lets it). `latency` is that of a successful attempt,
    `failure_latency` that of a refused one. A duration above the timeout ends as an unknown outcome.
    """

    weight: float
    failures: Mapping[FailureClass, float]
    latency: Latency
    failure_latency: Latency

    @property
    def failure_probability(self) -> float:
        """P(an attempt is definitely refused), timeouts apart."""
        return sum(self.failures.values())


@dataclass(frozen=True, slots=True)
class UndoForecast:
    """One compensation: P(an attempt fails), independent attempts, and how long an attempt takes."""

    failure_probability: float
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class StepForecast:
    """What is expected of one step in this run. Regime weights sum to 1."""

    regimes: tuple[Regime, ...]
    undo: UndoForecast

    @property
    def failure_probability(self) -> float:
        """P(the first attempt is definitely refused)."""
        return sum(regime.weight * regime.failure_probability for regime in self.regimes)

    def done_by(self, t_s: float) -> float:
        """P(the first attempt has been answered, by success or refusal, `t_s` seconds after its start)."""
        return sum(
            regime.weight
            * (
                (1 - regime.failure_probability) * regime.latency.done_by(t_s)
                + regime.failure_probability * regime.failure_latency.done_by(t_s)
            )
            for regime in self.regimes
        )

    @property
    def class_shares(self) -> dict[FailureClass, float]:
        """P(class | the first attempt is refused); empty when it never is."""
        total = self.failure_probability
        shares: dict[FailureClass, float] = {}
        for regime in self.regimes:
            for failure_class, probability in regime.failures.items():
                shares[failure_class] = shares.get(failure_class, 0.0) + regime.weight * probability
        return {key: value / total for key, value in shares.items()} if total > 0 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaForecast:
    """Forecasts by step name, and the version of the model that made them."""

    steps: Mapping[str, StepForecast]
    model_version: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)  # Per step, the strongest reason in words.
