"""Golden forecasts of live risk: cases made up from its vocabulary alone, and what is said of them.

Each case begins, then meets every kind of step that has a column, or an even choice of them, with numbers
low, high and negative and every attribute at some level, known and unknown. Nothing of anybody's run is in
it, and equal live risk makes equal cases, so they need not be kept beside their forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from sagacity_data.event_log import AttributeValue, CaseEvent
from sagacity_models.live_risk import LiveCase, LiveForecast, LiveRisk
from sagacity_models.live_risk_events import DONE, LAUNCH, UNDOS

STEPS_MAX: Final = 12
_SAGAS_MAX: Final = 4
_BEGIN_US: Final = 1_760_000_000_000_000
_SECOND_US: Final = 1_000_000
_DEADLINE_S: Final = 60.0
_SINCE_S: Final = 7.0
_NUMBERS: Final = (0.0, 1.0, 250.0, -3.0)
_UNSEEN: Final = "a level that nobody has seen"


def live_forecasts(risk: LiveRisk) -> dict[str, list[float]]:
    """By name, what is said of the made-up cases after each of their events."""
    told = list(_told(risk))
    found = {"live_risk": [each.success for each in told]}
    if risk.remaining is not None:
        found["live_risk.remaining_s"] = [
            each.remaining_s(p) or 0.0 for each in told if each.remaining is not None for p in (0.5, 0.9)
        ]
    if risk.remaining_good is not None:
        found["live_risk.within_deadline"] = [each.within_deadline or 0.0 for each in told]
    return found


def _told(risk: LiveRisk) -> Iterator[LiveForecast]:
    sagas = sorted(risk.rates.sagas) if risk.rates is not None else []
    for saga in [*sagas[:: _stride(len(sagas), _SAGAS_MAX)], _UNSEEN]:
        case = risk.start({})
        yield _after(case, CaseEvent(f"{saga}/{LAUNCH}", _BEGIN_US, LAUNCH, None, _known(saga, 0)))
        steps = risk.outcome.vocabulary.steps
        for number, step in enumerate(steps[:: _stride(len(steps), STEPS_MAX)], start=1):
            yield _after(case, _event(risk, saga, step, number))


def _event(risk: LiveRisk, saga: str, step: str, number: int) -> CaseEvent:
    vocabulary = risk.outcome.vocabulary
    activity, _, lifecycle = step.rpartition("|")
    resources = [*vocabulary.resources, _UNSEEN]
    attributes: dict[str, AttributeValue] = {
        key: _NUMBERS[(number + place) % len(_NUMBERS)] for place, key in enumerate(vocabulary.numbers)
    }
    for place, (key, levels) in enumerate(vocabulary.levels):
        attributes[key] = (*levels, _UNSEEN)[(number + place) % (len(levels) + 1)]
    at_us = _BEGIN_US + number * number * _SECOND_US
    resource = resources[number % len(resources)]
    return CaseEvent(activity, at_us, lifecycle, resource, attributes | _known(saga, number))


def _known(saga: str, number: int) -> dict[str, AttributeValue]:
    return {"saga": saga, DONE: number // 2, UNDOS: 0}


def _after(case: LiveCase, event: CaseEvent) -> LiveForecast:
    case.add(event)
    return case.forecast(event.at_us / _SECOND_US + _SINCE_S, _DEADLINE_S)


def _stride(count: int, most: int) -> int:
    return max(1, math.ceil(count / most))
