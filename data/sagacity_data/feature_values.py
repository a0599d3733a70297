"""The numbers behind the launch features: a function of history, definition, context and time, nothing else.

Every rate is shrunk (`decay.shrunk`): a step's towards its service's 7-day rate, a service's towards a fixed
prior, and within both the shorter windows towards the longer. The order of the values here is that of
`feature_catalogue.FEATURES`, which says what each one means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sagacity_data import history as h
from sagacity_data.decay import WIDTH, DecayedSums, logit, shrunk
from sagacity_data.feature_catalogue import CONTEXT_PREFIX, FEATURE_NAMES
from sagacity_data.history import History, ServiceHistory
from sagacity_data.rows import ContextValues, StepFeatures
from sagacity_data.sickness import Sickness
from sagacity_engine import Saga

PRIOR_FAILURE: Final = 0.05
PRIOR_HEALTH_FAILURE: Final = 0.02
PRIOR_RUN_FAILURE: Final = 0.1
PRIOR_SHARE_OF_TIMEOUT: Final = 0.2
"""A step nobody has seen is expected to take this share of its author's timeout."""

SINCE_MAX_S: Final = 30 * 86_400.0
CONTEXT_KEYS_MAX: Final = 64

Value = float | str
_NO_CALLS: Final = [0.0] * (WIDTH * h.CALL_SUMS)
_NOTHING_HEARD: Final = Sickness()
_NO_RUNS: Final = [0.0] * (WIDTH * h.RUN_SUMS)


@dataclass(frozen=True, slots=True)
class SagaFacts:
    """What the definition alone says, computed once per definition."""

    saga: str
    steps: tuple[tuple[str, str, tuple[Value, ...], float], ...]  # name, service, facts, prior ln(s)
    totals: tuple[float, float, float, float, float]  # steps, timeouts, regions, compensations, their cost


def launch_values(
    history: History, facts: SagaFacts, context: ContextValues, at: float
) -> dict[str, StepFeatures]:
    """For each step, its features as of `at`, which must not lie before anything `history` has folded."""
    services: dict[str, tuple[list[Value], float, float]] = {}
    steps: list[tuple[str, tuple[Value, ...], list[Value], list[Value]]] = []
    estimated_s = 0.0
    for name, service, own, log_prior in facts.steps:
        if service not in services:
            services[service] = _service_values(history.services.get(service), at, log_prior)
        shared, failure_prior, health_prior = services[service]
        sums = history.steps.get((facts.saga, name))
        values, log_s = _step_values(sums, at, failure_prior, health_prior, log_prior)
        estimated_s += math.exp(log_s)
        steps.append((name, own, shared, values))
    common = _saga_values(history, facts, at, estimated_s)
    told = context_features(context)
    return {
        name: {**dict(zip(FEATURE_NAMES, (*common, *own, *shared, *values), strict=True)), **told}
        for name, own, shared, values in steps
    }


def _saga_values(history: History, facts: SagaFacts, at: float, estimated_s: float) -> tuple[Value, ...]:
    count, timeouts_s, regions, compensations, compensation_cost = facts.totals
    sums = history.sagas.get(facts.saga)
    rates = shrunk(_NO_RUNS if sums is None else sums.as_of(at), h.RUNS_FAILED, h.RUNS, PRIOR_RUN_FAILURE)
    definition = (count, timeouts_s, estimated_s, regions, compensations, compensation_cost)
    return (*calendar(at), *definition, rates[2], rates[3], float(history.runs.count(at)))


def calendar(at: float) -> tuple[float, float, float, float]:
    """Sine and cosine of the UTC time of day, the weekday (Monday is 0) and whether it is a weekend.

    >>> calendar(0.0)  # midnight of a Thursday
    (0.0, 1.0, 3.0, 0.0)
    """
    day, second = divmod(at, 86_400.0)
    angle = 2 * math.pi * second / 86_400.0
    weekday = (day + 3) % 7
    return math.sin(angle), math.cos(angle), weekday, 1.0 if weekday >= 5 else 0.0


def context_features(context: ContextValues) -> dict[str, Value]:
    """The caller's context as features: numbers and truth values as floats, text as text.

    Numbers that are not finite are left out, and so is, in the order of the keys, what exceeds
    `CONTEXT_KEYS_MAX`.

    >>> context_features({"season": "high", "party": 3, "vip": True})
    {'context.party': 3.0, 'context.season': 'high', 'context.vip': 1.0}
    """
    told: dict[str, Value] = {}
    for key in sorted(context)[:CONTEXT_KEYS_MAX]:
        value = context[key]
        if isinstance(value, str):
            told[CONTEXT_PREFIX + key] = value
        elif math.isfinite(value):
            told[CONTEXT_PREFIX + key] = float(value)
    return told


def saga_facts(saga: Saga) -> SagaFacts:
    """The definition's part of the features."""
    home = saga.steps[0].region
    undos = [step.compensation for step in saga.steps if step.compensation is not None]
    return SagaFacts(
        saga=saga.name,
        steps=tuple(
            (
                step.name,
                step.service,
                (step.kind.value, step.region, step.start_to_close_timeout_s),
                math.log(PRIOR_SHARE_OF_TIMEOUT * step.start_to_close_timeout_s),
            )
            for step in saga.steps
        ),
        totals=(
            float(len(saga.steps)),
            sum(step.start_to_close_timeout_s for step in saga.steps),
            float(sum(step.region != home for step in saga.steps)),
            float(len(undos)),
            sum(undo.cost for undo in undos),
        ),
    )


def _rate_values(
    sums: list[float], failure_prior: float, health_prior: float
) -> tuple[list[Value], float, float]:
    """The sixteen rates and log-odds, and the 7-day failure and health failure rates."""
    failure = shrunk(sums, h.FAILED, h.FIRST, failure_prior)
    health = shrunk(sums, h.HEALTH_FAILED, h.CALLS, health_prior)
    values: list[Value] = [*failure, *map(logit, failure), *health, *map(logit, health)]
    return values, failure[-1], health[-1]


def _service_values(
    service: ServiceHistory | None, at: float, log_prior: float
) -> tuple[list[Value], float, float]:
    """The service's features, and its 7-day failure and health failure rates: the priors of its steps."""
    sums = _NO_CALLS if service is None else service.sums.as_of(at)
    values, failure_7d, health_7d = _rate_values(sums, PRIOR_FAILURE, PRIOR_HEALTH_FAILURE)
    calls = h.CALLS * WIDTH
    latency = shrunk(sums, h.LOG_S, h.TIMED, log_prior)
    values += (
        math.log1p(sums[calls]),
        math.log1p(sums[calls + 3]),
        _since(None if service is None else service.health_failure_at, at),
        _since(None if service is None else service.success_at, at),
        "none" if service is None else service.last_outcome,
        *(_NOTHING_HEARD if service is None else service.sickness).as_of(at),
        0.0 if service is None else float(service.streak),
        latency[1],
        latency[3],
        0.0 if service is None else float(service.calls.count(at)),
    )
    return values, failure_7d, health_7d


def _step_values(
    sums: DecayedSums | None, at: float, failure_prior: float, health_prior: float, log_prior: float
) -> tuple[list[Value], float]:
    """The step's features, and its mean log duration."""
    now = _NO_CALLS if sums is None else sums.as_of(at)
    values, _, _ = _rate_values(now, failure_prior, health_prior)
    log_s = shrunk(now, h.LOG_S, h.TIMED, log_prior)[3]
    values += (math.log1p(now[h.FIRST * WIDTH + 3]), log_s)
    return values, log_s


def _since(then: float | None, at: float) -> float:
    return math.log1p(SINCE_MAX_S if then is None else min(at - then, SINCE_MAX_S))
