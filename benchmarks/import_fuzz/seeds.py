"""What is spoilt: a few documents per format, small and of our own making, and real files where they are.

The own documents hold what a format can say in few lines: a step that succeeds, one that fails and is tried
again, one that is undone, something nested, something of a type nobody knows.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.formats import FORMATS, files_of
from sagacity_data.importers.stored_bytes import stored_bytes

REAL_BYTES_MAX = 200_000
"""Longer real files are mutated up to here; event logs are closed behind the last whole case."""

REAL_FILES = {
    "temporal": ("temporal",),
    "cadence": ("cadence",),
    "stepfunctions": ("stepfunctions/histories", "stepfunctions/saga_failed.json"),
    "conductor": ("conductor/executions",),
    "otlp": ("traces/jaeger-ui",),
    "jaeger": ("traces/jaeger-ui",),
    "xes": ("event_logs",),
    "csv": ("event_logs",),
}


def own_seeds(name: str) -> list[bytes]:
    """The own documents of a format."""
    return [text.encode() for text in OWN[name]()]


def real_seeds(name: str, shared: Path) -> list[bytes]:
    """The real files of a format below `shared`, decompressed and cut; empty where there are none."""
    if not shared.is_dir():
        return []
    paths = [shared / each for each in REAL_FILES[name]]
    return [_start_of(path) for path in files_of(paths, FORMATS[name].suffixes)]


def _start_of(path: Path) -> bytes:
    content = b""
    try:
        for chunk in stored_bytes(path, lambda _: None):
            content += chunk
            if len(content) > REAL_BYTES_MAX:
                break
    except ImportRefused:
        return content
    if len(content) <= REAL_BYTES_MAX:
        return content
    end = content.rfind(b"</trace>", 0, REAL_BYTES_MAX)
    if end > 0:
        return content[: end + 8] + b"</log>"
    return content[: content.rfind(b"\n", 0, REAL_BYTES_MAX) + 1]


def _event(number: int, kind: str, **attributes: Any) -> dict[str, Any]:
    key = kind[0].lower() + kind[1:] + "EventAttributes"
    return {
        "eventId": number,
        "eventTime": f"2024-03-01T10:00:{number:02}.5Z",
        "eventType": kind,
        key: attributes,
    }


def _workflow() -> list[dict[str, Any]]:
    events: list[tuple[str, dict[str, Any]]] = [
        (
            "WorkflowExecutionStarted",
            {
                "workflowType": {"name": "Trip"},
                "originalExecutionRunId": "run-1",
                "workflowId": "trip-1",
                "attempt": 1,
                "workflowRunTimeout": "60s",
            },
        )
    ]
    for step, failures in (("BookHotel", 0), ("ChargeCard", 2), ("CancelHotel", 0)):
        for tried in range(failures + 1):
            scheduled = len(events) + 1
            events.extend(
                (
                    (
                        "ActivityTaskScheduled",
                        {
                            "activityId": str(scheduled),
                            "activityType": {"name": step},
                            "startToCloseTimeout": "10s",
                            "retryPolicy": {"maximumAttempts": 3},
                        },
                    ),
                    ("ActivityTaskStarted", {"scheduledEventId": scheduled, "attempt": tried + 1}),
                    (
                        "ActivityTaskFailed" if tried < failures else "ActivityTaskCompleted",
                        {
                            "scheduledEventId": scheduled,
                            "startedEventId": scheduled + 1,
                            "failure": {"message": "no funds", "applicationFailureInfo": {"type": "Funds"}},
                        },
                    ),
                )
            )
    events += [
        ("TimerStarted", {"timerId": "5", "startToFireTimeout": "3s"}),
        ("TimerFired", {"timerId": "5", "startedEventId": len(events) + 1}),
        (
            "StartChildWorkflowExecutionInitiated",
            {"workflowId": "child", "workflowType": {"name": "Notify"}},
        ),
        (
            "ChildWorkflowExecutionCompleted",
            {
                "initiatedEventId": len(events) + 3,
                "workflowExecution": {"workflowId": "child", "runId": "c"},
                "workflowType": {"name": "Notify"},
            },
        ),
        ("MarkerRecorded", {"markerName": "Version", "details": {"version": {"payloads": []}}}),
        ("NobodyKnowsThis", {"x": 1}),
        ("WorkflowExecutionFailed", {"failure": {"message": "gave up"}}),
    ]
    return [_event(number, kind, **attributes) for number, (kind, attributes) in enumerate(events, 1)]


def _temporal() -> list[str]:
    events = _workflow()
    newer = [
        {
            **event,
            "eventType": "EVENT_TYPE_" + _snake(event["eventType"]).upper(),
            "eventId": str(event["eventId"]),
        }
        for event in events
    ]
    return [json.dumps({"events": events}), json.dumps(newer), json.dumps(events[::-1])]


def _cadence() -> list[str]:
    events = [
        {**event, "timestamp": 1_700_000_000_000_000_000 + event["eventId"] * 10**9} for event in _workflow()
    ]
    for event in events:
        del event["eventTime"]
    return [json.dumps(events), json.dumps({"events": events}, indent=1)]


def _snake(text: str) -> str:
    return "".join(
        "_" + each.lower() if each.isupper() and place else each for place, each in enumerate(text)
    )


def _step_functions() -> list[str]:
    def event(number: int, before: int, kind: str, **details: Any) -> dict[str, Any]:
        return {
            "id": number,
            "previousEventId": before,
            "timestamp": f"2024-03-01T10:00:{number:02}.123000+00:00",
            "type": kind,
            **details,
        }

    events = [
        event(1, 0, "ExecutionStarted", executionStartedEventDetails={"input": "{}", "roleArn": "arn:aws:x"}),
        event(2, 1, "ParallelStateEntered", stateEnteredEventDetails={"name": "Both", "input": "{}"}),
        event(3, 2, "ParallelStateStarted"),
        event(4, 3, "TaskStateEntered", stateEnteredEventDetails={"name": "Book", "input": "{}"}),
        event(
            5, 4, "TaskScheduled", taskScheduledEventDetails={"resourceType": "lambda", "resource": "invoke"}
        ),
        event(6, 5, "TaskStarted", taskStartedEventDetails={"resourceType": "lambda"}),
        event(7, 6, "TaskFailed", taskFailedEventDetails={"error": "Full", "cause": "no room"}),
        event(
            8, 7, "TaskScheduled", taskScheduledEventDetails={"resourceType": "lambda", "timeoutInSeconds": 9}
        ),
        event(9, 8, "TaskStarted"),
        event(10, 9, "TaskSucceeded", taskSucceededEventDetails={"output": "{}"}),
        event(11, 10, "TaskStateExited", stateExitedEventDetails={"name": "Book", "output": "{}"}),
        event(12, 3, "MapStateEntered", stateEnteredEventDetails={"name": "Each", "input": "[1]"}),
        event(13, 12, "MapStateStarted", mapStateStartedEventDetails={"length": 1}),
        event(14, 13, "MapIterationStarted", mapIterationStartedEventDetails={"name": "Each", "index": 0}),
        event(15, 14, "TaskStateEntered", stateEnteredEventDetails={"name": "CancelBook", "input": "{}"}),
        event(16, 15, "LambdaFunctionScheduled", lambdaFunctionScheduledEventDetails={"resource": "arn:f"}),
        event(
            17, 16, "LambdaFunctionTimedOut", lambdaFunctionTimedOutEventDetails={"error": "States.Timeout"}
        ),
        event(18, 17, "NobodyKnowsThis"),
        event(19, 18, "ExecutionFailed", executionFailedEventDetails={"error": "Full", "cause": "no room"}),
    ]
    return [json.dumps({"events": events}), json.dumps(events[:11], indent=2)]


def _conductor() -> list[str]:
    def task(seq: int, name: str, status: str, **more: Any) -> dict[str, Any]:
        at = 1_709_287_200_000 + 1_000 * seq
        return {
            "taskType": "SIMPLE",
            "status": status,
            "referenceTaskName": name,
            "taskDefName": name,
            "seq": seq,
            "retryCount": 0,
            "scheduledTime": at,
            "startTime": at + 100,
            "endTime": at + 700,
            "taskId": f"t{seq}",
            **more,
        }

    run = {
        "workflowId": "w-1",
        "workflowType": "trip",
        "version": 2,
        "status": "FAILED",
        "createTime": 1_709_287_200_000,
        "endTime": 1_709_287_290_000,
        "reasonForIncompletion": "no funds",
        "input": {"n": 1},
        "tasks": [
            task(1, "book_hotel", "COMPLETED"),
            task(2, "charge", "FAILED", retried=True, reasonForIncompletion="busy"),
            task(3, "charge", "FAILED", retryCount=1, retriedTaskId="t2"),
            task(4, "fork", "COMPLETED", taskType="FORK"),
            task(5, "cancel_hotel", "COMPLETED", iteration=1),
            task(6, "wait", "SCHEDULED", startTime=0, endTime=0),
            task(7, "odd", "NOBODY_KNOWS", taskType="NOBODY_KNOWS"),
        ],
        "failedReferenceTaskNames": ["charge"],
    }
    return [json.dumps(run), json.dumps([run, {**run, "workflowId": "w-2", "status": "RUNNING"}])]


def _otlp() -> list[str]:
    def span(number: int, parent: int, name: str, **more: Any) -> dict[str, Any]:
        start = 1_709_287_200_000_000_000 + number * 10**9
        return {
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "spanId": f"{number:016x}",
            "parentSpanId": f"{parent:016x}" if parent else "",
            "name": name,
            "kind": 3,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + 5 * 10**8),
            "attributes": [{"key": "peer.service", "value": {"stringValue": name}}],
            **more,
        }

    failed = {"code": 2, "message": "HTTP 503"}
    thrown = {
        "name": "exception",
        "attributes": [{"key": "exception.type", "value": {"stringValue": "Busy"}}],
    }
    spans = [
        span(1, 0, "trip", endTimeUnixNano="1709287300000000000", kind="SPAN_KIND_SERVER"),
        span(2, 1, "BookHotel"),
        span(3, 1, "Charge", status=failed, events=[thrown]),
        span(4, 1, "Charge", status={"code": "STATUS_CODE_OK"}),
        span(5, 1, "CancelHotel"),
        span(6, 5, "inner", links=[{"traceId": "x", "spanId": "y"}]),
        span(7, 99, "orphan"),
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    batch = {"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}
    return [json.dumps({"resourceSpans": [batch]}), json.dumps({"resourceSpans": [batch, batch]}, indent=1)]


def _jaeger() -> list[str]:
    def span(number: int, parent: int, name: str, **tags: Any) -> dict[str, Any]:
        return {
            "traceID": "abc",
            "spanID": f"s{number}",
            "operationName": name,
            "references": [{"refType": "CHILD_OF", "traceID": "abc", "spanID": f"s{parent}"}]
            if parent
            else [],
            "startTime": 1_709_287_200_000_000 + number * 10**6,
            "duration": 500_000,
            "tags": [{"key": key, "type": "string", "value": value} for key, value in tags.items()],
            "logs": [{"timestamp": 1_709_287_201_000_000, "fields": [{"key": "event", "value": "error"}]}],
            "processID": "p1",
        }

    spans = [
        span(1, 0, "trip"),
        span(2, 1, "BookHotel"),
        span(3, 1, "Charge", error="true"),
        span(4, 1, "CancelHotel"),
    ]
    trace = {"traceID": "abc", "spans": spans, "processes": {"p1": {"serviceName": "shop", "tags": []}}}
    return [json.dumps({"data": [trace]}), json.dumps(trace, indent=1)]


def _cases() -> Iterator[tuple[str, str, str, str, str]]:
    for case in range(4):
        for place, step in enumerate(("Submit", "Check, twice", "Pay")):
            for minute, lifecycle in enumerate(("start", "complete")):
                at = f"2024-03-{case + 1:02}T10:{10 * place + minute:02}:00.000+01:00"
                yield f"case {case}", step, lifecycle, at, "Ann"


def _xes() -> list[str]:
    traces: dict[str, str] = {}
    for case, step, lifecycle, at, who in _cases():
        traces[case] = traces.get(case, "") + (
            f'<event><string key="concept:name" value="{step}"/><date key="time:timestamp" value="{at}"/>'
            f'<string key="lifecycle:transition" value="{lifecycle}"/>'
            f'<string key="org:resource" value="{who}"/><int key="cost" value="3"/></event>\n'
        )
    listed = "".join(
        f'<trace><string key="concept:name" value="{case}"/>{events}</trace>\n'
        for case, events in traces.items()
    )
    head = '<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>'
    return [f'<?xml version="1.0" encoding="UTF-8"?>\n<log xes.version="1.0">{head}\n{listed}</log>\n']


def _csv() -> list[str]:
    texts = []
    for delimiter, dates in ((",", False), (";", True)):
        out = io.StringIO()
        table = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        table.writerow(["Case ID", "Activity", "lifecycle", "Complete Timestamp", "Resource"])
        for case, step, lifecycle, at, who in _cases():
            table.writerow([case, step, lifecycle, f"{at[8:10]}.03.2024 {at[11:16]}" if dates else at, who])
        texts.append(out.getvalue())
    return texts


OWN = {
    "temporal": _temporal,
    "cadence": _cadence,
    "stepfunctions": _step_functions,
    "conductor": _conductor,
    "otlp": _otlp,
    "jaeger": _jaeger,
    "xes": _xes,
    "csv": _csv,
}
