"""Every launch feature by name, with its unit and meaning: the list that models, reports and documents share.

All of them are known at the launch. The caller's own context comes on top, one feature `context.<key>` per
key: numbers and truth values as numbers, text as text. Features marked as text are categories.

"Failure" is any end of a *first* forward attempt but success: that is what a forecast predicts, and later
attempts of a refused input would count one refusal several times. "Health failure" is an end of *any* call,
retries and undos included, that speaks against the service (no answer, or a failure declared transient or
cascading): every call probes the service. Attempts cut off by a crash of the engine count as neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sagacity_data.decay import HALF_LIVES_S
from sagacity_data.sickness import MEMORIES_S

CONTEXT_PREFIX: Final = "context."


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a step as of the launch. Categories have `text` set; all others are numbers."""

    name: str
    unit: str
    meaning: str
    text: bool = False


def _windows(prefix: str, unit: str, meaning: str) -> tuple[Feature, ...]:
    return tuple(Feature(f"{prefix}_{w}", unit, f"{meaning}, half-life {w}") for w in HALF_LIVES_S)


def _rates(owner: str, whose: str) -> tuple[Feature, ...]:
    return (
        *_windows(f"{owner}_failure", "probability", f"{whose} failures per first attempt"),
        *_windows(f"{owner}_failure_logit", "nats", f"the same as log-odds for {whose}"),
        *_windows(f"{owner}_health_failure", "probability", f"{whose} health failures per call"),
        *_windows(f"{owner}_health_failure_logit", "nats", f"the same as log-odds for {whose}"),
    )


SAGA_FEATURES: Final = (
    Feature("hour_sin", "", "sine of the UTC time of day"),
    Feature("hour_cos", "", "cosine of the UTC time of day"),
    Feature("weekday", "0-6", "UTC day of the week, Monday is 0"),
    Feature("weekend", "0/1", "whether it is Saturday or Sunday in UTC"),
    Feature("saga_steps", "count", "steps of the saga"),
    Feature("saga_timeouts_s", "s", "sum of the author's timeouts"),
    Feature("saga_estimated_s", "s", "sum over steps of the typical observed duration (7d half-life)"),
    Feature("saga_cross_region", "count", "steps in another region than the first step's"),
    Feature("saga_compensations", "count", "steps that have a compensation"),
    Feature("saga_compensation_cost", "owner's unit", "sum of the compensations' costs, one attempt each"),
    Feature("saga_failure_1d", "probability", "runs of this saga type that did not complete, half-life 1d"),
    Feature("saga_failure_7d", "probability", "runs of this saga type that did not complete, half-life 7d"),
    Feature("runs_in_flight", "count", "runs of any saga launched before and not ended"),
)
"""The same for every step of a run."""

STEP_FACTS: Final = (
    Feature("step_kind", "", "the step's kind", text=True),
    Feature("step_region", "", "the step's region; empty when the document does not say", text=True),
    Feature("step_timeout_s", "s", "the author's start-to-close timeout"),
)
"""What the definition says of the step."""

SERVICE_FEATURES: Final = (
    *_rates("service", "the service's"),
    Feature("service_calls_30m", "ln(1+count)", "calls of the service, half-life 30m: its recent load"),
    Feature("service_calls_7d", "ln(1+count)", "calls of the service, half-life 7d: how much is known of it"),
    Feature("service_since_health_failure", "ln(1+s)", "time since its last health failure, at most 30 days"),
    Feature("service_since_success", "ln(1+s)", "time since its last success, at most 30 days"),
    Feature("service_last_outcome", "", "none, succeeded, refused or health_failure", text=True),
    *(
        Feature(
            f"service_ill_logit_{memory}", "nats", f"log-odds that it is ill now, spells of about {memory}"
        )
        for memory in MEMORIES_S
    ),
    Feature("service_health_streak", "count", "health failures since it last answered, at most 100"),
    Feature("service_log_latency_3h", "ln(s)", "mean log duration of its calls, half-life 3h"),
    Feature("service_log_latency_7d", "ln(s)", "mean log duration of its calls, half-life 7d"),
    Feature("service_in_flight", "count", "its calls under way"),
)
"""The same for every step of a run that uses the service."""

STEP_FEATURES: Final = (
    *_rates("step", "the step's"),
    Feature("step_calls_7d", "ln(1+count)", "first attempts of the step, half-life 7d"),
    Feature("step_log_latency_7d", "ln(s)", "mean log duration of the step's attempts, half-life 7d"),
)
"""History of this step of this saga type."""

FEATURES: Final = (*SAGA_FEATURES, *STEP_FACTS, *SERVICE_FEATURES, *STEP_FEATURES)
FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)
TEXT_FEATURES: Final = frozenset(feature.name for feature in FEATURES if feature.text)
