"""Every feature by name, with its unit, its meaning and since when it is known: the list that all share.

`FEATURES` are known at the launch: a model that chooses plans may read them and nothing else. The caller's
own context comes on top, one feature `context.<key>` per key: numbers and truth values as numbers, text as
text. `ATTEMPT_FEATURES` are known only when an attempt starts: they serve live risk and decisions about
failures. Features marked as text are categories.

"Failure" is any end of a *first* forward attempt but success: that is what a forecast predicts, and later
attempts of a refused input would count one refusal several times. "Health failure" is an end of *any* call,
retries and undos included, that speaks against the service (no answer, or a failure declared transient or
cascading): every call probes the service. An attempt that a breaker or a full queue turned away was no call.
Attempts cut off by a crash of the engine, cancelled or still open count as neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sagacity_data.decay import HALF_LIVES_S
from sagacity_data.rows import Known
from sagacity_data.sickness import MEMORIES_S

CONTEXT_PREFIX: Final = "context."


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a step, and since when it is known. Categories have `text` set; others are numbers."""

    name: str
    unit: str
    meaning: str
    text: bool = False
    known: Known = Known.LAUNCH


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
    Feature("service_last_outcome", "", "none, succeeded, failed or health_failure", text=True),
    *(
        Feature(
            f"service_ill_logit_{memory}", "nats", f"log-odds that it is ill now, spells of about {memory}"
        )
        for memory in MEMORIES_S
    ),
    Feature("service_health_streak", "count", "health failures since it last answered, at most 100"),
    Feature("service_breaker", "", "none; open from a call turned away to an answer; then closed", text=True),
    Feature("service_since_breaker_open", "ln(1+s)", "time since it turned a call away, at most 30 days"),
    *_windows("service_log_latency", "ln(s)", "mean log duration of its calls"),
    Feature("service_in_flight", "count", "its calls under way"),
)
"""The same for every step of a run that uses the service."""

STEP_FEATURES: Final = (
    *_rates("step", "the step's"),
    Feature("step_calls_7d", "ln(1+count)", "first attempts of the step, half-life 7d"),
    Feature("step_log_latency_7d", "ln(s)", "mean log duration of the step's attempts, half-life 7d"),
)
"""History of this step of this saga type."""


def _at_attempt(name: str, unit: str, meaning: str, text: bool = False) -> Feature:
    return Feature(name, unit, meaning, text, Known.ATTEMPT)


ATTEMPT_FEATURES: Final = (
    _at_attempt("attempt_direction", "", "forward or undo", text=True),
    _at_attempt("attempt_number", "count", "number of the attempt, from 1 in each direction"),
    _at_attempt("attempt_left", "count", "attempts that the plan allows after this one"),
    _at_attempt("attempt_timeout_s", "s", "start-to-close timeout in force"),
    _at_attempt("attempt_position", "count", "rank of the step in start order, from 0"),
    _at_attempt("attempt_rank", "count", "attempts that the run had started before"),
    _at_attempt("attempt_stage", "count", "the step's stage in the plan in force, from 0"),
    _at_attempt("attempt_steps_done", "count", "steps of the run that had succeeded"),
    _at_attempt("attempt_since_launch", "ln(1+s)", "time since the launch, at most 30 days"),
    _at_attempt("attempt_late", "ln(1+s)", "how long after it was due it started, at most 30 days"),
    _at_attempt("attempt_in_flight", "count", "other calls of the service under way"),
    _at_attempt("attempt_breaker", "", "closed, open or half_open; empty when not known", text=True),
    _at_attempt("attempt_input", "ln(1+bytes)", "size of the run's input"),
    _at_attempt("attempt_last_outcome", "", "how the step's attempt before ended, else none", text=True),
    _at_attempt("attempt_last_class", "", "the declared class of its failure, else none", text=True),
    _at_attempt("attempt_since_last", "ln(1+s)", "time since that end, at most 30 days"),
)
"""Known when the attempt starts. What a history does not tell is left out, never guessed."""

FEATURES: Final = (*SAGA_FEATURES, *STEP_FACTS, *SERVICE_FEATURES, *STEP_FEATURES)
FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)
TEXT_FEATURES: Final = frozenset(feature.name for feature in FEATURES if feature.text)
"""Names of the launch features that are categories."""

KNOWN_AT: Final = {feature.name: feature.known for feature in (*FEATURES, *ATTEMPT_FEATURES)}
"""Since when each feature is known."""
