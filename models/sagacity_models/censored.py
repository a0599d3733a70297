"""How long calls take, learnt from calls of which some were cut off by our own timeout.

A timed-out call is right-censored: it would have taken *at least* the timeout. Dropping such calls, or taking
the timeout for their duration, makes every service look faster than it is. The censored maximum likelihood of
a log-normal is found by expectation-maximisation: a censored log-duration is replaced by its conditional mean
and square given that it exceeds the timeout. Equal timeouts are counted together, so a step is a handful of
terms per iteration however many calls it had; where timeouts are many, neighbours are counted as one.

A call that was cut off might have ended in a success or in a refusal. It counts for each kind with a weight,
so that the tail of neither is overstated (`Durations.of`, and `timeout_shares` in training).

A quantile above every timeout in the log is not identified by the data; it follows from the log-normal shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sagacity_models.forecast import Latency

DURATION_MIN_S: Final = 1e-3
SIGMA_MIN: Final = 0.02
SIGMA_MAX: Final = 3.0
_ITERATIONS_MAX: Final = 500
_TOLERANCE: Final = 1e-9
_LIMITS_MAX: Final = 256
"""The most timeouts that are told apart."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What a latency is estimated from: sums over the log-durations seen, and the timeouts that fired."""

    count: int = 0
    log_sum: float = 0.0
    log_square_sum: float = 0.0
    censored: tuple[tuple[float, float], ...] = ()
    """Logarithms of timeouts, and how many calls of this kind each cut off."""

    @classmethod
    def of(
        cls, seen_s: Iterable[float], timeouts_s: Iterable[float] = (), timeout_weight: float = 1.0
    ) -> Durations:
        """The evidence of durations and of the timeouts that fired, in seconds.

        `timeout_weight` is P(a call that was cut off is of the kind that is told of).
        """
        logs = [math.log(max(duration, DURATION_MIN_S)) for duration in seen_s]
        cut = _counted((math.log(max(timeout, DURATION_MIN_S)), timeout_weight) for timeout in timeouts_s)
        return cls(len(logs), math.fsum(logs), math.fsum(x * x for x in logs), cut)

    @classmethod
    def of_sums(
        cls, count: int, log_sum: float, log_square_sum: float, limits: Iterable[tuple[float, float]]
    ) -> Durations:
        """The same of sums that were made already; `limits` are logarithms of timeouts with their weights."""
        return cls(count, log_sum, log_square_sum, _counted(limits))

    @property
    def calls(self) -> float:
        """All calls, cut off or not."""
        return self.count + sum(count for _, count in self.censored)

    def __add__(self, other: Durations) -> Durations:
        return Durations(
            self.count + other.count,
            self.log_sum + other.log_sum,
            self.log_square_sum + other.log_square_sum,
            _counted((*self.censored, *other.censored)),
        )


def _counted(limits: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Weights of equal limits together, sorted; past `_LIMITS_MAX` limits, of neighbours at their mean."""
    counts: dict[float, float] = {}
    for limit, weight in limits:
        if weight > 0:
            counts[limit] = counts.get(limit, 0.0) + weight
    if len(counts) <= _LIMITS_MAX:
        return tuple(sorted(counts.items()))
    low = min(counts)
    width = (max(counts) - low) / _LIMITS_MAX
    cells: dict[int, list[float]] = {}
    for limit in sorted(counts):
        cell = cells.setdefault(min(int((limit - low) / width), _LIMITS_MAX - 1), [0.0, 0.0])
        cell[0] += limit * counts[limit]
        cell[1] += counts[limit]
    return tuple((total / weight, weight) for total, weight in cells.values())


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
