"""The words for what moves a forecast: what is so now, and what is usual.

A subject is a group of features that a person would name as one; its words read the features of that group
that say it best. Windows have half-lives, so "of late" is a rate with a half-life of half an hour, and
"usually" one of a week.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeGuard

from sagacity_models.feature_columns import Features, FeatureValue

Usual = Mapping[str, float]
"""The mean of each number while learning."""

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SUBJECTS: Final = tuple(
    (re.compile(pattern), subject)
    for pattern, subject in (
        (r"context\..*", ""),
        (r"hour_(sin|cos)", "hour"),
        (r"weekday|weekend", "weekday"),
        (r"service_calls_30m|service_in_flight|runs_in_flight", "load"),
        (r"service_calls_7d|step_calls_7d", "experience"),
        (r"service_log_latency_.*|step_log_latency_.*|saga_estimated_s", "pace"),
        (r"service_.*", "service failures"),
        (r"step_(failure|health).*", "step failures"),
        (r"saga_failure_.*", "saga failures"),
        (r"step|step_.*|saga_.*", "definition"),
    )
)


def subject_of(feature: str) -> str:
    """What a feature is about; a feature that is none of ours, and each of the caller's, is its own subject.

    >>> subject_of("service_health_failure_3h"), subject_of("context.party")
    ('service failures', 'context.party')
    """
    for pattern, subject in _SUBJECTS:
        if pattern.fullmatch(feature):
            return subject or feature
    return feature


def words(subject: str, features: Features, usual: Usual, service: str) -> str:
    """What is so of the subject now; `service` is the name of the step's service."""
    told = _WORDS.get(subject, _value)(subject, features, usual, service)
    return told or f"the {subject} of this launch"


def _value(subject: str, features: Features, usual: Usual, service: str) -> str:
    del service
    value = features.get(subject)
    if value is None:
        return f"{subject} is missing"
    if subject in usual and _is_number(value):
        return f"{subject} is {value:.3g}, usually {usual[subject]:.3g}"
    return f"{subject} is {str(value)[:40]}"


def _hour(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual, service
    sine, cosine = features.get("hour_sin"), features.get("hour_cos")
    if not (_is_number(sine) and _is_number(cosine)):
        return ""
    minutes = round(math.atan2(sine, cosine) / (2 * math.pi) * 1440) % 1440
    return f"it is {minutes // 60:02d}:{minutes % 60:02d} UTC"


def _weekday(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual, service
    day = features.get("weekday")
    return f"it is {_WEEKDAYS[int(day) % 7]}" if _is_number(day) else ""


def _service_failures(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual
    return _rates(features, "service_health_failure", f"{service or 'the service'} failed", "of calls")


def _step_failures(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual, service
    return _rates(features, "step_failure", "this step failed", "of first attempts")


def _saga_failures(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual, service
    return _rates(features, "saga_failure", "this saga did not complete", "of runs", late="1d")


def _load(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject
    calls = features.get("service_in_flight")
    if not _is_number(calls):
        return ""
    told = f"{calls:.0f} calls of {service or 'the service'} are under way"
    return f"{told}, usually {usual['service_in_flight']:.1f}" if "service_in_flight" in usual else told


def _pace(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual
    now, week = features.get("service_log_latency_30m"), features.get("service_log_latency_7d")
    if not (_is_number(now) and _is_number(week)):
        return ""
    slow, often = math.exp(min(now, 50.0)), math.exp(min(week, 50.0))
    return f"calls of {service or 'the service'} took {slow:.2g} s of late, usually {often:.2g} s"


def _experience(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, usual
    calls = features.get("service_calls_7d")
    if not _is_number(calls):
        return ""
    return f"{math.expm1(min(calls, 50.0)):.0f} calls of {service or 'the service'} are remembered"


def _definition(subject: str, features: Features, usual: Usual, service: str) -> str:
    del subject, features, usual, service
    return "what kind of step this is"


def _rates(features: Features, prefix: str, whose: str, of: str, *, late: str = "30m") -> str:
    now, week = features.get(f"{prefix}_{late}"), features.get(f"{prefix}_7d")
    if not (_is_number(now) and _is_number(week)):
        return ""
    return f"{whose} {_percent(now)} {of} of late (half-life {late}), usually {_percent(week)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _is_number(value: FeatureValue) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


_WORDS: Final[Mapping[str, Callable[[str, Features, Usual, str], str]]] = {
    "hour": _hour,
    "weekday": _weekday,
    "load": _load,
    "experience": _experience,
    "pace": _pace,
    "service failures": _service_failures,
    "step failures": _step_failures,
    "saga failures": _saga_failures,
    "definition": _definition,
}
