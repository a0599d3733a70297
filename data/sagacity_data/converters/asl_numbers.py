"""Retries and timeouts of a state, in our numbers.

| Amazon States Language | here |
|---|---|
| `MaxAttempts`, the retries after the first call; 3 if left out | `maximum_attempts`, one more |
| `IntervalSeconds` 1, `BackoffRate` 2 | `initial_interval_s`, `backoff_coefficient` |
| `MaxDelaySeconds`, no limit if left out | `maximum_interval_s`, else the longest wait that can come |
| no `Retry` | one attempt |
| a retrier with `MaxAttempts: 0` | its error names are not retried |
| `TimeoutSeconds`; 99999999 if left out | `start_to_close_timeout_s`; 900 for a Lambda function |
| `HeartbeatSeconds` | `heartbeat_timeout_s` |

A state may have several retriers, each with a count of its own; a step has one policy, for every error. The
numbers are those of the retrier that catches most, and what that changes is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sagacity_data.converters.asl_services import called
from sagacity_data.converters.asl_states import State, error_names
from sagacity_data.converters.converted import ConvertRefused
from sagacity_engine import RetryPolicy
from sagacity_engine.rules.number_rules import ATTEMPTS_MAX, SECONDS_MAX

NO_TIMEOUT_S: Final = 99_999_999.0
LAMBDA_TIMEOUT_S: Final = 900.0
"""A Lambda function is stopped after this, whatever its caller would wait."""

WIDE: Final = ("States.ALL", "States.TaskFailed")
"""Error names that stand for (nearly) every error, the widest first."""
_LIMITS: Final[Mapping[str, tuple[float, float, float]]] = {  # What holds when left out, lowest, highest.
    "MaxAttempts": (3, 0, 99_999_999),
    "IntervalSeconds": (1, 0, SECONDS_MAX),
    "BackoffRate": (2, 1, 1_000),
    "MaxDelaySeconds": (SECONDS_MAX, 0, SECONDS_MAX),
    "TimeoutSeconds": (NO_TIMEOUT_S, 0.001, SECONDS_MAX),
    "HeartbeatSeconds": (NO_TIMEOUT_S, 0.001, SECONDS_MAX),
}


@dataclass(slots=True)
class Numbers:
    """One state's numbers; `notes` say of it where ours mean something else."""

    retry: RetryPolicy
    start_to_close_timeout_s: float
    heartbeat_timeout_s: float | None
    notes: list[str] = field(default_factory=list)


def numbers_of(state: State, name: str) -> Numbers:
    """The numbers of a Task or Map. Raises `ConvertRefused` for a number that is none or out of range."""
    notes: list[str] = []
    retry = _retry(state, name, notes)
    timeout_s = _timeout_s(state, name, notes)
    heartbeat_s = _seconds(state, "HeartbeatSeconds", name, notes)
    if heartbeat_s is not None and heartbeat_s >= timeout_s:
        notes.append("its heartbeat is not shorter than its timeout, and left out")
        heartbeat_s = None
    return Numbers(retry, timeout_s, heartbeat_s, notes)


def _retry(state: State, name: str, notes: list[str]) -> RetryPolicy:
    retriers = state.told.get("Retry", [])
    if not isinstance(retriers, list) or not all(isinstance(each, Mapping) for each in retriers):
        raise _refused(state, name, "has a Retry that is no list of retriers", "write it as a list")
    hopeless: list[str] = []
    live: list[Mapping[str, Any]] = []
    for each in retriers:
        if _number(each, "MaxAttempts", (state, name)) == 0:
            hopeless += [error for error in error_names(each) if error not in WIDE]
        else:
            live.append(each)
    never = tuple(dict.fromkeys(hopeless))
    if not live:
        return RetryPolicy(maximum_attempts=1, non_retryable_error_types=never)
    chosen = min(live, key=_rank)
    _note_others(live, chosen, notes)
    return _policy(state, name, chosen, never, notes)


def _rank(retrier: Mapping[str, Any]) -> int:
    """0 for a retrier of every error; what was written first wins among equals."""
    names = error_names(retrier)
    return next((rank for rank, wide in enumerate(WIDE) if wide in names), len(WIDE))


def _note_others(live: list[Mapping[str, Any]], chosen: Mapping[str, Any], notes: list[str]) -> None:
    if len(live) > 1:
        errors = ", ".join(error_names(chosen)) or "no error"
        notes.append(f"it has {len(live)} retriers: the numbers are those for {errors}")
    if _rank(chosen) == len(WIDE):
        errors = ", ".join(error_names(chosen)) or "no error"
        notes.append(
            f"Step Functions retries it for {errors} alone, here every error is: name the hopeless ones in "
            "retry.non_retryable_error_types"
        )


def _policy(
    state: State, name: str, told: Mapping[str, Any], never: tuple[str, ...], notes: list[str]
) -> RetryPolicy:
    retries = int(_number(told, "MaxAttempts", (state, name)))
    interval_s = _number(told, "IntervalSeconds", (state, name))
    coefficient = _number(told, "BackoffRate", (state, name))
    longest_s = interval_s * coefficient ** min(retries - 1, 64)
    if retries >= ATTEMPTS_MAX:
        notes.append(f"it has {retries} retries: here it has {ATTEMPTS_MAX} attempts, the most")
    limit_s = _number(told, "MaxDelaySeconds", (state, name))
    return RetryPolicy(
        initial_interval_s=interval_s,
        backoff_coefficient=coefficient,
        maximum_interval_s=min(longest_s, limit_s),
        maximum_attempts=min(retries + 1, ATTEMPTS_MAX),
        non_retryable_error_types=never,
    )


def _timeout_s(state: State, name: str, notes: list[str]) -> float:
    told = _seconds(state, "TimeoutSeconds", name, notes)
    if told is not None:
        return told
    service, action = called(str(state.told.get("Resource", "")))
    if service == "lambda" and not action.endswith("waitForTaskToken"):
        return LAMBDA_TIMEOUT_S
    notes.append("it has no TimeoutSeconds, so it never times out: give it a start_to_close_timeout_s")
    return NO_TIMEOUT_S


def _seconds(state: State, key: str, name: str, notes: list[str]) -> float | None:
    computed = f"{key}Path" in state.told or str(state.told.get(key)).startswith("{%")
    if computed:
        notes.append(f"its {key} is computed by each execution: give it a number")
        return None
    if state.told.get(key) is None:
        return None
    return _number(state.told, key, (state, name))


def seconds_in(told: Mapping[str, Any], key: str, name: str) -> float | None:
    """The machine's own number of seconds, or None. Raises `ConvertRefused` for one out of range."""
    value = told.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= SECONDS_MAX:
        reason, way_out = f"has {key} {str(value)[:40]!r}", f"make it a number up to {SECONDS_MAX:g}"
        raise ConvertRefused(name, "", reason, way_out)
    return float(value)


def _number(told: Mapping[str, Any], key: str, place: tuple[State, str]) -> float:
    default, low, high = _LIMITS[key]
    value = told.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        reason = f"has {key} {str(value)[:40]!r}"
        raise _refused(*place, reason, f"make it a number from {low:g} to {high:g}")
    return float(value)


def _refused(state: State, name: str, reason: str, way_out: str) -> ConvertRefused:
    return ConvertRefused(name, f"state {state.name[:80]!r}", reason, way_out)
