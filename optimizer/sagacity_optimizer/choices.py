"""What a step may be set to: timeouts, attempts and retrying classes inside the owner's bounds."""

from __future__ import annotations

import itertools
import math

from sagacity_engine.plan import StepPlan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_models.forecast import Latency, StepForecast
from sagacity_optimizer.outcomes import CLASSES, UNKNOWN, Flags
from sagacity_optimizer.problem import Problem

QUANTILES = (0.9, 0.99, 0.999)
TIMEOUTS_MAX = 6
"""One more where the latency has a shape of its own: where to give up a stall and start anew."""
ATTEMPTS_CHOICES_MAX = 8
_OVERHEAD_MIN = 0.05
"""Starting anew is never free, or no call would be waited for."""


def timeout_choices(step: Step, problem: Problem, own: StepPlan) -> tuple[float, ...]:
    """The author's timeout first, then the bounds and natural candidates from the latency between them."""
    bounds = step.freedom.start_to_close_timeout_s
    own_s = own.start_to_close_timeout_s
    if bounds is None or not problem.saga.freedom.timeouts:
        return (own_s,)
    low, high = bounds
    candidates = [own_s]
    latency = slowest_latency(problem.forecast.steps[step.name])
    restarts = _restarts_s(latency, own.retry)
    for value in (*restarts, *(latency.quantile(level) for level in QUANTILES), high, low):
        rounded = min(high, max(low, _three_digits(value)))
        if rounded not in candidates:
            candidates.append(rounded)
    return tuple(candidates[: TIMEOUTS_MAX + len(restarts)])


def _restarts_s(latency: Latency, retry: RetryPolicy) -> tuple[float, ...]:
    """The timeout from which starting anew is quicker than waiting, for a shape that no quantile suits.

    A stall begins at a level of its own, so that a fixed one may lie inside it: the hazard tells.
    """
    if latency.shape.is_normal or latency.sigma <= 0:
        return ()
    overhead = _three_digits(max(retry.ceiling_s(1) / 2 / latency.median_s, _OVERHEAD_MIN))
    height = latency.shape.restart_height(latency.sigma, overhead)
    return (latency.median_s * math.exp(latency.sigma * height),)


def slowest_latency(forecast: StepForecast) -> Latency:
    """The success latency of the regime with the longest median; its quantiles are natural timeouts."""
    return max((regime.latency for regime in forecast.regimes), key=lambda latency: latency.median_s)


def attempt_choices(step: Step, problem: Problem, own: StepPlan) -> tuple[int, ...]:
    """The author's attempts first, then those inside the bounds; a wide range is thinned out."""
    bounds = step.freedom.maximum_attempts
    own_attempts = own.retry.maximum_attempts
    if bounds is None or not problem.saga.freedom.retries:
        return (own_attempts,)
    low, high = bounds
    inside = list(range(low, min(high, low + ATTEMPTS_CHOICES_MAX - 2) + 1))
    return tuple(dict.fromkeys((own_attempts, *inside, high)))


def strategy_choices(problem: Problem) -> list[Flags]:
    """Retry flags per class: all that differ for some step, those with fewer exceptions first."""
    forecasts = [problem.forecast.steps[name] for name in problem.saga.names]
    seen = {c for f in forecasts for regime in f.regimes for c, mass in regime.failures.items() if mass > 0}
    live = [c in seen or i == UNKNOWN for i, c in enumerate(CLASSES)]
    a, b, c, d = ((True, False) if flag else (True,) for flag in live)
    return sorted(itertools.product(a, b, c, d), key=lambda flags: -sum(flags))


def _three_digits(value: float) -> float:
    """Rounded up to three significant digits, so that plans stay readable."""
    if value <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return round(math.ceil(value / step - 1e-9) * step, 9)
