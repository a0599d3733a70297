import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import cadence, temporal
from sagacity_data.importers.foreign_runs import rows_of
from sagacity_data.importers.reading import Hints, Reader, Tally
from sagacity_data.taxonomy import default_taxonomy

STRANGE: list[Any] = [
    None,
    True,
    0,
    -1,
    10**40,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "7",
    "x" * 5000,
    "\ud800\x00",
    [],
    {},
    [[]],
    {"name": 5},
    {"payloads": 7},
    {"seconds": 1e308},
    ["2024-05-01T10:00:00Z"],
]


def event(number: int, kind: str, **attributes: Any) -> dict[str, Any]:
    time = f"2024-05-01T10:00:{number:02d}Z"
    return {"eventId": number, "eventTime": time, "eventType": kind, "attributes": attributes}


def b64(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def payloads(value: object) -> dict[str, Any]:
    return {"payloads": [{"metadata": {"encoding": b64("json/plain")}, "data": b64(value)}]}


def of_temporal() -> dict[str, Any]:
    name, queue = {"name": "Pay"}, {"name": "q"}
    failure = {"message": "no", "applicationFailureInfo": {"type": "E"}, "cause": {"message": "why"}}
    timeout = {"message": "late", "timeoutFailureInfo": {"timeoutType": "ScheduleToStart"}, "cause": failure}
    local = {"ActivityID": "1", "ActivityType": "Check", "Attempt": 2, "Backoff": 5, "ReplayTime": "x"}
    child = {"workflowExecution": {"workflowId": "c", "runId": "r"}, "initiatedEventId": 9}
    fields = {"Region": {"metadata": {"type": b64("x")}, "data": b64("eu")}, "Vip": True}
    started = {"workflowType": {"name": "Order"}, "taskQueue": queue, "input": payloads(1)}
    parent = {"parentWorkflowExecution": {"workflowId": "p", "runId": "r"}}
    events = [
        event(1, "WorkflowExecutionStarted", **started, searchAttributes={"indexedFields": fields}, **parent),
        event(2, "WorkflowTaskFailed", newRunId="new"),
        event(3, "ActivityTaskScheduled", activityType=name, startToCloseTimeout="5s", input=payloads(2)),
        event(4, "ActivityTaskStarted", scheduledEventId=3, attempt=3, lastFailure=failure),
        event(5, "ActivityTaskFailed", scheduledEventId=3, failure=failure),
        event(6, "ActivityTaskScheduled", activityType=name, retryPolicy={"maximumAttempts": 3}),
        event(7, "ActivityTaskTimedOut", scheduledEventId=6, failure=timeout),
        event(8, "MarkerRecorded", markerName="LocalActivity", details={"data": payloads(local)}),
        event(9, "StartChildWorkflowExecutionInitiated", workflowType={"name": "Ship"}, taskQueue=queue),
        event(10, "ChildWorkflowExecutionStarted", **child),
        event(11, "ChildWorkflowExecutionCompleted", **child),
        event(12, "WorkflowExecutionFailed", failure=failure),
    ]
    return {"history": {"events": events}}


def of_cadence() -> dict[str, Any]:
    events: list[dict[str, Any]] = of_temporal()["history"]["events"]
    for number, each in enumerate(events):
        each["timestamp"] = 1714557600_000_000_000 + number * 10**9
        del each["eventTime"]
        each["attributes"] |= {
            "reason": "cadenceInternal:Generic",
            "details": b64("no"),
            "timeoutType": "HEARTBEAT",
        }
    events[1]["eventType"] = "DecisionTaskFailed"
    marker = {"activityId": "0", "activityType": "Check", "errReason": "E", "errJson": "{}", "backoff": 1}
    events[7]["attributes"] |= {"details": b64(marker)}
    return {"history": {"events": events}}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in the value with every key of it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def mutated(document: dict[str, Any], chance: random.Random) -> bytes:
    at = list(places(document))
    for container, key in chance.sample(at, chance.randint(1, 3)):
        container[key] = chance.choice(STRANGE)
    if chance.random() < 0.3:
        events = document.get("history")
        events = events.get("events") if isinstance(events, dict) else None
        if isinstance(events, list) and events:
            chance.shuffle(events)
            del events[chance.randrange(len(events)) :]
    content = bytearray(json.dumps(document).encode())
    if chance.random() < 0.2:
        content = content[: chance.randrange(len(content))]
    if content and chance.random() < 0.2:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def survives(reader: Reader, content: bytes, path: Path) -> int:
    """How many rows a mutated file gives; nothing but a refusal may escape."""
    path.write_bytes(content)
    try:
        runs = list(reader(path, Hints(), Tally()))
    except ImportRefused:
        return 0
    rows = [row for run in runs for row in rows_of(run, "test", default_taxonomy())]
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys))
    return len(rows)


def test_only_refusals_escape_from_mutated_temporal_histories(tmp_path: Path) -> None:
    """Values of other types anywhere, files cut off or flipped: rows with keys of their own, or a refusal."""
    chance, path = random.Random(1), tmp_path / "history.json"
    read = [survives(temporal.read_runs, mutated(of_temporal(), chance), path) for _ in range(400)]
    assert sum(count > 0 for count in read) > 200


def test_only_refusals_escape_from_mutated_cadence_histories(tmp_path: Path) -> None:
    """The same of Cadence's histories."""
    chance, path = random.Random(2), tmp_path / "history.json"
    read = [survives(cadence.read_runs, mutated(of_cadence(), chance), path) for _ in range(400)]
    assert sum(count > 0 for count in read) > 200


def test_mutations_start_from_what_is_read(tmp_path: Path) -> None:
    """Unmutated, both give their attempts: 3 and 2 of Pay (or 4 and 1), those of the child and the marker."""
    path = tmp_path / "history.json"
    assert survives(temporal.read_runs, json.dumps(of_temporal()).encode(), path) == 9
    assert survives(cadence.read_runs, json.dumps(of_cadence()).encode(), path) == 8
