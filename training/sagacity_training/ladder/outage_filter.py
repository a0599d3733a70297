"""The exact filter over one service's hidden up/down state, given every call that has finished.

A call's outcome depends on the state at the moment it was *made*, and calls finish in another order than they
were made. So observations are kept sorted by start, with the posterior after each; one that arrives late
recomputes only what follows it. Prediction between calls is the process's own (`OutageLaw.predicted`).
Whether an input is permanently refused does not enter: it never changes how likely a *service* failure is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import AttemptFailed, AttemptSucceeded, AttemptUnknown
from sagacity_engine.worlds.law import AttemptLaw
from sagacity_engine.worlds.outages import OutageLaw

Outcome = AttemptSucceeded | AttemptFailed | AttemptUnknown


@dataclass(frozen=True, slots=True)
class _Observation:
    start_at: float
    if_up: float
    if_down: float


class OutageFilter:
    """P(the service is down), exact for the calls observed so far."""

    def __init__(self, law: OutageLaw) -> None:
        self._law = law
        self._observations: list[_Observation] = []
        self._posteriors: list[float] = []  # P(down) just after each observation; valid as far as it reaches.

    def observe(self, start_at: float, outcome: Outcome, up: AttemptLaw, down: AttemptLaw) -> None:
        """Adds one finished call made at `start_at`, whose law was `up` or `down` depending on the state."""
        duration_s = outcome.at - start_at
        seen = _Observation(
            start_at, likelihood(outcome, duration_s, up), likelihood(outcome, duration_s, down)
        )
        place = bisect_right(self._observations, start_at, key=lambda other: other.start_at)
        self._observations.insert(place, seen)
        del self._posteriors[place:]

    def probability_down(self, at: float) -> float:
        """P(down at `at`) given every observation so far; `at` is not before any of them."""
        while len(self._posteriors) < len(self._observations):
            self._extend()
        if not self._observations:
            return self._law.share
        return self._law.predicted(self._posteriors[-1], at - self._observations[-1].start_at)

    def _extend(self) -> None:
        place = len(self._posteriors)
        seen = self._observations[place]
        before = self._law.share
        if place:
            elapsed_s = seen.start_at - self._observations[place - 1].start_at
            before = self._law.predicted(self._posteriors[place - 1], elapsed_s)
        down = before * seen.if_down
        total = down + (1 - before) * seen.if_up
        # Both likelihoods can underflow for a duration far out in the tail; then the call says nothing.
        self._posteriors.append(down / total if total > 0 else before)


def likelihood(outcome: Outcome, duration_s: float, law: AttemptLaw) -> float:
    """The density of what was seen of one call under `law`; permanence of the input divides out."""
    z = math.log(duration_s / law.median_s) / law.sigma
    if isinstance(outcome, AttemptUnknown):
        return 0.5 * math.erfc(z / math.sqrt(2))
    density = math.exp(-0.5 * z * z) / (law.sigma * duration_s)
    if isinstance(outcome, AttemptSucceeded) or outcome.failure_class is FailureClass.PERMANENT:
        return (1 - law.service_failure) * density
    if outcome.failure_class is FailureClass.CASCADING:
        return law.service_failure * law.unavailable_share * density
    return law.service_failure * (1 - law.unavailable_share) * density
