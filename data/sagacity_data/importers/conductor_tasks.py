"""A task of a Conductor execution as an attempt of a step: which tasks are attempts, and what each one says.

Conductor writes down a task for whatever it does. Those that only hold the workflow together are no attempts
(`STRUCTURE`): forks and joins, decisions, loops, variables, ends, and waiting for a time or a signal. All
others are, those of types nobody here has heard of too, for a task type is the name of a worker.

* **step**: the task's reference name; in a loop without its `__2`, so that every iteration is the same step,
  whose attempts are counted on. Tasks forked while the workflow ran have reference names of their own.
* **outcome**: a task that failed although it was optional is `COMPLETED_WITH_ERRORS`; it failed. One that was
  skipped, or cancelled before anybody took it up, was never attempted.
* **service**: where an HTTP task calls, what an EVENT or KAFKA_PUBLISH task tells, the workflow that a
  SUB_WORKFLOW or START_WORKFLOW task starts, `conductor` for what Conductor computes itself, else the task's
  definition, whose workers all its tasks share (within a domain, if they have one).
* **timeout**: the shortest of response timeout, timeout and the HTTP client's read timeout; 0 is none.
* **times**: `startTime` is when a worker took the task up. A `scheduledTime` after it was written later, when
  the task was looked at again (sub-workflows show it), and says nothing: it is left out, and noted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sagacity_data.importers.conductor_values import (
    Object,
    bytes_in,
    instant_in,
    object_in,
    seconds_in,
    text_in,
    whole_in,
)
from sagacity_data.importers.foreign_runs import ForeignAttempt
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptOutcome

STRUCTURE: Final = frozenset(
    {
        "FORK",
        "FORK_JOIN",
        "FORK_JOIN_DYNAMIC",
        "JOIN",
        "EXCLUSIVE_JOIN",
        "DECISION",
        "SWITCH",
        "DO_WHILE",
        "SET_VARIABLE",
        "TERMINATE",
        "NOOP",
        "WAIT",
    }
)
"""Task types that do no work."""

COMPUTED: Final = frozenset({"INLINE", "LAMBDA", "JSON_JQ_TRANSFORM"})
"""Task types that Conductor works out itself."""

_OUTCOMES: Final = {
    "COMPLETED": AttemptOutcome.SUCCEEDED,
    "COMPLETED_WITH_ERRORS": AttemptOutcome.FAILED,
    "FAILED": AttemptOutcome.FAILED,
    "FAILED_WITH_TERMINAL_ERROR": AttemptOutcome.FAILED,
    "TIMED_OUT": AttemptOutcome.TIMED_OUT,
    "CANCELED": AttemptOutcome.CANCELLED,
    "CANCELLED": AttemptOutcome.CANCELLED,
    "IN_PROGRESS": AttemptOutcome.OPEN,
    "SCHEDULED": AttemptOutcome.OPEN,
}
_READING: Final = ("GET", "HEAD", "OPTIONS")
_ITERATION: Final = re.compile(r"(?:__\d+)+$")


@dataclass(frozen=True, slots=True)
class TriedTask:
    """One task that was attempted; what it undoes, if anything, is not decided yet."""

    task: str  # The name of its definition.
    attempt: ForeignAttempt
    may_have_effect: bool  # Neither worked out by Conductor nor asked of somebody, nor only read.


def tried_task(task: Object, hints: Hints, tally: Tally) -> TriedTask | None:
    """What a task of an execution tells; None for one that was no attempt."""
    kind = _kind(task)
    status = text_in(task.get("status"), task.get("taskStatus")).upper()
    if kind in STRUCTURE or status == "SKIPPED":
        return None
    outcome = _OUTCOMES.get(status)
    if outcome is None:
        tally.skipped[f"task status {status[:40] or '(none)'}"] += 1
        return None
    scheduled, started, ended = _times(task, tally)
    if outcome is AttemptOutcome.CANCELLED and task.get("startTime") in (None, 0, "0"):
        tally.notes["tasks cancelled before anybody took them up are no attempts"] += 1
        return None
    step, name = (
        _step(task),
        text_in(task.get("taskDefName"), object_in(task.get("workflowTask")).get("name")),
    )
    attempt = ForeignAttempt(
        step=step,
        outcome=outcome,
        scheduled_at=scheduled,
        started_at=started,
        ended_at=None if outcome is AttemptOutcome.OPEN else ended,
        error_type=_error_type(task, status) if outcome is AttemptOutcome.FAILED else "",
        message="" if outcome is AttemptOutcome.SUCCEEDED else text_in(task.get("reasonForIncompletion")),
        service=hints.services.get(step) or hints.services.get(name) or _service(kind, task) or name or step,
        timeout_s=_timeout_s(task),
        maximum_attempts=_maximum_attempts(task),
        input_bytes=_input_bytes(task),
    )
    return TriedTask(name or step, attempt, _may_have_effect(kind, task))


def _kind(task: Object) -> str:
    """The type; a worker's own name where the task is simple."""
    written = object_in(task.get("workflowTask"))
    return text_in(task.get("taskType"), written.get("type"), task.get("taskDefName"))


def _step(task: Object) -> str:
    written = object_in(task.get("workflowTask"))
    name = text_in(
        task.get("referenceTaskName"),
        written.get("taskReferenceName"),
        task.get("taskDefName"),
        task.get("taskType"),
    )
    if whole_in(task.get("iteration")):
        name = _ITERATION.sub("", name) or name
    return name or "(unnamed)"


def _times(task: Object, tally: Tally) -> tuple[float | None, float | None, float | None]:
    """When the task was scheduled, taken up and done with, as far as the three agree."""
    scheduled, started, ended = (
        instant_in(task.get(key), tally) for key in ("scheduledTime", "startTime", "endTime")
    )
    if scheduled is not None and started is not None and scheduled > started:
        tally.notes["tasks scheduled after they started: the scheduled time is left out"] += 1
        scheduled = None
    if ended is not None and ended < max(started or 0.0, scheduled or 0.0):
        tally.notes["tasks that ended before they started: the end is left out"] += 1
        ended = None
    return scheduled, started, ended


def _error_type(task: Object, status: str) -> str:
    code = whole_in(object_in(object_in(task.get("outputData")).get("response")).get("statusCode"))
    if code is not None and 300 <= code <= 599:
        return f"Http{code}"
    return status if status == "FAILED_WITH_TERMINAL_ERROR" else ""


def _service(kind: str, task: Object) -> str:
    given, written = object_in(task.get("inputData")), object_in(task.get("workflowTask"))
    if kind in COMPUTED:
        return "conductor"
    if kind == "HTTP":
        return called_host(given)
    if kind in ("SUB_WORKFLOW", "START_WORKFLOW"):
        started = object_in(given.get("startWorkflow"))
        named = object_in(written.get("subWorkflowParam")).get("name")
        return text_in(given.get("subWorkflowName"), started.get("name"), named)
    if kind == "EVENT":
        return text_in(written.get("sink"), given.get("sink"))
    if kind == "KAFKA_PUBLISH":
        return text_in(object_in(given.get("kafka_request")).get("bootStrapServers")) or "kafka"
    domain, name = text_in(task.get("domain")), text_in(task.get("taskDefName"))
    return f"{domain}:{name}" if domain and name else name


def called_host(given: Object) -> str:
    """Host and port that an HTTP task calls; empty where they are not written out."""
    request = _request(given)
    vip = text_in(request.get("vipAddress"), request.get("appName"))
    try:
        host = urlsplit(text_in(request.get("uri"), request.get("url"))[:2048]).netloc.rpartition("@")[2]
    except ValueError:
        return vip
    return vip if "${" in host or not host else host.lower()


def _request(given: Object) -> Object:
    """How an HTTP task calls, which newer tasks write without a heading of its own."""
    request = given.get("http_request")
    return request if isinstance(request, dict) else given


def _timeout_s(task: Object) -> float | None:
    definition = _definition(task)
    told = [seconds_in(task.get("responseTimeoutSeconds")), seconds_in(definition.get("timeoutSeconds"))]
    if "responseTimeoutSeconds" not in task:
        told.append(seconds_in(definition.get("responseTimeoutSeconds")))
    if _kind(task) == "HTTP":
        read_ms = seconds_in(_request(object_in(task.get("inputData"))).get("readTimeOut"))
        told.append(None if read_ms is None else read_ms / 1000)
    return min((each for each in told if each is not None), default=None)


def _maximum_attempts(task: Object) -> int | None:
    written = object_in(task.get("workflowTask"))
    for retries in (whole_in(written.get("retryCount")), whole_in(_definition(task).get("retryCount"))):
        if retries is not None and retries >= 0:
            return retries + 1
    return None


def _definition(task: Object) -> Object:
    """The task definition as it was when the workflow started, where the execution carries it."""
    return object_in(object_in(task.get("workflowTask")).get("taskDefinition"))


def _input_bytes(task: Object) -> int | None:
    return None if task.get("externalInputPayloadStoragePath") else bytes_in(task.get("inputData"))


def _may_have_effect(kind: str, task: Object) -> bool:
    if kind == "HTTP":
        method = text_in(_request(object_in(task.get("inputData"))).get("method")).upper()
        return method not in _READING
    return kind not in COMPUTED and kind != "HUMAN"
