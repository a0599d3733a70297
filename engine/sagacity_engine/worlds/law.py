"""How a step of a simulated service behaves, given everything: the truth that only the ladder may read.

One call goes like this. With probability `service_failure` the service itself fails: a reset connection or
"unavailable", more often the latter while it is down. Otherwise the input decides: with probability
`permanent`, drawn once per run and step, it will never be accepted ("sold out"); else the call succeeds. The
duration depends on the service's state and load only, not on the reply. All probabilities are logistic in the
context, so that a person can read a law off the table in which it is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sagacity_engine.errors import FailureClass
from sagacity_engine.worlds.outages import OutageLaw

Context = Mapping[str, str | float | bool]

HOUR_S = 3600.0
DAY_S = 86_400.0
CAPACITY = 8.0
"""Calls in flight at which a service's load reaches 1."""

ERROR_TYPES = {"ConnectionReset": FailureClass.TRANSIENT, "ServiceUnavailable": FailureClass.CASCADING}
UNAVAILABLE_SHARE = {False: 0.25, True: 0.85}
"""P(the error says unavailable | the service failed), by whether it is down."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Adds `weight` to a log-odds where the context has `key` equal to `value`, or per unit above `value`."""

    key: str
    value: str | float | bool
    weight: float

    def of(self, context: Context) -> float:
        """This effect's part of the log-odds."""
        found = context.get(self.key)
        if isinstance(self.value, float):
            return self.weight * (float(found) - self.value) if found is not None else 0.0
        return self.weight if found == self.value else 0.0


@dataclass(frozen=True, slots=True)
class AttemptLaw:
    """The law of one call in a known state: refusals by class apart from permanence, and the duration."""

    service_failure: float
    unavailable_share: float
    median_s: float
    sigma: float

    def failures(self, permanent: bool) -> dict[FailureClass, float]:
        """P(the call is refused with this class), for an input that is permanently refused or not."""
        failures = {
            FailureClass.TRANSIENT: self.service_failure * (1 - self.unavailable_share),
            FailureClass.CASCADING: self.service_failure * self.unavailable_share,
        }
        if permanent:
            failures[FailureClass.PERMANENT] = 1 - self.service_failure
        return failures


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLaw:
    """One step's truth. Base probabilities are at zero effects; `rush` are hours with `rush_weight` more."""

    service: str
    outages: OutageLaw
    refusal: str = "SoldOut"
    permanent_base: float
    permanent_effects: tuple[Effect, ...] = ()
    failure_base: float
    failure_down: float = 0.92
    rush: tuple[int, int] = (0, 0)
    rush_weight: float = 0.0
    load_weight: float = 0.8
    median_s: float
    sigma: float = 0.5
    down_slowdown: float = 2.5
    undo_failure: float = 0.02
    undo_median_s: float = 1.5

    def permanent(self, context: Context) -> float:
        """P(this run's input will never be accepted)."""
        if self.permanent_base <= 0:
            return 0.0
        return _logistic(
            _logit(self.permanent_base) + sum(effect.of(context) for effect in self.permanent_effects)
        )

    def attempt(self, *, at: float, load: float, down: bool) -> AttemptLaw:
        """The law of a call at time `at` with `load` calls in flight per capacity, for a known state."""
        busy = load * (1 + 0.25 * down)
        if down:
            failure = self.failure_down
        else:
            failure = _logistic(_logit(self.failure_base) + self._rush(at) + self.load_weight * busy)
        slower = (self.down_slowdown if down else 1.0) * (1 + 0.5 * busy)
        return AttemptLaw(failure, UNAVAILABLE_SHARE[down], self.median_s * slower, self.sigma)

    def _rush(self, at: float) -> float:
        first, last = self.rush
        hour = (at % DAY_S) / HOUR_S
        return self.rush_weight if first <= hour < last else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldLaw:
    """All steps' truths, and how contexts and arrivals are drawn."""

    steps: Mapping[str, StepLaw]
    trips_per_day: float
    burst_size: float
    burst_gap_s: float
    context_shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
