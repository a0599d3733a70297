"""Damaged histories and definitions: whatever a file holds, it is read or refused in words."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sagacity_data.converters import ConvertRefused, convert_asl
from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.step_functions import read_runs
from sagacity_data.taxonomy import default_taxonomy

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3.5,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "x",
    "\ud800",
    [],
    {},
    [[0]],
    {"a": {}},
)
CALL = {"resourceType": "lambda", "resource": "invoke", "parameters": '{"FunctionName": "f"}'}
TASK: dict[str, Any] = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}
DEFINITION: dict[str, Any] = {
    "StartAt": "BookRoom",
    "TimeoutSeconds": 60,
    "States": {
        "BookRoom": {**TASK, "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}], "Next": "Both"},
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "A", "States": {"A": {**TASK, "TimeoutSeconds": 5, "End": True}}}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "CancelRoom"}],
            "Next": "Which",
        },
        "Which": {"Type": "Choice", "Choices": [{"Next": "CancelRoom"}], "Default": "Done"},
        "CancelRoom": {**TASK, "Next": "Bad"},
        "Done": {"Type": "Succeed"},
        "Bad": {"Type": "Fail"},
    },
}


def history() -> list[dict[str, Any]]:
    """Every kind of event once, roughly in order."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("ExecutionStarted", {"input": "{}", "roleArn": "arn:aws:iam::1:role/x"}),
        ("TaskStateEntered", {"name": "BookRoom"}),
        ("TaskScheduled", CALL),
        ("TaskStarted", CALL),
        ("TaskFailed", {**CALL, "error": "E", "cause": '{"errorMessage": "no"}'}),
        ("LambdaFunctionScheduled", {"resource": "arn:aws:lambda:eu-west-1:1:function:f", "input": "1"}),
        ("LambdaFunctionTimedOut", {"error": "States.Timeout"}),
        ("MapIterationStarted", {"name": "All", "index": 0}),
        ("TaskStateEntered", {"name": "CancelRoom"}),
        ("EvaluationFailed", {"error": "E"}),
        ("ActivityScheduled", {"resource": "arn:aws:states:eu-west-1:1:activity:a", "timeoutInSeconds": 5}),
        ("TaskStateAborted", {}),
        ("TaskStateExited", {"name": "CancelRoom"}),
        ("ExecutionRedriven", {"redriveCount": 1}),
        ("ExecutionFailed", {"error": "E", "cause": "C"}),
    )
    return [
        {
            "id": number,
            "previousEventId": number - 1,
            "type": kind,
            "timestamp": "2024-05-01T10:00:00Z",
            f"{kind[0].lower()}{kind[1:]}EventDetails": details,
        }
        for number, (kind, details) in enumerate(kinds, 1)
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    inner: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, each in inner:
        yield from places(each, (*path, key))


def damaged(value: Any, draw: Random) -> Any:
    """The value with one to three places made odd, taken out, or put twice."""
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        *path, key = draw.choice([place for place in places(value) if place])
        holder = value
        for each in path:
            holder = holder[each]
        match draw.randint(0, 3):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 2 if isinstance(holder, list):
                draw.shuffle(holder)
            case _:
                holder[key] = copy.deepcopy(draw.choice(ODD))
        if not value:
            break
    return value


def read(path: Path) -> bool:
    """Whether a file was read; refusing it is allowed, and nothing else."""
    try:
        runs = list(read_runs(path, Hints(), Tally()))
    except ImportRefused:
        return False
    taxonomy = default_taxonomy()
    for run in runs:
        keys = [row.key for row in rows_of(run, "stepfunctions", taxonomy)]
        assert len(set(keys)) == len(keys)
    return True


def test_a_history_with_odd_values_is_read_or_refused(tmp_path: Path) -> None:
    """400 histories with values of the wrong kind anywhere: most are read, none raises anything else."""
    whole = {
        "definition": DEFINITION,
        "executionArn": "arn:aws:states:a:1:execution:m:e",
        "events": history(),
    }
    path = tmp_path / "odd.json"
    good = 0
    for seed in range(400):
        odd = damaged(whole, Random(seed))
        path.write_text(json.dumps(odd, default=str))
        good += read(path)
    assert 300 < good < 400


def test_a_history_with_broken_bytes_is_read_or_refused(tmp_path: Path) -> None:
    """300 histories cut off, or with bytes changed: refused or read, and nothing else."""
    written = json.dumps({"events": history()}).encode()
    path = tmp_path / "broken.json"
    good = 0
    for seed in range(300):
        draw = Random(seed)
        broken = bytearray(written)
        if draw.random() < 0.3:
            del broken[draw.randrange(len(broken)) :]
        for _ in range(draw.randint(0, 4)):
            if broken:
                broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken)
        good += read(path)
    assert 0 < good < 300


@pytest.mark.parametrize("deep", ['{"events":' * 150 + "1" + "}" * 150, "[" * 100_000, '{"a":' * 5_000 + "1"])
def test_deep_nesting_is_refused(tmp_path: Path, deep: str) -> None:
    """However deep a file nests, it is refused in words."""
    path = tmp_path / "deep.json"
    path.write_text(deep)
    assert not read(path)


def test_a_payload_nested_too_deeply_says_nothing(tmp_path: Path) -> None:
    """A cause that is text in JSON, nested beyond reading, is kept as the text it is."""
    events = history()
    deep = '{"a":' * 5_000 + "1" + "}" * 5_000
    events[4]["taskFailedEventDetails"]["cause"] = deep
    path = tmp_path / "cause.json"
    path.write_text(json.dumps(events))
    (run,) = read_runs(path, Hints(), Tally())
    assert deep.startswith(run.attempts[0].message)


def test_many_masked_events_take_time_in_proportion(tmp_path: Path) -> None:
    """40,000 events without ids, entered long before they end, are matched one to one."""
    calls = 10_000
    kinds = ["TaskStateEntered", "TaskScheduled", "TaskSucceeded", "TaskStateExited"]
    details = ("stateEntered", "taskScheduled", "taskSucceeded", "stateExited")
    events: list[dict[str, Any]] = [{"id": None, "timestamp": None, "type": "ExecutionStarted"}]
    for kind, detail in zip(kinds, details, strict=True):
        told = {"name": "Book", "resourceType": "sqs", "resource": "send"}
        events += [{"id": None, "timestamp": None, "type": kind, f"{detail}EventDetails": told}] * calls
    path = tmp_path / "many.json"
    path.write_text(json.dumps(events))
    (run,) = read_runs(path, Hints(), Tally())
    assert [tried.attempt for tried in run.attempts] == list(range(1, calls + 1))
    assert {tried.outcome.value for tried in run.attempts} == {"succeeded"}


def test_a_definition_with_odd_values_is_converted_or_refused() -> None:
    """500 definitions with values of the wrong kind anywhere: a saga or a refusal, never anything else."""
    good = 0
    for seed in range(500):
        try:
            convert_asl(damaged(DEFINITION, Random(seed)), "odd")
        except ConvertRefused:
            continue
        else:
            good += 1
    assert 50 < good < 500
