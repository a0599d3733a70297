"""The same execution in every shape that people keep histories in, and what its run and saga are called."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.step_functions import read_runs
from sagacity_engine import Status

ARN = "arn:aws:states:eu-west-1:123456789012:execution:shop:order-7"
AT = ("2024-05-01T10:00:00.000Z", "2024-05-01T10:00:01.500+00:00", "2024-05-01 12:00:02+02:00")
EPOCH = (1714557600.0, 1714557601.5, 1714557602.0)
CALL = {"resourceType": "sqs", "resource": "sendMessage"}


def events(times: Sequence[str | float] = AT, execution: str = "7") -> list[dict[str, Any]]:
    """One step, `Notify`, that ran for half a second; written as boto writes it."""
    started, called, ended = times
    role = "arn:aws:iam::123456789012:role/service-role/StepFunctions-shop-role-1a2b3c4d"
    return [
        {
            "timestamp": started,
            "type": "ExecutionStarted",
            "id": 1,
            "previousEventId": 0,
            "executionStartedEventDetails": {"input": execution, "roleArn": role},
        },
        {
            "timestamp": called,
            "type": "TaskStateEntered",
            "id": 2,
            "previousEventId": 0,
            "stateEnteredEventDetails": {"name": "Notify"},
        },
        {
            "timestamp": called,
            "type": "TaskScheduled",
            "id": 3,
            "previousEventId": 2,
            "taskScheduledEventDetails": CALL,
        },
        {
            "timestamp": called,
            "type": "TaskStarted",
            "id": 4,
            "previousEventId": 3,
            "taskStartedEventDetails": CALL,
        },
        {
            "timestamp": ended,
            "type": "TaskSucceeded",
            "id": 5,
            "previousEventId": 4,
            "taskSucceededEventDetails": CALL,
        },
        {"timestamp": ended, "type": "ExecutionSucceeded", "id": 6, "previousEventId": 5},
    ]


def capitals(value: Any) -> Any:
    """The same with every key in Pascal case, and enumerations as objects."""
    if isinstance(value, list):
        return [capitals(each) for each in value]
    if isinstance(value, dict):
        told = {key[0].upper() + key[1:]: capitals(each) for key, each in value.items()}
        return {**told, "Type": {"Value": value["type"]}} if "type" in value else told
    return value


def logged(event: dict[str, Any]) -> dict[str, Any]:
    """The event as the log group of an Express workflow holds it."""
    details: dict[str, Any] = next((each for key, each in event.items() if key.endswith("Details")), {})
    return {
        "id": str(event["id"]),
        "previous_event_id": str(event["previousEventId"]),
        "type": event["type"],
        "event_timestamp": str(int(event["timestamp"] * 1000)),
        "execution_arn": ARN,
        "details": details,
    }


SHAPES: dict[str, Any] = {
    "events": {"events": events()},
    "list": events(),
    "newest first": {"events": events()[::-1]},
    "pages": [{"events": events()[:2], "nextToken": "x"}, {"events": events()[2:]}],
    "pages, newest first": [{"events": events()[:2:-1]}, {"events": events()[2::-1]}],
    "overlapping pages": {"events": events()[:4] + events()[2:]},
    "seconds": {"events": events(EPOCH)},
    "milliseconds": {"events": events([int(at * 1000) for at in EPOCH])},
    "capitals": capitals({"events": events()}),
    "a report": {"test": {"recorded-content": {"get_history": {"events": events()}}}},
    "with a description": {"execution": {"executionArn": ARN, "status": "SUCCEEDED"}, "events": events()},
    "log lines": [logged(event) for event in events(EPOCH)],
}


def read(tmp_path: Path, value: Any, tally: Tally | None = None) -> list[ForeignRun]:
    path = tmp_path / "order.json"
    path.write_text(json.dumps(value))
    return list(read_runs(path, Hints(), tally or Tally()))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_run(tmp_path: Path, shape: str) -> None:
    """One attempt of half a second in a run of two seconds, whatever the wrapping, order and time format."""
    (run,) = read(tmp_path, SHAPES[shape])
    assert (run.saga, run.status, run.launch_at, run.ended_at) == (
        "shop",
        Status.COMPLETED,
        EPOCH[0],
        EPOCH[2],
    )
    (tried,) = run.attempts
    assert (tried.step, tried.service, tried.attempt, tried.outcome.value) == (
        "Notify",
        "sqs",
        1,
        "succeeded",
    )
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (EPOCH[1], EPOCH[1], EPOCH[2])


def test_masked_times_and_ids_leave_order_alone(tmp_path: Path) -> None:
    """Nothing is timed; the only attempt is still one that succeeded."""
    masked = [{**event, "timestamp": "timestamp", "id": [0], "previousEventId": 0} for event in events()]
    tally = Tally()
    (run,) = read(tmp_path, {"events": masked}, tally)
    (tried,) = run.attempts
    assert (run.launch_at, run.ended_at, tried.started_at, tried.ended_at) == (None, None, None, None)
    assert tried.outcome.value == "succeeded"
    assert tally.notes["times that are masked or unreadable"] == 6


def test_masked_events_in_an_impossible_order_are_put_right(tmp_path: Path) -> None:
    """An end that stands before the beginning of its task is that task's end all the same."""
    masked = [{**event, "timestamp": "timestamp", "id": [0], "previousEventId": 0} for event in events()]
    masked[2:5] = [masked[4], masked[2], masked[3]]
    tally = Tally()
    (run,) = read(tmp_path, {"events": masked}, tally)
    assert [tried.outcome.value for tried in run.attempts] == ["succeeded"]
    assert tally.notes["events without an id were put in the order in which a task lives"] == 1


def test_executions_in_one_list_are_told_apart(tmp_path: Path) -> None:
    """Two executions one after the other, either way round, are two runs with different ids."""
    both = events() + events(execution="8")
    written: Any
    for written in (both, both[::-1], [{"events": events()}, {"events": events(execution="8")}]):
        runs = read(tmp_path, written)
        assert [len(run.attempts) for run in runs] == [1, 1]
        assert len({run.run_id for run in runs}) == 2


def test_a_run_is_called_by_its_arn_or_by_what_it_holds(tmp_path: Path) -> None:
    """The ARN where there is one; else the same content has the same id, in whatever file and order."""
    (named,) = read(tmp_path, {"executionArn": ARN, "events": events()})
    (plain,) = read(tmp_path, {"events": events()})
    (turned,) = read(tmp_path, events()[::-1])
    (other,) = read(tmp_path, {"events": events(execution="8")})
    assert named.run_id == ARN
    assert plain.run_id == turned.run_id != other.run_id
    assert [run.run_id for run in read(tmp_path, [{"events": events()}] * 2)] == [
        plain.run_id,
        f"{plain.run_id}#2",
    ]


@pytest.mark.parametrize(
    ("beside", "role", "saga"),
    [
        ({"stateMachineArn": "arn:aws:states:eu-west-1:1:stateMachine:orders"}, "x", "orders"),
        ({"executionArn": "arn:aws:states:eu-west-1:1:express:orders:7:8"}, "x", "orders"),
        ({"stateMachineArn": "arn:aws:states:<region>:1:stateMachine:<name>"}, "x", "Notify"),
        ({}, "arn:aws:iam::1:role/StepFunctions-orders-role-1a2b3c4d", "orders"),
        ({}, "arn:aws:iam::1:role/shop", "Notify (shop)"),
        ({}, "<role>", "Notify"),
    ],
)
def test_a_saga_is_its_state_machine(tmp_path: Path, beside: dict[str, Any], role: str, saga: str) -> None:
    """By name where an ARN or the console's role tells it, else by how every execution begins."""
    told = events()
    told[0]["executionStartedEventDetails"]["roleArn"] = role
    (run,) = read(tmp_path, {**beside, "events": told})
    assert run.saga == saga


def test_only_where_nothing_tells_the_file_names_the_saga(tmp_path: Path) -> None:
    """An execution of which nothing but the start is known."""
    told = events()[:1]
    told[0]["executionStartedEventDetails"] = {}
    (run,) = read(tmp_path, {"events": told})
    assert (run.saga, run.status) == ("order", Status.RUNNING)


def test_version_and_parent_are_told_by_the_start(tmp_path: Path) -> None:
    """A version's ARN gives the version; an execution started by another names it in its input."""
    told = events()
    machine = "arn:aws:states:eu-west-1:1:stateMachine:shop:12"
    started = json.dumps({"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": ARN})
    told[0]["executionStartedEventDetails"] = {"input": started, "stateMachineVersionArn": machine}
    (run,) = read(tmp_path, {"events": told})
    assert (run.saga, run.version, run.parent) == ("shop", "12", ARN)


def test_gzip_is_read(tmp_path: Path) -> None:
    """A compressed file is the same file."""
    path = tmp_path / "order.json.gz"
    path.write_bytes(gzip.compress(json.dumps(events()).encode()))
    assert len(list(read_runs(path, Hints(), Tally()))) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no events of an execution"),
        ('{"events": []}', "holds no events of an execution"),
        ('{"events": 3}', "holds no events of an execution"),
        (json.dumps(events()[1:]), "has no ExecutionStarted event"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """With the reason and the way out."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ImportRefused) as refused:
        list(read_runs(path, Hints(), Tally()))
    assert refused.value.reason.startswith(reason)
    assert refused.value.way_out
