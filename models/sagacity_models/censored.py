"""How long calls take, learnt from calls of which some were cut off by our own timeout.

A timed-out call is right-censored: it would have taken *at least* the timeout. Dropping such calls, or taking
the timeout for their duration, makes every service look faster than it is. The censored maximum likelihood of
a log-normal is found by expectation-maximisation: a censored log-duration is replaced by its conditional mean
and square given that it exceeds the timeout. Equal timeouts are counted together, so a step is a handful of
terms per iteration however many calls it had.

A quantile above every timeout in the log is not identified by the data; it follows from the log-normal shape.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sagacity_models.forecast import Latency

DURATION_MIN_S: Final = 1e-3
SIGMA_MIN: Final = 0.02
SIGMA_MAX: Final = 3.0
_ITERATIONS_MAX: Final = 500
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Durations:
    """What a latency is estimated from: sums over the log-durations seen, and the timeouts that fired."""

    count: int = 0
    log_sum: float = 0.0
    log_square_sum: float = 0.0
    censored: tuple[tuple[float, int], ...] = ()
    """Logarithms of timeouts, and how many calls each cut off."""

    @classmethod
    def of(cls, seen_s: Iterable[float], timeouts_s: Iterable[float] = ()) -> Durations:
        """The evidence of durations and of the timeouts that fired, in seconds."""
        logs = [math.log(max(duration, DURATION_MIN_S)) for duration in seen_s]
        cut = Counter(math.log(max(timeout, DURATION_MIN_S)) for timeout in timeouts_s)
        return cls(len(logs), math.fsum(logs), math.fsum(x * x for x in logs), tuple(sorted(cut.items())))

    @property
    def calls(self) -> int:
        """All calls, cut off or not."""
        return self.count + sum(count for _, count in self.censored)

    def __add__(self, other: Durations) -> Durations:
        cut = Counter(dict(self.censored))
        cut.update(dict(other.censored))
        return Durations(
            self.count + other.count,
            self.log_sum + other.log_sum,
            self.log_square_sum + other.log_square_sum,
            tuple(sorted(cut.items())),
        )


def fit_latency(evidence: Durations, prior: Latency, prior_calls: float) -> Latency:
    """The log-normal of maximum likelihood, drawn towards `prior` as if it had been seen `prior_calls` times.

    `prior_calls` must be positive unless there is evidence of at least two durations.
    """
    prior_mu, prior_variance = math.log(prior.median_s), prior.sigma**2
    count = evidence.count + prior_calls
    base_sum = evidence.log_sum + prior_calls * prior_mu
    base_square = evidence.log_square_sum + prior_calls * (prior_variance + prior_mu**2)
    mu, sigma = prior_mu, prior.sigma
    if evidence.count > 1:
        mu, sigma = _moments(evidence.count, evidence.log_sum, evidence.log_square_sum)
    for _ in range(_ITERATIONS_MAX):
        total, square = base_sum, base_square
        for limit, calls in evidence.censored:
            mean, second = _beyond(limit, mu, sigma)
            total += calls * mean
            square += calls * second
        before = mu, sigma
        mu, sigma = _moments(count + evidence.calls - evidence.count, total, square)
        if abs(mu - before[0]) + abs(sigma - before[1]) < _TOLERANCE:
            break
    return Latency(math.exp(mu), sigma)


def _moments(count: float, total: float, square: float) -> tuple[float, float]:
    mu = total / count
    variance = max(square / count - mu * mu, 0.0)
    return mu, min(max(math.sqrt(variance), SIGMA_MIN), SIGMA_MAX)


def _beyond(limit: float, mu: float, sigma: float) -> tuple[float, float]:
    """Mean and mean square of a normal variable given that it exceeds `limit`."""
    z = (limit - mu) / sigma
    tail = 0.5 * math.erfc(z / math.sqrt(2))
    # Far out the ratio density/tail approaches z + 1/z; the quotient itself would be 0/0.
    hazard = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * tail) if z < 30 else z + 1 / z
    mean = mu + sigma * hazard
    return mean, sigma * sigma * (1 + z * hazard - hazard * hazard) + mean * mean
