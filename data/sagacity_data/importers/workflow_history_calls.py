"""The calls that a workflow history tells of: activities, local activities and child workflows.

A call is one scheduling of work and what became of it. Its start names the attempt that was running last,
and the failure of the attempt before: all that a server tells of the attempts it made by itself. An end whose
scheduling is not in the history says nothing about what was done, so it is noted and left out; of two ends
the first counts. A call that ends without having started was never taken up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sagacity_data.event_log import UNNAMED_ACTIVITY
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.workflow_history import EventTypes, History, HistoryEvent
from sagacity_data.importers.workflow_history_faults import Fault
from sagacity_data.importers.workflow_history_values import (
    Attributes,
    attributes_in,
    fingerprint,
    member,
    name_in,
    seconds_in,
    text_in,
    whole_in,
)
from sagacity_data.rows import AttemptOutcome


class CallKind(Enum):
    """What was called."""

    ACTIVITY = auto()
    LOCAL_ACTIVITY = auto()  # It ran inside the workflow's worker: one marker tells of it when it had ended.
    CHILD = auto()


@dataclass(slots=True)
class Call:
    """One scheduling of work."""

    kind: CallKind
    name: str
    key: str  # What it was called with, as a fingerprint.
    call_id: str  # The activity's id, or the child's workflow id.
    queue: str
    place: int  # Among the history's events.
    order: float  # When it was scheduled, or the latest time told up to then.
    scheduled_at: float | None
    started_order: float | None = None  # None: not started.
    started_at: float | None = None
    ended_at: float | None = None
    outcome: AttemptOutcome = AttemptOutcome.OPEN
    fault: Fault | None = None
    told: int | None = None  # The last attempt's number in this call, from 1.
    earlier: Fault | None = None  # Of the attempt before the last.
    backs_off: bool = False  # A local activity that the worker will call again after a timer.
    timeout_s: float | None = None
    maximum_attempts: int | None = None
    input_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LocalActivity:
    """What a marker tells of a local activity."""

    name: str
    activity_id: str
    attempt: int | None  # From 1.
    scheduled_at: float | None
    ended_at: float | None
    fault: Fault | None
    backs_off: bool


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the servers' histories."""

    name: str
    types: EventTypes
    first_attempt: int  # How the server numbers the first attempt.
    resets: frozenset[str]  # The events that tell of a reset.
    fault_of: Callable[[Attributes], Fault | None]
    timeout_of: Callable[[Attributes], Fault]
    earlier_fault_of: Callable[[Attributes], Fault | None]
    local_activity_of: Callable[[Attributes, Tally], LocalActivity | None]
    input_bytes: Callable[[object], int | None]


ATTEMPTS_MAX: Final = 1_000_000
"""Attempts of one call beyond this are not counted."""

Closing = Callable[[Dialect, Attributes], Fault | None]

_SCHEDULED: Final = {
    "ActivityTaskScheduled": CallKind.ACTIVITY,
    "StartChildWorkflowExecutionInitiated": CallKind.CHILD,
}
_STARTED: Final = {
    "ActivityTaskStarted": CallKind.ACTIVITY,
    "ChildWorkflowExecutionStarted": CallKind.CHILD,
}
_CAUSE: Final = "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_"
_LINKS: Final = {CallKind.ACTIVITY: "scheduledEventId", CallKind.CHILD: "initiatedEventId"}


def _failed(dialect: Dialect, attributes: Attributes) -> Fault | None:
    return dialect.fault_of(attributes) or Fault("")


def _not_started(_: Dialect, attributes: Attributes) -> Fault | None:
    cause = text_in(attributes.get("cause")).strip().removeprefix(_CAUSE)
    if "_" in cause:
        cause = cause.title().replace("_", "")
    return Fault(cause or "StartChildWorkflowExecutionFailed", "the child workflow was not started")


_ENDS: Final[dict[str, tuple[CallKind, Closing]]] = {
    "ActivityTaskCompleted": (CallKind.ACTIVITY, lambda *_: None),
    "ActivityTaskFailed": (CallKind.ACTIVITY, _failed),
    "ActivityTaskTimedOut": (CallKind.ACTIVITY, lambda dialect, told: dialect.timeout_of(told)),
    "ActivityTaskCanceled": (CallKind.ACTIVITY, lambda *_: Fault("Canceled", cancelled=True)),
    "ChildWorkflowExecutionCompleted": (CallKind.CHILD, lambda *_: None),
    "ChildWorkflowExecutionFailed": (CallKind.CHILD, _failed),
    "ChildWorkflowExecutionTimedOut": (CallKind.CHILD, lambda dialect, told: dialect.timeout_of(told)),
    "ChildWorkflowExecutionCanceled": (CallKind.CHILD, lambda *_: Fault("Canceled", cancelled=True)),
    "ChildWorkflowExecutionTerminated": (CallKind.CHILD, lambda *_: Fault("Terminated", cancelled=True)),
    "StartChildWorkflowExecutionFailed": (CallKind.CHILD, _not_started),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """A call that is scheduled, or that ended, at this point of the history."""

    call: Call
    ended: bool


def calls_in(history: History, dialect: Dialect, tally: Tally) -> Iterator[Moment]:
    """The schedulings and ends of calls in the order of the history's events."""
    scheduled: dict[tuple[CallKind, int], Call] = {}
    made: dict[int, Call] = {}
    for place, event in enumerate(history.events):
        if event.kind in _SCHEDULED:
            made[place] = _scheduled_call(event, place, dialect)
            scheduled.setdefault((made[place].kind, event.event_id), made[place])
    for place, event in enumerate(history.events):
        if event.kind == "MarkerRecorded":
            yield from _local_call(event, place, dialect, tally)
        elif place in made:
            yield Moment(made[place], ended=False)
        elif event.kind in _STARTED:
            call = _call_of(event, _STARTED[event.kind], scheduled, tally)
            if call is not None:
                _start(call, event, dialect)
        elif event.kind in _ENDS:
            call = _call_of(event, _ENDS[event.kind][0], scheduled, tally)
            if call is not None and _end(call, event, dialect, tally):
                yield Moment(call, ended=True)


def _scheduled_call(event: HistoryEvent, place: int, dialect: Dialect) -> Call:
    told, kind = event.attributes, _SCHEDULED[event.kind]
    name = name_in(member(told, "activityType", "workflowType"))
    limits = _ACTIVITY_LIMITS if kind is CallKind.ACTIVITY else _CHILD_LIMITS
    maximum = whole_in(attributes_in(told.get("retryPolicy")).get("maximumAttempts")) or 0
    return Call(
        kind,
        name or UNNAMED_ACTIVITY,
        fingerprint(told.get("input")),
        text_in(member(told, "activityId", "workflowId")),
        name_in(member(told, "taskQueue", "taskList")),
        place,
        event.after if event.at is None else event.at,
        event.at,
        timeout_s=next((s for limit in limits if (s := seconds_in(told.get(limit))) is not None), None),
        maximum_attempts=maximum if 0 < maximum < 2**31 else None,
        input_bytes=dialect.input_bytes(told.get("input")),
    )


_ACTIVITY_LIMITS: Final = ("startToCloseTimeout", "startToCloseTimeoutSeconds")
_CHILD_LIMITS: Final = (
    "workflowRunTimeout",
    "workflowExecutionTimeout",
    "executionStartToCloseTimeout",
    "executionStartToCloseTimeoutSeconds",
)


def _call_of(
    event: HistoryEvent, kind: CallKind, scheduled: dict[tuple[CallKind, int], Call], tally: Tally
) -> Call | None:
    link = whole_in(event.attributes.get(_LINKS[kind]))
    call = None if link is None else scheduled.get((kind, link))
    if call is None:
        tally.notes["starts and ends of calls that were not scheduled are left out"] += 1
    return call


def _start(call: Call, event: HistoryEvent, dialect: Dialect) -> None:
    if call.started_order is not None:
        return
    call.started_at = event.at
    call.started_order = event.after if event.at is None else event.at
    number = whole_in(event.attributes.get("attempt"))
    if call.kind is CallKind.ACTIVITY and number is not None:
        call.told = min(max(1, number - dialect.first_attempt + 1), ATTEMPTS_MAX)
        call.earlier = dialect.earlier_fault_of(event.attributes)


def _end(call: Call, event: HistoryEvent, dialect: Dialect, tally: Tally) -> bool:
    if call.outcome is not AttemptOutcome.OPEN:
        tally.notes["second ends of a call are left out"] += 1
        return False
    started = call.started_order is not None or (whole_in(event.attributes.get("startedEventId")) or 0) > 0
    call.ended_at = event.at
    call.fault = _ENDS[event.kind][1](dialect, event.attributes)
    call.outcome = AttemptOutcome.SUCCEEDED if call.fault is None else call.fault.outcome(started=started)
    if call.told is None and call.fault is not None and call.fault.timeout is not None:
        call.earlier = dialect.earlier_fault_of(event.attributes)
        call.told = None if call.earlier is None else 2  # At least one attempt was made before.
    return True


def _local_call(event: HistoryEvent, place: int, dialect: Dialect, tally: Tally) -> Iterator[Moment]:
    local = dialect.local_activity_of(event.attributes, tally)
    if local is None:
        return
    fault, order = local.fault, event.after if event.at is None else event.at
    call = Call(
        CallKind.LOCAL_ACTIVITY,
        local.name,
        "",
        local.activity_id,
        "",
        place,
        order,
        local.scheduled_at,
        ended_at=event.at if local.ended_at is None else local.ended_at,
        outcome=AttemptOutcome.SUCCEEDED if fault is None else fault.outcome(started=True),
        fault=fault,
        told=None if local.attempt is None else min(local.attempt, ATTEMPTS_MAX),
        backs_off=local.backs_off,
    )
    yield Moment(call, ended=False)
    yield Moment(call, ended=True)
