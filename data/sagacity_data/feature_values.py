"""The numbers behind the launch features: a function of history, definition, context and time, nothing else.

Every rate is shrunk (`decay.shrunk`): a step's towards its service's 7-day rate, a service's towards a fixed
prior, and within both the shorter windows towards the longer. The order of the values here is that of
`feature_catalogue.FEATURES`, which says what each one means.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Final

from sagacity_data import service_history as h
from sagacity_data.decay import WIDTH, DecayedSums, Moment, rates, shrunk
from sagacity_data.feature_catalogue import (
    CONTEXT_PREFIX,
    FEATURE_NAMES,
    SAGA_FEATURES,
    SERVICE_FEATURES,
    STEP_FACTS,
    STEP_FEATURES,
)
from sagacity_data.history import RUN_SUMS, RUNS, RUNS_FAILED, History
from sagacity_data.rows import ContextValues, StepFeatures
from sagacity_data.service_history import ServiceHistory
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
_NO_RUNS: Final = [0.0] * (WIDTH * RUN_SUMS)
_UNHEARD: Final = ServiceHistory(Moment(0.0))


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
    now = Moment(at)
    services: dict[str, tuple[tuple[Value, ...], float, float]] = {}
    of_steps: list[tuple[float, ...]] = []
    for name, service, _, log_prior in facts.steps:
        told = services.get(service)
        if told is None:
            told = _service_values(history.services.get(service, _UNHEARD), now, log_prior)
            services[service] = told
        kept = history.steps.get((facts.saga, name))
        of_steps.append(_step_values(kept, now, log_prior, priors=told[1:]))
    estimated_s = sum([math.exp(values[-1]) for values in of_steps])
    common = {**_EMPTY, **context_features(context)}
    common.update(zip(_SAGA_NAMES, _saga_values(history, facts, now, estimated_s), strict=True))
    return _by_step(facts, common, services, of_steps)


def _by_step(
    facts: SagaFacts,
    common: dict[str, Value],
    of_services: dict[str, tuple[tuple[Value, ...], float, float]],
    of_steps: list[tuple[float, ...]],
) -> dict[str, StepFeatures]:
    """The features of each step. To copy what steps share and fill in the rest is the cheapest way.

    So is not to count names and values here: the catalogue and this file are held together by a test.
    """
    alike: dict[str, dict[str, Value]] = {}  # By service: the features of its first step.
    features: dict[str, StepFeatures] = {}
    for (name, service, own, _), values in zip(facts.steps, of_steps, strict=False):
        first = alike.get(service)
        if first is None:
            of_step = alike[service] = {**common}
            of_step.update(zip(_SERVICE_NAMES, of_services[service][0], strict=False))
        else:
            of_step = {**first}
        of_step.update(zip(_STEP_NAMES, own + values, strict=False))
        features[name] = of_step
    return features


_SAGA_NAMES: Final = tuple(feature.name for feature in SAGA_FEATURES)
_SERVICE_NAMES: Final = tuple(feature.name for feature in SERVICE_FEATURES)
_STEP_NAMES: Final = tuple(feature.name for feature in (*STEP_FACTS, *STEP_FEATURES))
_EMPTY: Final[dict[str, Value]] = dict.fromkeys(FEATURE_NAMES, 0.0)
"""Every name at its place, to be filled in."""


def _saga_values(history: History, facts: SagaFacts, now: Moment, estimated_s: float) -> tuple[Value, ...]:
    count, timeouts_s, regions, compensations, compensation_cost = facts.totals
    kept = history.sagas.get(facts.saga)
    sums = _NO_RUNS if kept is None else kept.in_week(now.week)
    failures = shrunk(sums, RUNS_FAILED, RUNS, PRIOR_RUN_FAILURE, now.pseudo)
    definition = (count, timeouts_s, estimated_s, regions, compensations, compensation_cost)
    return (*calendar(now.at), *definition, failures[2], failures[3], float(history.runs.count(now.at)))


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

    Numbers that no finite float can hold are left out, and so is, in the order of the keys, what exceeds
    `CONTEXT_KEYS_MAX`.

    >>> context_features({"season": "high", "party": 3, "vip": True})
    {'context.party': 3.0, 'context.season': 'high', 'context.vip': 1.0}
    """
    told: dict[str, Value] = {}
    for key in sorted(context)[:CONTEXT_KEYS_MAX]:
        value = context[key]
        if isinstance(value, str):
            told[CONTEXT_PREFIX + key] = value
        elif -_LARGEST <= value <= _LARGEST:
            told[CONTEXT_PREFIX + key] = float(value)
    return told


_LARGEST: Final = sys.float_info.max


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


def _service_values(
    service: ServiceHistory, now: Moment, log_prior: float
) -> tuple[tuple[Value, ...], float, float]:
    """The service's features, and its 7-day failure and health failure rates: the priors of its steps."""
    sums = service.sums.in_week(now.week) if service is not _UNHEARD else _NO_CALLS
    at, pseudo, (recent, _, _, lasting) = now.at, now.pseudo, now.growth
    failures = rates(sums, h.FAILED, h.FIRST, PRIOR_FAILURE, pseudo)
    health = rates(sums, h.HEALTH_FAILED, h.CALLS, PRIOR_HEALTH_FAILURE, pseudo)
    values = (
        *failures,
        *health,
        math.log1p(sums[h.CALLS] / recent),
        math.log1p(sums[h.CALLS + 3] / lasting),
        _since(service.health_failure_at, at),
        _since(service.success_at, at),
        service.last_outcome,
        *service.sickness.as_of(at),
        float(service.streak),
        service.breaker,
        _since(service.breaker_open_at, at),
        *shrunk(sums, h.LOG_S, h.TIMED, log_prior, pseudo),
        float(service.calls.count(at)),
    )
    return values, failures[3], health[3]


def _step_values(
    kept: DecayedSums | None, now: Moment, log_prior: float, priors: tuple[float, float]
) -> tuple[float, ...]:
    """The step's features, its mean log duration last; `priors` are its service's rates."""
    sums = _NO_CALLS if kept is None else kept.in_week(now.week)
    pseudo = now.pseudo
    return (
        *rates(sums, h.FAILED, h.FIRST, priors[0], pseudo),
        *rates(sums, h.HEALTH_FAILED, h.CALLS, priors[1], pseudo),
        math.log1p(sums[h.FIRST + 3] / now.growth[3]),
        shrunk(sums, h.LOG_S, h.TIMED, log_prior, pseudo)[3],
    )


def _since(then: float | None, at: float) -> float:
    return _SINCE_MAX if then is None or at - then >= SINCE_MAX_S else math.log1p(at - then)


_SINCE_MAX: Final = math.log1p(SINCE_MAX_S)
