"""Retries and timeouts of a task, in our numbers.

| Conductor | here |
|---|---|
| `retryCount` of the task, else of its definition | `maximum_attempts`, one more |
| no task definition: a system task is not retried | one attempt |
| `FIXED`, `retryDelaySeconds` | `initial_interval_s`, coefficient 1 |
| `EXPONENTIAL_BACKOFF` | coefficient 2, up to the longest wait that can come |
| `LINEAR_BACKOFF`, `backoffScaleFactor` | coefficient 2, from its first wait to its longest; noted |
| the shortest of `responseTimeoutSeconds`, `timeoutSeconds`, `readTimeOut` | `start_to_close_timeout_s` |
| `pollTimeoutSeconds`, `totalTimeoutSeconds` | `schedule_to_start_timeout_s`, `schedule_to_close_timeout_s` |
| `timeoutPolicy` `TIME_OUT_WF` of the timeout in force | `on_timeout: COMPENSATE` of an idempotent step |

Our waits are drawn between 0 and these numbers. A worker's task whose definition is not given has Conductor's
own defaults, and that is noted; so is a task without any timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sagacity_data.converters.conductor_definitions import Definitions, Told, text_in, told_in
from sagacity_data.converters.conductor_paths import Work
from sagacity_data.converters.converted import ConvertRefused
from sagacity_engine import RetryPolicy
from sagacity_engine.rules.number_rules import ATTEMPTS_MAX, SECONDS_MAX

RETRIES: Final = 3
DELAY_S: Final = 60.0
RESPONSE_TIMEOUT_S: Final = 3600.0
"""What Conductor takes where a task definition says nothing."""

SYSTEM: Final = frozenset(
    {"HTTP", "EVENT", "KAFKA_PUBLISH", "INLINE", "LAMBDA", "JSON_JQ_TRANSFORM", "SUB_WORKFLOW"}
    | {"START_WORKFLOW", "HUMAN", "WAIT", "FORK_JOIN_DYNAMIC"}
)
"""Types that need no task definition."""


@dataclass(slots=True)
class Numbers:
    """One task's numbers; `notes` say where ours mean something else."""

    retry: RetryPolicy
    start_to_close_timeout_s: float
    schedule_to_start_timeout_s: float | None = None
    schedule_to_close_timeout_s: float | None = None
    gives_up: bool = False  # Whether the timeout in force is not retried.
    notes: list[str] = field(default_factory=list)


def numbers_of(work: Work, definitions: Definitions, name: str) -> Numbers:
    """The numbers of a task that does work. Raises `ConvertRefused` for one that is none or out of range."""
    notes: list[str] = []
    inline = work.told.get("taskDefinition")
    told = inline if isinstance(inline, Mapping) else definitions.tasks.get(work.task)
    if told is None and work.type not in SYSTEM:
        notes.append("its task definition is not given: retries and timeouts are Conductor's defaults")
        told = {"responseTimeoutSeconds": RESPONSE_TIMEOUT_S}
    retry = RetryPolicy(maximum_attempts=1) if told is None else _retry(work, told, name, notes)
    timeout_s, gives_up = _timeout(work, told or {}, name, notes)
    if work.told.get("startDelay"):
        notes.append("its start is not delayed here")
    return Numbers(
        retry=retry,
        start_to_close_timeout_s=timeout_s,
        schedule_to_start_timeout_s=_seconds(work, told or {}, "pollTimeoutSeconds", name),
        schedule_to_close_timeout_s=_seconds(work, told or {}, "totalTimeoutSeconds", name),
        gives_up=gives_up,
        notes=notes,
    )


def _retry(work: Work, told: Told, name: str, notes: list[str]) -> RetryPolicy:
    own = work.told.get("retryCount")
    retries = _number(
        work, {"retryCount": own if own is not None else told.get("retryCount")}, "retryCount", name
    )
    attempts = 1 + int(RETRIES if retries is None else retries)
    if attempts > ATTEMPTS_MAX:
        notes.append(f"it is tried {ATTEMPTS_MAX} times, not {attempts}")
        attempts = ATTEMPTS_MAX
    if attempts == 1:
        return RetryPolicy(maximum_attempts=1)
    delay = _number(work, told, "retryDelaySeconds", name)
    delay_s = min(DELAY_S if delay is None else delay, SECONDS_MAX)
    logic = text_in(told.get("retryLogic")).upper() or "FIXED"
    first_s, longest_s = delay_s, delay_s
    if logic == "LINEAR_BACKOFF":
        scale = _number(work, told, "backoffScaleFactor", name)
        first_s = delay_s * (1 if scale is None else scale)
        longest_s = first_s * (attempts - 1)
        notes.append("its waits double up to the longest, where Conductor's grow evenly")
    elif logic == "EXPONENTIAL_BACKOFF":
        longest_s = delay_s * 2.0 ** min(attempts - 2, 64)
    elif logic != "FIXED":
        notes.append(f"its retryLogic {logic!r} is not known here: waits are fixed")
    limit_s = _seconds(work, told, "maxRetryDelaySeconds", name) or SECONDS_MAX
    return RetryPolicy(
        initial_interval_s=min(first_s, limit_s, SECONDS_MAX),
        backoff_coefficient=2.0 if logic in ("LINEAR_BACKOFF", "EXPONENTIAL_BACKOFF") else 1.0,
        maximum_interval_s=min(longest_s, limit_s, SECONDS_MAX),
        maximum_attempts=attempts,
    )


def _timeout(work: Work, told: Told, name: str, notes: list[str]) -> tuple[float, bool]:
    """The timeout of one attempt, and whether Conductor then gives the workflow up at once."""
    response_s = _seconds(work, told, "responseTimeoutSeconds", name)
    whole_s = _seconds(work, told, "timeoutSeconds", name)
    request = told_in(told_in(work.told.get("inputParameters")).get("http_request"))
    read_ms = _seconds(work, request, "readTimeOut", name) if work.type == "HTTP" else None
    shortest_s = min((each for each in (response_s, read_ms and read_ms / 1000) if each), default=SECONDS_MAX)
    if whole_s is None or whole_s > shortest_s:
        if shortest_s == SECONDS_MAX:
            notes.append(f"it has no timeout in Conductor: here {RESPONSE_TIMEOUT_S:g} s")
            shortest_s = RESPONSE_TIMEOUT_S
        return shortest_s, False
    policy = text_in(told.get("timeoutPolicy")).upper() or "TIME_OUT_WF"
    if policy == "ALERT_ONLY":
        notes.append("its timeout only alerts in Conductor: here it ends the attempt")
    return whole_s, policy == "TIME_OUT_WF"


def _seconds(work: Work, told: Told, key: str, name: str) -> float | None:
    """A number of seconds; None for none, which Conductor writes as 0."""
    value = _number(work, told, key, name)
    return min(value, SECONDS_MAX) if value else None


def _number(work: Work, told: Told, key: str, name: str) -> float | None:
    value = told.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        reason = f"has a {key} that is no number from 0"
        raise ConvertRefused(name, f"task {work.ref!r}", reason, "write a number")
    return float(value)
