"""One call that a Task state of AWS Step Functions makes: what its events say of it, in our words.

A task goes to an integration (`TaskScheduled`), to a Lambda function named by its ARN
(`LambdaFunctionScheduled`, the older way) or to an activity that somebody polls (`ActivityScheduled`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.converters.asl_services import masked, name_in_arn, region_in_arn, service_of
from sagacity_data.importers.foreign_runs import ForeignAttempt
from sagacity_data.importers.step_functions_events import HistoryEvent
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction

NO_TIMEOUT_S: Final = 99_999_999
"""What the service writes where an author gave a task no timeout."""

MESSAGE_MAX: Final = 2_000
_CAUSE_MAX: Final = 65_536
_BACKWARDS: Final = "times that run backwards"


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One attempt while it is being read. `fits` is what events that name no call must have in common."""

    fits: tuple[str, str]
    step: str = ""
    direction: Direction = Direction.FORWARD
    service: str = ""
    region: str = ""
    timeout_s: float | None = None
    input_bytes: int | None = None
    scheduled_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    outcome: AttemptOutcome = AttemptOutcome.OPEN
    error: str = ""
    message: str = ""
    state: str = ""  # The state that called; `step` where it undoes nothing.
    is_map: bool = False  # It is no call at all, but a Map that has all of its items done.

    def end(self, outcome: AttemptOutcome, at: float | None, notes: Counter[str]) -> None:
        """It ended; of times that run backwards the later one is left out, and noted."""
        self.outcome, self.ended_at = outcome, at
        if _before(self.started_at, self.scheduled_at):
            self.scheduled_at = None
            notes[_BACKWARDS] += 1
        if _before(self.ended_at, self.started_at) or _before(self.ended_at, self.scheduled_at):
            self.ended_at = None
            notes[_BACKWARDS] += 1

    def attempt(self) -> ForeignAttempt:
        """The attempt, not yet numbered. One that never ended may still have begun before it was due."""
        early = _before(self.started_at, self.scheduled_at)
        return ForeignAttempt(
            step=self.step,
            outcome=self.outcome,
            direction=self.direction,
            scheduled_at=None if early else self.scheduled_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            error_type=self.error,
            message=self.message,
            service=self.service,
            region=self.region,
            timeout_s=self.timeout_s,
            input_bytes=self.input_bytes,
        )


def call_of(event: HistoryEvent) -> Call:
    """The call that an event schedules."""
    resource = event.words("resource")
    timeout_s = _seconds(event.details.get("timeoutinseconds"))
    if event.type.startswith("Task"):
        parameters = _parsed(event.details.get("parameters"))
        kind, region = event.words("resourcetype"), event.words("region")
        return Call(
            fits=("Task", f"{kind}:{resource}"),
            service=service_of(kind, parameters) if kind else "",
            region="" if masked(region) else region,
            timeout_s=timeout_s,
            input_bytes=bytes_of(event, "parameters"),
            scheduled_at=event.at,
        )
    return Call(
        fits=("LambdaFunction" if event.type.startswith("Lambda") else "Activity", ""),
        service=name_in_arn(resource),
        region=region_in_arn(resource),
        timeout_s=timeout_s,
        input_bytes=bytes_of(event, "input"),
        scheduled_at=event.at,
    )


def failed_words(event: HistoryEvent) -> tuple[str, str]:
    """The error's type and its words; a cause that is an object in JSON says them in one of its fields."""
    error, cause = event.words("error"), event.details.get("cause")
    parsed = _parsed(cause)
    message = cause if isinstance(cause, str) else ""
    if parsed:
        message = _message_in(parsed)
    return error, message[:MESSAGE_MAX]


def bytes_of(event: HistoryEvent, key: str) -> int | None:
    """The size of a payload as JSON text, or None if the event holds none, or only part of it."""
    said = event.details.get(f"{key}details")
    if key not in event.details or (isinstance(said, dict) and said.get("truncated") is True):
        return None
    payload = event.details[key]
    text = payload if isinstance(payload, str) else _text(payload)
    return len(text.encode("utf-8", "replace"))


def _message_in(cause: Mapping[str, Any]) -> str:
    for key in ("errorMessage", "Cause", "ErrorMessage", "message", "StoppedReason"):
        if isinstance(value := cause.get(key), str) and value:
            return value
    kind = cause.get("Error") or cause.get("errorType")
    return kind if isinstance(kind, str) else _text(cause)


def _text(value: object) -> str:
    """The value as JSON; empty for one nested too deeply to be written."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError:
        return ""


def _parsed(value: object) -> dict[str, Any]:
    """An object as it stands, or as JSON text; empty for anything else."""
    if isinstance(value, str) and value.lstrip()[:1] == "{" and len(value) <= _CAUSE_MAX:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < NO_TIMEOUT_S:
        return None
    return float(value)


def _before(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other
